// What users' functions give and what they change between forward and backward.
#include <gtest/gtest.h>

#include <functional>

#include "autograd/ops.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

/// y = 2 a + 0 b, whose gradients are what a test says.
class Told final : public Function {
  public:
    using Gradients = std::function<std::vector<Grad>(const Tensor& gy)>;
    explicit Told(Gradients gradients) : gradients_(std::move(gradients)) {}
    std::string name() const override { return "told"; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override { return in[0] * real(2); }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        meter().add(0);
        return gradients_(gy);
    }

  private:
    Gradients gradients_;
};

/// Runs it on a: (2, 3) and a parameter b: (10,).
void run(Parameter& b, const Told::Gradients& gradients) {
    Tape tape;
    const Var a = tape.input(Tensor::full({2, 3}, 1));
    tape.backward(sum(tape.apply(std::make_shared<Told>(gradients), {a, tape.parameter(b)})));
}

TEST(GradientShapes, AreCheckedForEveryInput) {
    Parameter b(Tensor::zeros({10}));
    const Tensor ga = Tensor::zeros({2, 3}), gb = Tensor::full({10}, 1);
    run(b, [&](const Tensor&) { return std::vector<Grad>{ga, gb}; });
    EXPECT_EQ(b.grad.value.shape(), (Shape{10}));
    const auto with = [&](Grad first, Grad second) {
        return error_of([&] {
            run(b, [&](const Tensor&) { return std::vector<Grad>{first, second}; });
        });
    };
    EXPECT_EQ(with(ga, Tensor::zeros({20000})),
              "[told] backward gave a gradient of shape (20000,) for input 1 of shape (10,)");
    EXPECT_EQ(with(ga, Tensor::zeros({9})),
              "[told] backward gave a gradient of shape (9,) for input 1 of shape (10,)");
    EXPECT_EQ(with(ga, Tensor::zeros({10, 1})),
              "[told] backward gave a gradient of shape (10, 1) for input 1 of shape (10,)");
    EXPECT_EQ(with(ga, Tensor::zeros({0})),
              "[told] backward gave a gradient of shape (0,) for input 1 of shape (10,)");
    EXPECT_EQ(with(Tensor::zeros({3, 2}), gb),
              "[told] backward gave a gradient of shape (3, 2) for input 0 of shape (2, 3)");
    EXPECT_EQ(with(ga, Tensor()), "[told] backward gave no gradient for input 1, which needs one");
    EXPECT_EQ(b.grad.value.shape(), (Shape{10}));
}

TEST(GradientShapes, OfWhatABasisExpandsToAreChecked) {
    struct Longer final : Basis {
        Tensor expand(const Tensor& compressed) const override {
            return broadcast_to(compressed, {4, 3});
        }
    };
    struct Nothing final : Basis {
        Tensor expand(const Tensor&) const override { return {}; }
    };
    Parameter b(Tensor::zeros({10}));
    const Tensor gb = Tensor::zeros({10});
    const auto with = [&](std::shared_ptr<const Basis> basis) {
        return error_of([&] {
            run(b, [&](const Tensor&) {
                return std::vector<Grad>{Grad(Tensor::zeros({1, 3}), basis), gb};
            });
        });
    };
    EXPECT_EQ(with(std::make_shared<Longer>()),
              "[backward] expected a gradient of shape (2, 3) from its basis, got (4, 3)");
    EXPECT_EQ(with(std::make_shared<Nothing>()),
              "[backward] expected a gradient of shape (2, 3) from its basis, got nothing");
    b.grad = Grad(Tensor::zeros({1, 3}), std::make_shared<Longer>());
    EXPECT_EQ(error_of([&] { b.dense_grad("b"); }),
              "[b] expected a gradient of the parameter's shape (10,), got (4, 3)");
}

TEST(GradientShapes, AParameterKeepsItsShapeUntilBackward) {
    Parameter b(Tensor::zeros({10}));
    Tape tape;
    const Var y = sum(tape.parameter(b) * real(2));
    b.value = Tensor::zeros({3});
    EXPECT_EQ(error_of([&] { tape.backward(y); }),
              "[scale] a parameter of shape (10,) in forward has the shape (3,) in backward");

    Parameter c(Tensor::zeros({10}));
    c.grad = Tensor::zeros({3});  // by hand
    Tape other;
    EXPECT_EQ(error_of([&] { other.backward(sum(other.parameter(c) * real(2))); }),
              "[gradient] gradients of shapes (3,) and (10,) do not add up");
}

