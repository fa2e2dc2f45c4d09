#include "nn/gradcheck.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/linear.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

std::string message_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

/// y = x², with a gradient whose last element is off by the factor `wrong`.
class Square final : public Function {
  public:
    explicit Square(real wrong) : wrong_(wrong) {}
    std::string name() const override { return "square"; }
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        saved.keep(Keep::activation, "x", in[0]);
        return in[0] * in[0];
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        Tensor gx = gy * saved.tensor("x") * real(2);
        gx.data()[gx.numel() - 1] *= wrong_;
        return {gx};
    }

  private:
    real wrong_;
};

TapeFunction square(real wrong) {
    return [wrong](Tape& tape, const std::vector<Var>& v) {
        return tape.apply(std::make_shared<Square>(wrong), {v[0]});
    };
}

TEST(Gradcheck, PassesTheRightLayerAndNamesAWrongOne) {
    const GradcheckReport report = gradcheck("square", square(1), {random({2, 3})});
    EXPECT_EQ(report.checked, 6);
    EXPECT_LT(report.max_error, sizeof(real) == 8 ? 1e-8 : 1e-2);

    const std::string message = message_of([] {
        gradcheck("square", square(real(1.1)), {random({2, 3})});
    });
    for (const char* part : {"[gradcheck] square", "input 0", "(1, 2)", "relative error"})
        EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(Gradcheck, SeesAnErrorOfAFewPartsInAMillion) {
    if constexpr (sizeof(real) == 8) {
        EXPECT_THROW(gradcheck("square", square(1 + 5e-6), {random({2, 3})}), Error);
        EXPECT_THROW(gradcheck("nan", square(std::nan("")), {random({2, 3})}), Error);
    }
}

/// A linear layer whose bias gradient is forgotten.
class Forgetful final : public Module {
  public:
    Forgetful() : bias_(random({3})) {}
    Var forward(const Var& x) override {
        return x + x.tape().constant(bias_.value);  // not tape.parameter(bias_)
    }
    void visit(Visitor& visitor) override { visitor.parameter("bias", bias_); }
    std::string kind() const override { return "forgetful"; }

  private:
    Parameter bias_;
};

TEST(Gradcheck, NamesTheParameterOfAModule) {
    Forgetful module;
    const std::string message = message_of([&] { gradcheck(module, random({2, 3})); });
    EXPECT_NE(message.find("[gradcheck] forgetful: the gradient of parameter 'bias'"),
              std::string::npos)
        << message;
}

// |x| by its own gradient, +1 at 0.
class Abs final : public Function {
  public:
    std::string name() const override { return "abs"; }
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        saved.keep("sign", BitMask::positive(in[0]));
        return map(in[0], 1, [](real v) { return std::abs(v); });
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const auto& sign = saved.as<BitMask>("sign");
        Tensor gx = gy.clone();
        for (std::int64_t i = 0; i < gx.numel(); ++i)
            if (!sign[i]) gx.data()[i] = -gx.data()[i];
        meter().add(gx.numel());
        return {gx};
    }
};

TEST(Gradcheck, LeavesOutKinksAndCountsThem) {
    const TapeFunction f = [](Tape& tape, const std::vector<Var>& v) {
        return tape.apply(std::make_shared<Abs>(), {v[0]});
    };
    Tensor x = random({5, 5});
    x.data()[3] = 0;                                  // at the kink
    x.data()[7] = real(GradcheckOptions{}.step) / 3;  // within a step of it
    const GradcheckReport report = gradcheck("abs", f, {x});
    EXPECT_EQ(report.skipped, 1);
    EXPECT_EQ(report.checked, 24);
    EXPECT_THROW(gradcheck("abs", f, {Tensor::zeros({3})}), Error);  // nothing but kinks
}

TEST(Gradcheck, LinearWithAndWithoutBiasAndCalledTwiceInOneGraph) {
    Stream stream(3, "test");
    Linear linear(4, 4, stream), plain(4, 3, stream, false);
    EXPECT_NO_THROW(gradcheck(linear, random({2, 3, 4})));
    EXPECT_NO_THROW(gradcheck(plain, random({2, 4})));
    const TapeFunction twice = [&](Tape&, const std::vector<Var>& v) {
        return linear.forward(tanh(linear.forward(v[0])));
    };
    EXPECT_EQ(gradcheck(linear, twice, {random({2, 3, 4})}).checked, 24 + 16 + 4);
}

TEST(Gradcheck, ChecksAChosenNumberOfElements) {
    Stream stream(3, "test");
    Linear linear(16, 16, stream);
    GradcheckOptions options;
    options.max_elements = 10;
    EXPECT_EQ(gradcheck(linear, random({2, 16}), options).checked, 30);
}

TEST(Freezing, AFrozenLayerMakesNoGradientAndSavesNothing) {
    Stream stream(3, "test");
    Linear linear(8, 8, stream);
    const Tensor x = random({4, 8});
    const auto saved = [] { return ledger()[Category::saved].live; };
    {
        Tape tape;
        const Var y = linear.forward(tape.input(x));
        EXPECT_EQ(saved(), x.bytes());  // x for g_w; the weights are parameters, held anyway
    }
    set_requires_grad(linear, false);
    {
        Tape tape;
        const Var v = tape.input(x);
        const Var y = linear.forward(v);
        EXPECT_EQ(saved(), 0);  // g_x needs the weights alone
        meter().reset();
        tape.backward(sum(y));
        EXPECT_EQ(meter().phase("g_w"), 0);
        EXPECT_EQ(meter().phase("g_b"), 0);
        EXPECT_EQ(meter().phase("g_x"), 2 * 4 * 8 * 8);
        EXPECT_FALSE(linear.weight().grad.defined());
        EXPECT_NE(sum_squares(tape.gradient(v)), 0);
    }
    Tape tape;  // nothing below trains either: no record at all
    linear.forward(linear.forward(tape.constant(x)));
    EXPECT_EQ(tape.size(), 0u);
}

TEST(PackCache, LayersThatKeepOneInputHoldItOnce) {
    Stream stream(3, "test");
    Linear q(8, 8, stream), k(8, 8, stream), v(8, 8, stream);
    const Tensor x = random({4, 8});
    Tape tape;
    const Var in = tape.input(x);
    const Var a = q.forward(in), b = k.forward(in), c = v.forward(in);
    EXPECT_EQ(ledger()[Category::saved].live, x.bytes());
}

TEST(PackCache, APayloadIsMadeOnceForEachPackerAndBuffer) {
    PackCache cache;
    int made = 0;
    const auto make = [&]() -> std::shared_ptr<const Packed> {
        ++made;
        return std::make_shared<BitMask>(8);
    };
    const Tensor x = random({8});
    const int first = 0, second = 0;
    const auto a = cache.get(&first, x, make), b = cache.get(&first, x, make);
    EXPECT_EQ(a, b);
    EXPECT_NE(cache.get(&second, x, make), a);
    EXPECT_NE(cache.get(&first, x.reshape({2, 4}), make), a);
    EXPECT_NE(cache.get(&first, x.clone(), make), a);
    EXPECT_EQ(made, 4);
}

}  // namespace
}  // namespace slimgrad
