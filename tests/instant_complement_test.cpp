// complement: random directions beside calibrated ones, which make both gradients unbiased.
#include "instant/methods/complement.h"

#include <gtest/gtest.h>

#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/options.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "tensor/meter.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 2, tokens = 6, cx = 8, cy = 7;

struct One final : Module {
    explicit One(bool convolution = false) : convolution(convolution) { name_modules(*this); }
    LinearMap& layer() {
        return convolution ? static_cast<LinearMap&>(conv) : static_cast<LinearMap&>(linear);
    }
    Var forward(const Var& x) override { return convolution ? conv.forward(x) : linear.forward(x); }
    void visit(Visitor& visitor) override { visitor.module("layer", layer()); }
    std::string kind() const override { return "one"; }
    Tensor x() const {
        return convolution ? random({batch, 2, 3, 4}, 3) : random({batch, tokens, cx}, 3);
    }
    Tensor g() const {
        return convolution ? random({batch, 7, 3, 4}, 4) : random({batch, tokens, cy}, 4);
    }
    bool convolution;
    Stream stream{1, "one"};
    Linear linear{cx, cy, stream};
    Conv2d conv{2, 7, {.kernel = 3, .padding = 1}, stream};
};

MethodOptions options_of(const std::string& side, std::int64_t complement) {
    MethodOptions options{.method = "instant", .side = side, .batch = batch};
    options.rank_x = 2;
    options.rank_g = 3;
    options.own.set("[test]", complement_option(), complement);
    return options;
}

struct Gradients {
    Tensor gw, gx;
};

Gradients run(One& model, std::uint64_t step) {
    zero_grad(model);
    Tape tape({.seed = 5, .step = step});
    const Var input = tape.input(model.x());
    tape.backward(model.forward(input), model.g());
    return {model.layer().weight().grad.dense().clone(), tape.gradient(input)};
}

/// The component of a gradient along a fixed direction.
double along(const Tensor& gradient) {
    const Tensor direction = random(gradient.shape(), 77);
    double sum = 0;
    for (std::int64_t i = 0; i < gradient.numel(); ++i)
        sum += double{gradient.data()[i]} * direction.data()[i];
    return sum;
}

struct Mean {
    void add(double value) {
        sum += value;
        squares += value * value;
        ++count;
    }
    double mean() const { return sum / count; }
    double error() const {  // of the mean
        return std::sqrt((squares / count - mean() * mean()) / (count - 1));
    }
    double sum = 0, squares = 0;
    int count = 0;
};

TEST(Complement, IsOrthonormalAndBesideTheBasis) {
    Tensor basis = random({3, 9}, 1);
    basis = eigh(matmul(basis, basis, Op::transpose, Op::none)).vectors.rows(0, 3);
    Stream stream(1, "tail");
    meter().reset();
    const Tensor all = with_complement(basis, 4, 2.25, stream);
    EXPECT_EQ(meter().total(), complement_flops(3, 4, 9));
    EXPECT_TRUE(identical(all.rows(0, 3).clone(), basis.clone()));
    const Tensor gram = matmul(all, all, Op::none, Op::transpose);
    for (std::int64_t i = 0; i < 7; ++i)
        for (std::int64_t j = 0; j < 7; ++j)
            EXPECT_NEAR(gram.at({i, j}), i != j ? 0 : i < 3 ? 1 : 2.25, 1e-5);
    EXPECT_EQ(ComplementShape(100, 3, 9).count, 6);
    EXPECT_EQ(ComplementShape(100, 3, 9).unbiased, 1);
    EXPECT_EQ(ComplementShape(2, 3, 9).unbiased, 3);
    EXPECT_EQ(ComplementShape(2, 9, 9).count, 0);
}