TEST(GradientShapes, AGradientInBorrowedMemoryIsCopied) {
    const auto values = std::make_shared<std::vector<real>>(10, real(5));
    const Tensor lent = Tensor::view(
        {10}, std::make_shared<Storage>(values->data(), 10 * sizeof(real), values), values->data());
    Parameter b(Tensor::zeros({10}));
    run(b, [&](const Tensor&) {
        return std::vector<Grad>{
            Tensor::zeros({2, 3}),
            Tensor::view({10}, std::make_shared<Storage>(values->data(), 10 * sizeof(real), values),
                         values->data())};
    });
    scale_in_place(b.grad.value, 2);
    EXPECT_EQ(b.grad.value.at({9}), 10);
    EXPECT_EQ(lent.at({9}), 5);
}

TEST(Functions, MustGiveAValue) {
    class Empty final : public Function {
      public:
        std::string name() const override { return "empty"; }
        Tensor forward(std::span<const Tensor>, Saved&) const override {
            meter().add(0);
            return {};
        }
        std::vector<Grad> backward(const Tensor&, const Saved&) const override { return {}; }
    };
    Tape tape;
    const Var x = tape.input(Tensor::zeros({2}));
    EXPECT_EQ(error_of([&] { tape.apply(std::make_shared<Empty>(), {x}); }),
              "[empty] forward gave no value");
    EXPECT_THROW(tape.apply(nullptr, {x}), Error);
    EXPECT_THROW(tape.input(Tensor()), Error);
    EXPECT_THROW(tape.constant(Tensor()), Error);
    Parameter none;
    EXPECT_THROW(tape.parameter(none), Error);
    EXPECT_THROW(Parameter{Tensor()}, Error);
}

TEST(Tape, KnowsNoGradientOfWhatCameAfterBackward) {
    Tape tape;
    const Var x = tape.input(Tensor::zeros({2}));
    tape.backward(sum(x));
    const Var late = tape.input(Tensor::zeros({2}));
    EXPECT_EQ(error_of([&] { tape.gradient(late); }),
              "[gradient] this input was made after backward");
    // A value of a tape that is gone is not of the one that has its place.
    auto first = std::make_unique<Tape>();
    const Var old = first->input(Tensor::zeros({2}));
    first.reset();
    Tape second;
    second.backward(sum(second.input(Tensor::zeros({2}))));
    EXPECT_THROW(second.gradient(old), Error);
}

TEST(Saved, MustKeepSomething) {
    Saved saved({true});
    EXPECT_THROW(saved.keep(Keep::exact, "x", Tensor()), Error);
    EXPECT_THROW(saved.keep("x", std::shared_ptr<const Packed>()), Error);
    EXPECT_THROW(saved.keep_once("x", nullptr, Tensor(), [] { return nullptr; }), Error);
    EXPECT_THROW(BitMask(-1), Error);
    saved.keep(Keep::exact, std::string("a name that ") + "does not live long", Tensor::zeros({1}));
    EXPECT_TRUE(saved.has("a name that does not live long"));
}

/// A codec that loses the last row.
class Lossy final : public Codec {
    class Payload final : public PackedTensor {
      public:
        explicit Payload(Tensor x) : x_(std::move(x)) {}
        Tensor unpack() const override { return x_.rows(0, x_.size(0) - 1); }
        std::vector<std::shared_ptr<Storage>> held() const override { return {x_.storage()}; }

      private:
        Tensor x_;
    };
    std::shared_ptr<const PackedTensor> pack(const Tensor& value, const KeptAs&) const override {
        return std::make_shared<Payload>(value.clone());
    }
};

TEST(Saved, ACodecMustGiveBackTheShape) {
    TapeOptions options;
    options.codec = std::make_shared<Lossy>();
    Tape tape(options);
    const Var y = exp(tape.input(Tensor::zeros({3, 2})));
    EXPECT_EQ(error_of([&] { tape.backward(sum(y)); }),
              "[exp] the codec gave 'kept' of shape (3, 2) back as (2, 2)");
}

// y = x w, then `change`, then backward: g_x needs w and g_w needs x.
std::string changed_between(const TapeOptions& options,
                            const std::function<void(Tensor& x, Parameter& w)>& change) {
    Tensor x = Tensor::full({4}, 3);
    Parameter w(Tensor::full({4}, 2));
    Tape tape(options);
    const Var y = sum(tape.input(x) * tape.parameter(w));
    change(x, w);
    return error_of([&] { tape.backward(y); });
}

