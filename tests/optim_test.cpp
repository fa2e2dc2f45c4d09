#include "optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>

#include "autograd/ops.h"
#include "optim/clip.h"
#include "optim/schedule.h"
#include "tensor/ops.h"

namespace slimgrad {
namespace {

/// A model that is nothing but two parameters.
struct Pair final : Module {
    Parameter a, b;
    Pair() : a(Tensor::from({2}, std::vector<real>{1, -2})), b(Tensor::full({1}, 3)) {}
    void visit(Visitor& visitor) override {
        visitor.parameter("a", a);
        visitor.parameter("b", b);
    }
    std::string kind() const override { return "pair"; }
    void set_gradient(real a0, real a1, real b0) {
        a.grad = Tensor::from({2}, std::vector<real>{a0, a1});
        b.grad = Tensor::full({1}, b0);
    }
};

constexpr double tolerance = sizeof(real) == 8 ? 1e-12 : 1e-6;

TEST(Optim, SgdFollowsItsRecurrence) {
    for (const bool nesterov : {false, true}) {
        Pair model;
        const auto optimizer = make_optimizer(model, {.name = "sgd",
                                                      .lr = 0.1,
                                                      .momentum = 0.9,
                                                      .nesterov = nesterov,
                                                      .weight_decay = 0.01});
        double w = 1, m = 0;
        for (int t = 0; t < 5; ++t) {
            const double g = 0.5 * t - 1 + 0.01 * w;
            m = 0.9 * m + g;
            w -= 0.1 * (nesterov ? g + 0.9 * m : m);
            model.set_gradient(static_cast<real>(0.5 * t - 1), 0, 0);
            optimizer->step();
            EXPECT_NEAR(model.a.value.data()[0], w, tolerance) << nesterov << ' ' << t;
        }
    }
}

TEST(Optim, PlainSgdIsOneStepDownTheGradient) {
    Pair model;
    const auto optimizer = make_optimizer(model, {.name = "sgd", .lr = 0.5});
    model.set_gradient(2, -4, 1);
    optimizer->step();
    EXPECT_NEAR(model.a.value.data()[0], 0, tolerance);
    EXPECT_NEAR(model.a.value.data()[1], 0, tolerance);
    EXPECT_NEAR(model.b.value.data()[0], 2.5, tolerance);
}

TEST(Optim, AdamAndAdamWFollowTheirRecurrence) {
    for (const bool decoupled : {false, true}) {
        Pair model;
        const double lr = 0.01, decay = 0.1;
        const auto optimizer = make_optimizer(
            model, {.name = decoupled ? "adamw" : "adam", .lr = lr, .weight_decay = decay});
        double w = -2, m = 0, v = 0;
        for (int t = 1; t <= 6; ++t) {
            const double given = std::sin(t);
            const double g = decoupled ? given : given + decay * w;
            if (decoupled) w *= 1 - lr * decay;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            const double corrected_m = m / (1 - std::pow(0.9, t));
            const double corrected_v = v / (1 - std::pow(0.999, t));
            w -= lr * corrected_m / (std::sqrt(corrected_v) + 1e-8);
            model.set_gradient(0, static_cast<real>(given), 0);
            optimizer->step();
            EXPECT_NEAR(model.a.value.data()[1], w, 10 * tolerance) << decoupled << ' ' << t;
        }
        EXPECT_EQ(optimizer->steps(), 6);
    }
}

TEST(Optim, FirstStepOfAdamHasTheLengthOfTheLearningRate) {
    Pair model;
    const auto optimizer = make_optimizer(model, {.name = "adam", .lr = 0.25});
    model.set_gradient(1000, -3, 7);
    optimizer->step();
    EXPECT_NEAR(model.a.value.data()[0], 0.75, 1e-5);
    EXPECT_NEAR(model.a.value.data()[1], -1.75, 1e-5);
}

TEST(Optim, EveryOptimizerFindsTheMinimumOfAParabola) {
    for (const std::string& name : optimizer_names()) {
        Pair model;
        const auto optimizer = make_optimizer(model, {.name = name, .lr = 0.1});
        for (int t = 0; t < 400; ++t) {  // f = (a0 - 1)²/2 + (a1 - 2)²/2 + b²/2
            const real* a = model.a.value.data();
            model.set_gradient(a[0] - 1, a[1] - 2, model.b.value.data()[0]);
            optimizer->step();
        }
        EXPECT_NEAR(model.a.value.data()[0], 1, 1e-3) << name;
        EXPECT_NEAR(model.a.value.data()[1], 2, 1e-3) << name;
        EXPECT_NEAR(model.b.value.data()[0], 0, 1e-3) << name;
    }
}

TEST(Optim, FrozenParametersAndThoseWithoutGradientStay) {
    for (const std::string& name : optimizer_names()) {
        Pair model;
        model.a.requires_grad = false;
        const auto optimizer =
            make_optimizer(model, {.name = name, .lr = 0.1, .weight_decay = 0.1});
        const Tensor a = model.a.value.clone(), b = model.b.value.clone();
        model.set_gradient(1, 1, 1);
        model.b.grad = {};
        optimizer->step();
        EXPECT_TRUE(identical(model.a.value, a)) << name;
        EXPECT_TRUE(identical(model.b.value, b)) << name;
        optimizer->visit_state([&](const std::string& state, const Tensor&) {
            EXPECT_TRUE(state.ends_with(".b")) << state;
        });
    }
}

/// Expands by repeating its one value.
struct Twice final : Basis {
    Tensor expand(const Tensor& compressed) const override { return broadcast_to(compressed, {2}); }
};

TEST(Optim, CompressedGradientsAreExpanded) {
    Pair model;
    const auto optimizer = make_optimizer(model, {.name = "sgd", .lr = 1});
    model.a.grad = Grad(Tensor::full({1}, 1), std::make_shared<Twice>());
    optimizer->step();
    EXPECT_NEAR(model.a.value.data()[0], 0, tolerance);
    EXPECT_NEAR(model.a.value.data()[1], -3, tolerance);
}

TEST(Optim, GradientsOfAnotherShapeUpdateNothing) {
    for (const std::string& name : optimizer_names())
        for (const std::int64_t length : {0, 1, 20000}) {
            Pair model;
            const auto optimizer = make_optimizer(model, {.name = name, .lr = 0.1});
            const Tensor a = model.a.value.clone();
            model.set_gradient(1, 1, 1);
            model.b.grad = Tensor::zeros({length});  // a comes first, and fits
            if (length == 1) model.b.value = Tensor::zeros({4});
            try {
                optimizer->step();
                FAIL() << "expected an Error";
            } catch (const Error& error) {
                EXPECT_EQ(std::string(error.what()),
                          fmt::format("[b] expected a gradient of the parameter's shape ({},), got "
                                      "({},)",
                                      model.b.value.numel(), length));
            }
            EXPECT_TRUE(identical(model.a.value, a));
            EXPECT_EQ(optimizer->steps(), 0);
            EXPECT_THROW(clip_grad_norm(model, 1), Error);
        }
}

TEST(Optim, StateBelongsToTheShapeOfItsParameter) {
    for (const std::string& name : optimizer_names()) {
        Pair model;
        const auto optimizer = make_optimizer(model, {.name = name, .lr = 0.1, .momentum = 0.9});
        model.set_gradient(1, 1, 1);
        optimizer->step();
        model.b = Parameter(Tensor::zeros({3}));
        model.b.grad = Tensor::zeros({3});
        EXPECT_THROW(optimizer->step(), Error) << name;
        EXPECT_THROW(optimizer->visit_state([](const std::string&, Tensor&) {}), Error) << name;
    }
}

TEST(Optim, AStepBetweenForwardAndBackwardIsAnError) {
    for (const std::string& name : optimizer_names()) {
        Pair model;
        const auto optimizer = make_optimizer(model, {.name = name, .lr = 0.1});
        model.set_gradient(1, 1, 1);
        Tape tape;
        const Var y = sum(tape.parameter(model.a) * tape.input(Tensor::full({2}, 1)));
        optimizer->step();
        EXPECT_THROW(tape.backward(y), Error) << name;
    }
}

TEST(Optim, StateRoundTripContinuesToTheSameBits) {
    for (const std::string& name : optimizer_names()) {
        const OptimizerOptions options{
            .name = name, .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01};
        const auto train = [&](Pair& model, Optimizer& optimizer, int begin, int end) {
            for (int t = begin; t < end; ++t) {
                model.set_gradient(static_cast<real>(std::cos(t)), static_cast<real>(t), 1);
                optimizer.step();
            }
        };
        Pair straight;
        const auto optimizer = make_optimizer(straight, options);
        train(straight, *optimizer, 0, 3);

        Pair resumed;
        const auto other = make_optimizer(resumed, options);
        resumed.a.value = straight.a.value.clone();
        resumed.b.value = straight.b.value.clone();
        std::map<std::string, Tensor> state;
        optimizer->visit_state([&](const std::string& key, Tensor& t) { state[key] = t.clone(); });
        other->visit_state([&](const std::string& key, Tensor& t) {
            std::ranges::copy(state.at(key).values(), t.data());
        });
        other->set_steps(optimizer->steps());

        train(straight, *optimizer, 3, 6);
        train(resumed, *other, 3, 6);
        EXPECT_TRUE(identical(straight.a.value, resumed.a.value)) << name;
        EXPECT_TRUE(identical(straight.b.value, resumed.b.value)) << name;
    }
}

TEST(Optim, CountsFlopsAndBytes) {
    Pair model;
    const std::int64_t before = ledger()[Category::optimizer].live;
    {
        const auto optimizer = make_optimizer(model, {.name = "adamw"});
        model.set_gradient(1, 1, 1);
        meter().reset();
        optimizer->step();
        EXPECT_EQ(meter().phase("optimizer"), 16 * 3);
        EXPECT_EQ(meter().total(), 16 * 3);
        EXPECT_EQ(ledger()[Category::optimizer].live - before,
                  2 * 3 * static_cast<std::int64_t>(sizeof(real)));
    }
    EXPECT_EQ(ledger()[Category::optimizer].live, before);
}

TEST(Optim, BadOptionsAreErrors) {
    Pair model;
    const auto message = [&](const OptimizerOptions& options) -> std::string {
        try {
            make_optimizer(model, options);
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_NE(message({.name = "sdg"}).find("Known: sgd, adam, adamw"), std::string::npos);
    EXPECT_NE(message({.lr = -1}), "");
    EXPECT_NE(message({.lr = std::nan("")}), "");
    EXPECT_NE(message({.name = "sgd", .nesterov = true}), "");
    EXPECT_NE(message({.beta1 = 1}), "");
    EXPECT_NE(message({.beta2 = -0.1}), "");
    EXPECT_NE(message({.weight_decay = -1}), "");
    EXPECT_NE(message({.epsilon = -1}), "");
}

TEST(Optim, DecayMayBeForMatricesOnly) {
    for (const char* name : {"sgd", "adam", "adamw"}) {
        Pair model;
        model.b = Parameter(Tensor::full({1, 1}, 3));
        const auto optimizer = make_optimizer(
            model, {.name = name, .lr = 0.1, .weight_decay = 0.5, .decay_vectors = false});
        const real before = model.a.value.data()[0];
        model.set_gradient(0, 0, 0);
        model.b.grad = Tensor::full({1, 1}, 0);
        optimizer->step();
        EXPECT_EQ(model.a.value.data()[0], before) << name;
        EXPECT_LT(model.b.value.data()[0], 3) << name;
    }
}

TEST(Schedule, FactorsAtTheirCorners) {
    const auto factor = [](const std::string& name, std::int64_t step) {
        return Schedule({.name = name, .total_steps = 110, .warmup = 10, .step_size = 30})
            .factor(step);
    };
    for (const std::string& name : schedule_names()) {
        EXPECT_NEAR(factor(name, 0), 0.1, 1e-12) << name;
        EXPECT_NEAR(factor(name, 9), 1, 1e-12) << name;
        EXPECT_NEAR(factor(name, 10), 1, 1e-12) << name;
    }
    EXPECT_NEAR(factor("constant", 109), 1, 1e-12);
    EXPECT_NEAR(factor("step", 39), 1, 1e-12);
    EXPECT_NEAR(factor("step", 40), 0.1, 1e-12);
    EXPECT_NEAR(factor("step", 70), 0.01, 1e-12);
    EXPECT_NEAR(factor("cosine", 60), 0.5, 1e-12);
    EXPECT_NEAR(factor("cosine", 85), (1 + std::cos(0.75 * std::numbers::pi)) / 2, 1e-12);
    EXPECT_NEAR(factor("cosine", 110), 0, 1e-12);
    EXPECT_NEAR(factor("linear", 35), 0.75, 1e-12);
    EXPECT_NEAR(factor("linear", 500), 0, 1e-12);
    const auto above_zero = [](const char* name, std::int64_t step) {
        return Schedule({.name = name, .total_steps = 110, .warmup = 10, .min_lr_rate = 0.2})
            .factor(step);
    };
    for (const char* name : {"cosine", "linear"}) {
        EXPECT_DOUBLE_EQ(above_zero(name, 9), 1);
        EXPECT_DOUBLE_EQ(above_zero(name, 60), 0.6);
        EXPECT_DOUBLE_EQ(above_zero(name, 110), 0.2);
    }
    EXPECT_DOUBLE_EQ(above_zero("constant", 110), 1);
    EXPECT_THROW(Schedule({.min_lr_rate = 1.5}), Error);
    EXPECT_THROW(Schedule({.name = "cosin"}), Error);
    EXPECT_THROW(Schedule({.warmup = -1}), Error);
    for (const double gamma : {0.0, std::nan(""), HUGE_VAL})
        EXPECT_THROW(Schedule({.name = "step", .gamma = gamma}), Error) << gamma;
    EXPECT_THROW(factor("linear", -1), Error);
}

TEST(Clip, ScalesOnlyWhatIsTooLong) {
    Pair model;
    model.set_gradient(2, 3, 6);
    EXPECT_NEAR(clip_grad_norm(model, 10), 7, 1e-6);
    EXPECT_EQ(model.a.grad.value.data()[0], 2);
    EXPECT_NEAR(clip_grad_norm(model, 1), 7, 1e-6);
    EXPECT_NEAR(model.a.grad.value.data()[0], 2 / 7.000001, tolerance);
    EXPECT_NEAR(model.b.grad.value.data()[0], 6 / 7.000001, tolerance);
    EXPECT_THROW(clip_grad_norm(model, 0), Error);
}

}  // namespace
}  // namespace slimgrad