// Over draws of steps the mean lies within four standard errors of the exact gradient, and without
// the complement the truncated one does not.
TEST(Complement, BothGradientsAreUnbiased) {
    constexpr int draws = 2500;
    for (const bool convolution : {false, true})
        for (const std::string side : {"token", "channel"})
            for (const bool weighted : {false, true}) {
                if (weighted && side == "channel") continue;
                SCOPED_TRACE(side + (convolution ? " convolution" : "") + (weighted ? " D" : ""));
                One model(convolution);
                const Gradients exact = run(model, 0);
                MethodOptions options = options_of(side, 2);
                options.own.set("[test]", weight_rows_option(), weighted);
                Calibrator calibrator(model, options);
                calibrator.calibrate([&] { run(model, 0); });
                Mean gw, gx;
                for (std::uint64_t step = 0; step < draws; ++step) {
                    const Gradients drawn = run(model, step);
                    gw.add(along(drawn.gw));
                    gx.add(along(drawn.gx));
                }
                EXPECT_NEAR(gw.mean(), along(exact.gw), 4 * gw.error());
                EXPECT_NEAR(gx.mean(), along(exact.gx), 4 * gx.error());

                One truncated(convolution);
                MethodOptions none = options_of(side, 0);
                none.offset = "none";
                Calibrator other(truncated, none);
                other.calibrate([&] { run(truncated, 0); });
                const Gradients biased = run(truncated, 0);
                EXPECT_GT(std::abs(along(biased.gw) - along(exact.gw)), 4 * gw.error());
                EXPECT_GT(std::abs(along(biased.gx) - along(exact.gx)), 4 * gx.error());
            }
}

// The mean is then that of truncation and c / unbiased of what it drops.
TEST(Complement, AScaleTradesBiasForVariance) {
    constexpr int draws = 600;
    One exact_model, truncated;
    const Gradients exact = run(exact_model, 0);
    MethodOptions none = options_of("token", 0);
    none.offset = "none";
    Calibrator other(truncated, none);
    other.calibrate([&] { run(truncated, 0); });
    const double kept = along(run(truncated, 0).gx), all = along(exact.gx);

    std::map<double, double> errors;
    for (const double c : {0.5, 1.5}) {  // unbiased: (6 - 3) / 2
        One model;
        MethodOptions options = options_of("token", 2);
        options.own.set("[test]", complement_scale_option(), c);
        Calibrator calibrator(model, options);
        calibrator.calibrate([&] { run(model, 0); });
        Mean gx;
        for (std::uint64_t step = 0; step < draws; ++step) gx.add(along(run(model, step).gx));
        EXPECT_NEAR(gx.mean(), kept + c / 1.5 * (all - kept), 4 * gx.error()) << c;
        errors[c] = gx.error();
    }
    EXPECT_NEAR(errors[1.5] / errors[0.5], 3, 0.3) << "the variance goes with c²";
}

TEST(Complement, IsDrawnAnewInEachStepAndAsTheStepSays) {
    One model;
    Calibrator calibrator(model, options_of("token", 2));
    calibrator.calibrate([&] { run(model, 0); });
    const Gradients first = run(model, 1), second = run(model, 2), again = run(model, 1);
    EXPECT_TRUE(identical(first.gw, again.gw) && identical(first.gx, again.gx));
    EXPECT_FALSE(identical(first.gw, second.gw) || identical(first.gx, second.gx));
}

TEST(Complement, CostsWhatTheClosedFormSays) {
    for (const bool convolution : {false, true})
        for (const std::string side : {"token", "channel"})
            for (const char* method : {"compress-x", "compress-gy", "instant"}) {
                SCOPED_TRACE(side + " " + method);
                One model(convolution);
                MethodOptions options = options_of(side, 2);
                options.method = method;
                const auto shapes = trace_linear_maps(model, [&] {
                    Tape tape;
                    model.forward(tape.input(model.x()));
                });
                Calibrator calibrator(model, options);
                calibrator.calibrate([&] { run(model, 0); });
                const LinearCost cost = model_cost(shapes, compressions_of(shapes, options), batch,
                                                   Convention::executed)
                                            .total;
                meter().reset();
                Tape tape;
                const Var y = model.forward(tape.input(model.x()));
                EXPECT_EQ(ledger()[Category::saved].live * number_bytes,
                          cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)));
                tape.backward(y, model.g());
                EXPECT_EQ(meter().phase("compress"), cost.compress);
                EXPECT_EQ(meter().phase("g_w"), cost.g_w);
                EXPECT_EQ(meter().phase("g_x"), cost.g_x);
                zero_grad(model);
            }
}

TEST(Complement, BreakEvenCountsTheRandomDirectionsToo) {
    One model;
    MethodOptions options = options_of("token", 1000);
    options.break_even = "vanilla";
    Calibrator calibrator(model, options);
    calibrator.calibrate([&] { run(model, 0); });
    EXPECT_TRUE(calibrator.ranks()[0].x->vanilla);
    EXPECT_TRUE(calibrator.ranks()[0].g->vanilla);
}

}  // namespace
}  // namespace slimgrad
