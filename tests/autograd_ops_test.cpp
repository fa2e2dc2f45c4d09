#include "autograd/ops.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

Tensor positive(Shape shape) {
    Stream stream(2, "test");
    return uniform(std::move(shape), real(0.5), 2, stream);
}

struct Case {
    std::string name;
    TapeFunction f;
    std::vector<Tensor> inputs;
};

std::vector<Case> cases() {
    using Vars = const std::vector<Var>&;
    std::vector<Case> all{
        {"add", [](Tape&, Vars v) { return v[0] + v[1]; }, {random({2, 3}), random({2, 3}, 3)}},
        {"add broadcast", [](Tape&, Vars v) { return v[0] + v[1]; }, {random({2, 3}), random({3})}},
        {"add both ways", [](Tape&, Vars v) { return v[0] + v[1]; }, {random({2, 1}), random({3})}},
        {"sub", [](Tape&, Vars v) { return v[0] - v[1]; }, {random({2, 3}), random({2, 1})}},
        {"mul", [](Tape&, Vars v) { return v[0] * v[1]; }, {random({2, 3}), random({1, 3}, 3)}},
        {"square", [](Tape&, Vars v) { return v[0] * v[0]; }, {random({2, 3})}},
        {"scale", [](Tape&, Vars v) { return real(3) * v[0]; }, {random({2, 3})}},
        {"neg", [](Tape&, Vars v) { return -v[0]; }, {random({2, 3})}},
        {"exp", [](Tape&, Vars v) { return exp(v[0]); }, {random({2, 3})}},
        {"log", [](Tape&, Vars v) { return log(v[0]); }, {positive({2, 3})}},
        {"tanh", [](Tape&, Vars v) { return tanh(v[0]); }, {random({2, 3})}},
        {"sqrt", [](Tape&, Vars v) { return sqrt(v[0]); }, {positive({2, 3})}},
        {"pow", [](Tape&, Vars v) { return pow(v[0], real(1.7)); }, {positive({2, 3})}},
        {"reshape",
         [](Tape&, Vars v) {
             return reshape(v[0], {3, -1});
         },
         {random({2, 3})}},
        {"transpose",
         [](Tape&, Vars v) {
             return transpose(v[0], {2, 0, 1});
         },
         {random({2, 3, 4})}},
        {"slice", [](Tape&, Vars v) { return slice(v[0], -1, 1, 2); }, {random({2, 4})}},
        {"concat",
         [](Tape&, Vars v) {
             return concat({v[0], v[1], v[0]}, 1);
         },
         {random({2, 1, 2}), random({2, 3, 2})}},
        {"sum", [](Tape&, Vars v) { return sum(v[0]); }, {random({2, 3})}},
        {"sum axis", [](Tape&, Vars v) { return sum(v[0], 1); }, {random({2, 3, 2})}},
        {"mean", [](Tape&, Vars v) { return mean(v[0]); }, {random({2, 3})}},
        {"mean axis", [](Tape&, Vars v) { return mean(v[0], -1); }, {random({2, 3, 2})}},
    };
    for (const Op op_a : {Op::none, Op::transpose})
        for (const Op op_b : {Op::none, Op::transpose})
            for (const int shared : {0, 1, 2}) {
                Shape a = op_a == Op::none ? Shape{2, 3, 4} : Shape{2, 4, 3};
                Shape b = op_b == Op::none ? Shape{2, 4, 5} : Shape{2, 5, 4};
                if (shared == 1) a.erase(a.begin());
                if (shared == 2) b.erase(b.begin());
                all.push_back({"matmul",
                               [=](Tape&, Vars v) { return matmul(v[0], v[1], op_a, op_b); },
                               {random(a), random(b, 3)}});
            }
    return all;
}

TEST(AutogradOps, GradientsAgreeWithFiniteDifferences) {
    for (const Case& c : cases()) {
        GradcheckReport report;
        EXPECT_NO_THROW(report = gradcheck(c.name, c.f, c.inputs)) << c.name;
        EXPECT_GT(report.checked, 0) << c.name;
        EXPECT_EQ(report.skipped, 0) << c.name;
    }
}

TEST(AutogradOps, ValuesAreThoseOfTensorOperations) {
    Tape tape;
    const Tensor a = random({2, 3}), b = random({3}, 4);
    const Var x = tape.constant(a), y = tape.constant(b);
    EXPECT_TRUE(identical((x + y).value(), a + b));
    EXPECT_TRUE(identical((x * y).value(), a * b));
    EXPECT_TRUE(identical(transpose(x, {1, 0}).value(), transpose(a, {1, 0})));
    EXPECT_EQ(mean(x, 0).shape(), (Shape{3}));
    EXPECT_NEAR(mean(x).value().item(), sum(a) / 6, 1e-6);
    EXPECT_EQ(tape.size(), 0u);  // constants need no backward
}