TEST(Saved, AChangeThatTheLibraryKnowsOfIsAnError) {
    const std::string x_message =
        "[mul] 'a' was changed after it had been kept for backward, whose gradient would be wrong. "
        "Hint: run backward before the optimizer and before what else writes to values, or keep a "
        "copy";
    const auto x_changed = [](auto change) {
        return changed_between({}, [&](Tensor& x, Parameter&) { change(x); });
    };
    EXPECT_EQ(x_changed([](Tensor&) {}), "no error");
    EXPECT_EQ(x_changed([](Tensor& x) { x.fill(1); }), x_message);
    EXPECT_EQ(x_changed([](Tensor& x) { x.copy_from(Tensor::zeros({4})); }), x_message);
    EXPECT_EQ(x_changed([](Tensor& x) { add_in_place(x, Tensor::full({4}, 1)); }), x_message);
    EXPECT_EQ(x_changed([](Tensor& x) { scale_in_place(x, 2); }), x_message);
    EXPECT_EQ(x_changed([](Tensor& x) { add_row_in_place(x, Tensor::full({4}, 1)); }), x_message);
    EXPECT_EQ(x_changed([](Tensor& x) {
                  x.data()[0] = 1;
                  x.changed();
              }),
              x_message);
    EXPECT_EQ(x_changed([](Tensor& x) { x.reshape({2, 2}).rows(1, 1).fill(1); }), x_message);
    // A new tensor in the place of the old one leaves what was kept as it was.
    EXPECT_EQ(changed_between({}, [](Tensor&, Parameter& w) { w.value = Tensor::zeros({4}); }),
              "no error");
}

TEST(Saved, CheckingFindsEveryChange) {
    const auto write = [](Tensor& x, Parameter&) { x.data()[3] = 1; };
    EXPECT_EQ(changed_between({}, write), "no error");  // unseen, and the gradient is wrong
    TapeOptions checking;
    checking.check_saved = true;
    EXPECT_EQ(changed_between(checking, [](Tensor&, Parameter&) {}), "no error");
    EXPECT_TRUE(changed_between(checking, write).starts_with("[mul] 'a' was changed after"));
    EXPECT_TRUE(changed_between(checking, [](Tensor&, Parameter& w) {
                    w.value.data()[0] = 5;
                }).starts_with("[mul] 'b' was changed after"));
}

TEST(Saved, CheckingFindsFunctionsThatChangeWhatTheyAreGiven) {
    class Rude final : public Function {
      public:
        explicit Rude(bool forward) : forward_(forward) {}
        std::string name() const override { return "rude"; }
        Tensor forward(std::span<const Tensor> in, Saved&) const override {
            Tensor x = in[0];  // a handle to the same values
            if (forward_) x.data()[0] += 1;
            return in[0] * real(2);
        }
        std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
            Tensor g = gy;
            if (!forward_) g.data()[0] += 1;
            return {gy * real(2)};
        }

      private:
        bool forward_;
    };
    TapeOptions checking;
    checking.check_saved = true;
    const auto with = [&](bool forward) {
        return error_of([&] {
            Tape tape(checking);
            const Var x = tape.input(Tensor::zeros({2}));
            tape.backward(sum(tape.apply(std::make_shared<Rude>(forward), {x})));
        });
    };
    EXPECT_EQ(with(true), "[rude] forward must not change its inputs, but changed input 0");
    EXPECT_EQ(with(false), "[rude] backward must not change the gradient of output 0");
}

TEST(PackCache, DoesNotShareWhatWasMadeOfOtherValues) {
    PackCache cache;
    Tensor x = Tensor::full({4}, 1);
    int made = 0;
    const auto make = [&] {
        ++made;
        return std::make_shared<BitMask>(8);
    };
    const auto first = cache.get(&cache, x, make);
    EXPECT_EQ(cache.get(&cache, x, make), first);
    x.fill(2);
    const auto second = cache.get(&cache, x, make, true);
    EXPECT_NE(second, first);
    x.data()[0] = 3;  // seen by digests alone
    EXPECT_NE(cache.get(&cache, x, make, true), second);
    EXPECT_EQ(made, 3);
}

}  // namespace
}  // namespace slimgrad
