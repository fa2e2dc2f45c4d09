#include <gtest/gtest.h>

#include "golden/golden.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

// Optimisers, schedules and clipping against PyTorch (tests/golden/optim.py).

namespace slimgrad {
namespace {

/// Measured: 4e-16 in double and 4e-7 in float.
constexpr double tolerance = sizeof(real) == 8 ? 1e-12 : 2e-6;

const GoldenFile& golden() {
    static const GoldenFile file("optim");
    return file;
}

struct TwoParameters final : Module {
    Parameter a{golden()["init.a"].clone()}, b{golden()["init.b"].clone()};
    void visit(Visitor& visitor) override {
        visitor.parameter("a", a);
        visitor.parameter("b", b);
    }
    std::string kind() const override { return "two_parameters"; }
    void set_gradients(std::int64_t step) {
        a.grad = golden()["grads.a"].rows(step, 1).reshape(a.value.shape()).clone();
        b.grad = golden()["grads.b"].rows(step, 1).reshape(b.value.shape()).clone();
    }
};

TEST(GoldenOptim, Optimisers) {
    const std::map<std::string, OptimizerOptions> cases = {
        {"sgd", {.name = "sgd", .lr = 0.1}},
        {"sgd_decay", {.name = "sgd", .lr = 0.1, .weight_decay = 0.05}},
        {"sgd_momentum", {.name = "sgd", .lr = 0.1, .momentum = 0.9, .weight_decay = 0.05}},
        {"sgd_nesterov",
         {.name = "sgd", .lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.05}},
        {"adam", {.name = "adam", .lr = 0.01}},
        {"adam_options",
         {.name = "adam",
          .lr = 0.01,
          .beta1 = 0.8,
          .beta2 = 0.95,
          .epsilon = 1e-3,
          .weight_decay = 0.1}},
        {"adamw", {.name = "adamw", .lr = 0.01}},
        {"adamw_options",
         {.name = "adamw",
          .lr = 0.01,
          .beta1 = 0.8,
          .beta2 = 0.95,
          .epsilon = 1e-3,
          .weight_decay = 0.1}},
    };
    for (const auto& [name, options] : cases) {
        TwoParameters model;
        const auto optimizer = make_optimizer(model, options);
        const std::int64_t steps = golden()["grads.a"].size(0);
        for (std::int64_t step = 0; step < steps; ++step) {
            model.set_gradients(step);
            optimizer->step();
            for (const auto& [key, p] : {std::pair{"a", &model.a}, std::pair{"b", &model.b}})
                expect_close(fmt::format("{}.{}.step{}", name, key, step), p->value,
                             golden()[name + "/" + key].rows(step, 1).reshape(p->value.shape()),
                             tolerance);
        }
    }
}

TEST(GoldenFile, SaysHowToMakeItAgain) {
    try {
        const GoldenFile file("absent");
        FAIL() << "an absent file was opened";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("python tests/golden/make.py"), std::string::npos);
    }
    EXPECT_THROW(golden()["absent"], Error);
}

TEST(GoldenOptim, Schedules) {
    for (const std::string& name : schedule_names())
        for (const int warmup : {0, 5}) {
            const Tensor& expected = golden()[fmt::format("{}_{}/factors", name, warmup)];
            const Schedule schedule({.name = name,
                                     .total_steps = expected.numel(),
                                     .warmup = warmup,
                                     .step_size = 4,
                                     .gamma = 0.3});
            Tensor factors(expected.shape());
            for (std::int64_t s = 0; s < factors.numel(); ++s)
                factors.data()[s] = static_cast<real>(schedule.factor(s));
            expect_close(fmt::format("{}_{}", name, warmup), factors, expected, tolerance);
        }
}

TEST(GoldenOptim, Clipping) {
    for (const auto& [name, max_norm] :
         {std::pair<std::string, double>{"clip_below", 0.5}, {"clip_above", 100}}) {
        TwoParameters model;
        model.set_gradients(0);
        const double norm = clip_grad_norm(model, max_norm);
        expect_close(name + ".norm", Tensor::full({1}, static_cast<real>(norm)),
                     golden()[name + "/norm"], tolerance);
        expect_close(name + ".a", model.a.grad.value, golden()[name + "/a"], tolerance);
        expect_close(name + ".b", model.b.grad.value, golden()[name + "/b"], tolerance);
    }
}

}  // namespace
}  // namespace slimgrad