TEST(AutogradOps, KeepOnlyWhatTheNeededGradientsAskFor) {
    const auto saved = [] { return ledger()[Category::saved].live; };
    const Tensor a = random({8, 8}), b = random({8, 8}, 3);
    {
        Tape tape;
        const Var y = mul(tape.input(a), tape.constant(b));  // g_a needs b alone
        EXPECT_EQ(saved(), b.bytes());
    }
    {
        Tape tape;
        const Var x = tape.input(a);
        const Var y = add(x, scale(reshape(x, {8, 8}), 2));
        EXPECT_EQ(saved(), 0);
        const Var z = tanh(y);  // keeps y alone
        EXPECT_EQ(saved(), a.bytes());
        tape.backward(sum(z));
        EXPECT_EQ(saved(), 0);
    }
}

TEST(AutogradOps, WrongShapesNameTheOperation) {
    Tape tape;
    const Var x = tape.input(random({2, 3}));
    EXPECT_THROW(x + tape.constant(random({2})), Error);
    EXPECT_THROW(matmul(x, x), Error);
    EXPECT_THROW(reshape(x, {4, -1}), Error);
    EXPECT_THROW(transpose(x, {0, 0}), Error);
    EXPECT_THROW(transpose(x, {0, -1}), Error);
    EXPECT_THROW(slice(x, 1, 2, 2), Error);
    EXPECT_THROW(slice(x, 2, 0, 1), Error);
    EXPECT_THROW(concat(std::vector<Var>(), 0), Error);
    EXPECT_THROW(concat({x, tape.constant(random({3, 4}))}, 0), Error);
    EXPECT_THROW(sum(x, 2), Error);
    EXPECT_THROW(mean(tape.input(Tensor({0}))), Error);
    EXPECT_THROW(add(Var(), x), Error);
}

TEST(Tape, MisuseIsAnError) {
    Tape tape, other;
    const Var x = tape.input(random({2, 2}));
    EXPECT_THROW(x + other.input(random({2, 2})), Error);
    EXPECT_THROW(tape.gradient(x), Error);                          // before backward
    EXPECT_THROW(tape.backward(x), Error);                          // needs a gradient of its shape
    EXPECT_THROW(tape.backward(tape.constant(random({}))), Error);  // nothing to differentiate
    const Var y = sum(x);
    EXPECT_THROW(other.backward(y), Error);
    EXPECT_THROW(tape.backward(y, random({2})), Error);
    tape.backward(y);
    EXPECT_THROW(tape.backward(y), Error);  // consumed
    EXPECT_THROW(tape.gradient(y), Error);  // not an input
    EXPECT_EQ(tape.gradient(x).at({1, 1}), 1);
}

TEST(Tape, UnusedInputHasZeroGradientAndEvaluationRecordsNothing) {
    Tape tape;
    const Var x = tape.input(random({2})), unused = tape.input(random({3}));
    const Var dead_end = exp(unused);
    tape.backward(sum(x));
    EXPECT_EQ(sum_squares(tape.gradient(unused)), 0);

    TapeOptions options;
    options.recording = false;
    Tape evaluation(options);
    exp(evaluation.input(random({2})));
    EXPECT_EQ(evaluation.size(), 0u);
    EXPECT_EQ(ledger()[Category::saved].live, 0);
}

/// Copies its input; says nothing to the meter where it is told not to.
class Silent final : public Function {
  public:
    explicit Silent(bool count_forward) : count_forward_(count_forward) {}
    std::string name() const override { return "silent"; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        if (count_forward_) meter().add(0);
        return in[0].clone();
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override { return {gy}; }

  private:
    bool count_forward_;
};

/// y = x, whose gradient lies in memory that belongs to someone else.
class Lent final : public Function {
  public:
    explicit Lent(std::shared_ptr<std::vector<real>> values) : values_(std::move(values)) {}
    std::string name() const override { return "lent"; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        meter().add(0);
        return in[0].clone();
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        meter().add(0);
        const std::size_t bytes = values_->size() * sizeof(real);
        return {Tensor::view(gy.shape(), std::make_shared<Storage>(values_->data(), bytes, values_),
                             values_->data())};
    }

  private:
    std::shared_ptr<std::vector<real>> values_;
};

TEST(Tape, GradientsAddUpInPlaceOnlyWhereNobodyElseSeesThem) {
    Parameter p(Tensor::full({3}, 2));
    const Tensor gy = Tensor::full({3}, 1);
    const auto run = [&] {
        Tape tape;
        const Var x = tape.parameter(p);
        tape.backward((x + x) + (x + scale(x, 3)), gy);
    };
    run();
    const real* const buffer = p.grad.value.data();
    EXPECT_EQ(p.grad.value.at({0}), 6);
    run();
    EXPECT_EQ(p.grad.value.at({0}), 12);
    EXPECT_EQ(p.grad.value.data(), buffer);
    const Tensor seen = p.grad.value;
    run();
    EXPECT_EQ(p.grad.value.at({0}), 18);
    EXPECT_EQ(seen.at({0}), 12);
    EXPECT_EQ(gy.at({0}), 1);

    const auto values = std::make_shared<std::vector<real>>(3, real(5));
    const auto lent = std::make_shared<Lent>(values);
    Tape tape;
    const Var x = tape.input(Tensor::full({3}, 2));
    tape.backward(tape.apply(lent, {x}) + tape.apply(lent, {x}), gy);
    EXPECT_EQ(tape.gradient(x).at({0}), 10);
    EXPECT_EQ(*values, std::vector<real>(3, 5));
}

TEST(Tape, AnOperationThatForgetsToCountIsAnError) {
    Tape tape;
    const Var x = tape.input(random({}));
    EXPECT_THROW(tape.apply(std::make_shared<Silent>(false), {x}), Error);
    const Var y = tape.apply(std::make_shared<Silent>(true), {x});
    EXPECT_THROW(tape.backward(y), Error);
}

/// Doubles its input and gives a gradient on a basis.
struct Doubling final : Basis {
    Tensor expand(const Tensor& compressed) const override { return compressed * real(2); }
};
class OnBasis final : public Function {
  public:
    explicit OnBasis(std::shared_ptr<const Basis> basis) : basis_(std::move(basis)) {}
    std::string name() const override { return "on_basis"; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override { return in[0] * real(2); }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        meter().add(0);
        return {Grad(gy, basis_)};
    }

  private:
    std::shared_ptr<const Basis> basis_;
};

TEST(Tape, GradientsStayOnTheirBasisUntilTheyMeetAnother) {
    const auto basis = std::make_shared<Doubling>();
    Parameter w(random({3}));
    {
        Tape tape;
        const Var v = tape.parameter(w);
        const auto f = std::make_shared<OnBasis>(basis);
        tape.backward(sum(tape.apply(f, {v}) + tape.apply(f, {v})));
    }
    EXPECT_EQ(w.grad.basis, basis);
    EXPECT_EQ(w.grad.value.at({0}), 2);
    EXPECT_EQ(w.grad.dense().at({0}), 4);
    {
        Tape tape;
        tape.backward(sum(tape.parameter(w)));  // a dense gradient on top
    }
    EXPECT_EQ(w.grad.basis, nullptr);
    EXPECT_EQ(w.grad.value.at({0}), 5);

    Tape tape;  // a value in the middle of a graph always gets its gradient dense
    const Var x = tape.input(random({3}));
    tape.backward(sum(tape.apply(std::make_shared<OnBasis>(basis), {scale(x, 1)})));
    EXPECT_EQ(tape.gradient(x).at({0}), 2);
}

/// Keeps values rounded to halves, to see that it is applied.
class Halves final : public Codec {
  public:
    class Payload final : public PackedTensor {
      public:
        explicit Payload(const Tensor& x)
            : x_(map(x, 0, [](real v) { return std::round(2 * v); })) {}
        Tensor unpack() const override {
            return map(x_, 0, [](real v) { return v / 2; });
        }
        std::vector<std::shared_ptr<Storage>> held() const override { return {x_.storage()}; }

      private:
        Tensor x_;
    };
    std::shared_ptr<const PackedTensor> pack(const Tensor& value, const KeptAs&) const override {
        ++packed;
        return std::make_shared<Payload>(value);
    }
    mutable int packed = 0;
};

TEST(Saved, CodecPacksActivationsOnceAndLeavesParameters) {
    const auto codec = std::make_shared<Halves>();
    TapeOptions options;
    options.codec = codec;
    const Tensor value = Tensor::from({2}, std::vector<real>{real(0.3), real(0.9)});
    Parameter w(value.clone());
    Tape tape(options);
    const Var x = tape.input(value);
    const Var y = mul(x, tape.parameter(w));  // keeps x packed, w as it is
    EXPECT_EQ(codec->packed, 1);
    const Var z = mul(x, x);  // both factors are the tensor packed above
    EXPECT_EQ(codec->packed, 1);
    EXPECT_EQ(ledger()[Category::saved].live, value.bytes());  // one payload, held by three slots
    tape.backward(sum(y + z));
    EXPECT_EQ(w.grad.value.at({0}), real(0.5));
    EXPECT_EQ(w.grad.value.at({1}), 1);
    EXPECT_NEAR(tape.gradient(x).at({0}), 0.3 + 2 * 0.5, 1e-6);
    EXPECT_EQ(ledger()[Category::saved].live, 0);
}

TEST(Var, SaysThatItsTapeIsGone) {
    auto tape = std::make_unique<Tape>();
    const Var x = tape->input(Tensor::full({2}, 3));
    tape.reset();
    EXPECT_EQ(x.value().at({1}), 3);
    try {
        exp(x);
        FAIL() << "expected an Error";
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "[var] the tape of this value is gone");
    }
}

}  // namespace
}  // namespace slimgrad
