#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "autograd/ops.h"
#include "nn/dropout.h"
#include "nn/flatten.h"
#include "nn/gelu.h"
#include "nn/gradcheck.h"
#include "nn/linear.h"
#include "nn/relu.h"
#include "nn/sequential.h"
#include "nn/silu.h"
#include "nn/softmax.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/transcendental.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

std::int64_t saved_bytes() { return ledger()[Category::saved].live; }

TEST(Activations, GradientsAgreeWithFiniteDifferences) {
    ReLU relu;
    GELU gelu, gelu_tanh(GELU::Form::tanh);
    SiLU silu;
    Softmax softmax;
    Dropout dropout(0.3);
    Flatten flatten;
    for (Module* module : std::initializer_list<Module*>{&relu, &gelu, &gelu_tanh, &silu, &softmax,
                                                         &dropout, &flatten}) {
        GradcheckReport report;
        EXPECT_NO_THROW(report = gradcheck(*module, random({3, 5, 7}))) << module->kind();
        EXPECT_EQ(report.checked + report.skipped, 105) << module->kind();
    }
}

TEST(Activations, KnownValues) {
    Tape tape;
    const Var x = tape.constant(Tensor::from({3}, std::vector<real>{-1, 0, 2}));
    const auto at = [](const Var& y, std::int64_t i) { return y.value().at({i}); };
    EXPECT_EQ(at(ReLU().forward(x), 0), 0);
    EXPECT_EQ(at(ReLU().forward(x), 2), 2);
    EXPECT_NEAR(at(GELU().forward(x), 0), -0.15865525393145707, 1e-6);
    EXPECT_NEAR(at(GELU(GELU::Form::tanh).forward(x), 2), 1.954597694087775, 1e-6);
    EXPECT_NEAR(at(SiLU().forward(x), 2), 1.7615941559557649, 1e-6);
    EXPECT_NEAR(at(Softmax().forward(x), 1), 0.11419519938459449, 1e-6);
}

double normal_cdf(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

// The polynomials of single precision, and erf in that precision, against erfc in double; in all
// lengths of a vector's tail.
TEST(Activations, FastAndPlainGELUAreTheTrueOne) {
    std::vector<real> values = {0, 5.75, -5.75, 20, -20, 1e30, -1e30};
    for (double x = -7; x < 7; x += 1e-3) values.push_back(static_cast<real>(x));
    for (const std::size_t n : {values.size(), std::size_t{1}, std::size_t{7}, std::size_t{33}}) {
        std::vector<real> y(n), plain(n), gx(n), plain_gx(n);
        const std::vector<real> ones(n, 1);
        const auto size = static_cast<std::int64_t>(n);
        gelu_erf(size, values.data(), y.data());
        gelu_erf_plain(size, values.data(), plain.data());
        gelu_erf_backward(size, values.data(), ones.data(), gx.data());
        gelu_erf_backward_plain(size, values.data(), ones.data(), plain_gx.data());
        for (std::size_t i = 0; i < n; ++i) {
            const double x = values[i], cdf = normal_cdf(x);
            const double true_y = x * cdf, tolerance = 5e-7 * std::max(1.0, std::abs(true_y));
            const double true_gx = cdf + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
            EXPECT_NEAR(y[i], true_y, tolerance) << x;
            EXPECT_NEAR(plain[i], true_y, tolerance) << x;
            EXPECT_NEAR(gx[i], true_gx, 5e-7) << x;
            EXPECT_NEAR(plain_gx[i], true_gx, 5e-7) << x;
        }
    }
    const real infinite = std::numeric_limits<real>::infinity();
    const std::vector<real> special = {std::numeric_limits<real>::quiet_NaN(), infinite},
                            ones(2, 1);
    std::vector<real> y(2), gx(2);
    gelu_erf(2, special.data(), y.data());
    gelu_erf_backward(2, special.data(), ones.data(), gx.data());
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_TRUE(std::isnan(gx[0]));
    EXPECT_EQ(y[1], infinite);
}

TEST(Activations, FastSoftmaxIsThePlainOne) {
    const real infinite = std::numeric_limits<real>::infinity();
    for (const std::int64_t n : {0, 1, 7, 16, 33, 64, 128, 1000})
        for (const real spread : {real(1), real(30), real(1000)}) {
            const std::int64_t rows = 3;
            Tensor x = random({rows, n}, static_cast<std::uint64_t>(n)) * spread;
            if (n > 7) x.at({1, 3}) = -infinite;
            Tensor y({rows, n}), plain({rows, n});
            softmax_rows(rows, n, x.data(), y.data());
            softmax_rows_plain(rows, n, x.data(), plain.data());
            for (std::int64_t row = 0; row < rows && n > 0; ++row) {
                double total = 0;
                for (std::int64_t i = 0; i < n; ++i) {
                    EXPECT_NEAR(y.at({row, i}), plain.at({row, i}),
                                1e-6 * plain.at({row, i}) + 1e-30);
                    total += y.at({row, i});
                }
                EXPECT_NEAR(total, 1, 1e-5);
            }
            if (n > 7) {
                EXPECT_EQ(y.at({1, 3}), 0);
            }

            const Tensor gy = random({rows, n}, 99);
            Tensor gx = gy.clone(), plain_gx = gy.clone();
            softmax_rows_backward(rows, n, plain.data(), gx.data(), gx.data());
            softmax_rows_backward_plain(rows, n, plain.data(), gy.data(), plain_gx.data());
            for (std::int64_t i = 0; i < gx.numel(); ++i)
                EXPECT_NEAR(gx.data()[i], plain_gx.data()[i], 1e-5 * plain.data()[i] + 1e-30);
        }
    const real nan = std::numeric_limits<real>::quiet_NaN();
    std::vector<std::vector<real>> rows = {{1, nan, 2}, {-infinite, -infinite}, {infinite, 0}};
    rows.emplace_back(100, -infinite);
    for (const std::vector<real>& row : rows) {
        std::vector<real> y(row.size());
        softmax_rows(1, std::ssize(row), row.data(), y.data());
        EXPECT_TRUE(std::isnan(y[0]));
    }
}

TEST(Activations, ReLUKeepsOneBitAnElementAndLetsNaNThrough) {
    {
        Tape tape;
        const Var y = ReLU().forward(tape.input(random({16, 16})));
        EXPECT_EQ(saved_bytes(), 32);
    }
    Tape tape;
    const real nan = std::numeric_limits<real>::quiet_NaN();
    EXPECT_TRUE(std::isnan(ReLU().forward(tape.constant(Tensor::full({1}, nan))).value().item()));
}

TEST(Activations, ScalarsAreErrorsWhereAnAxisIsNeeded) {
    Tape tape;
    const Var scalar = tape.constant(Tensor::scalar(1));
    EXPECT_THROW(Softmax().forward(scalar), Error);
    EXPECT_THROW(Dropout().forward(scalar), Error);
    EXPECT_THROW(Flatten().forward(scalar), Error);
    EXPECT_THROW(Dropout(1.5), Error);
    EXPECT_THROW(Dropout(-0.1), Error);
}

TEST(Flatten, JoinsAllAxesButTheFirst) {
    Tape tape;
    EXPECT_EQ(Flatten().forward(tape.constant(random({2, 3, 4}))).shape(), (Shape{2, 12}));
    EXPECT_EQ(Flatten().forward(tape.constant(random({2}))).shape(), (Shape{2, 1}));
    EXPECT_EQ(Flatten().forward(tape.constant(Tensor({0, 3}))).shape(), (Shape{0, 3}));
}

TEST(Dropout, DropsItsShareScalesTheRestAndIsExactInEvaluation) {
    const Tensor x = Tensor::full({50, 200}, 3);
    Dropout dropout(0.25);
    Tape tape;
    const Tensor y = dropout.forward(tape.constant(x)).value();
    std::int64_t kept = 0;
    for (const real value : y.values()) {
        EXPECT_TRUE(value == 0 || std::abs(value - 4) < 1e-6);
        kept += value != 0;
    }
    EXPECT_NEAR(static_cast<double>(kept) / 10000, 0.75, 0.02);

    TapeOptions options;
    options.training = false;
    Tape evaluation(options);
    EXPECT_TRUE(identical(dropout.forward(evaluation.constant(x)).value(), x));
    EXPECT_EQ(sum_squares(Dropout(1).forward(tape.constant(x)).value()), 0);
}

TEST(Dropout, MasksDependOnTheSampleNotOnTheSplit) {
    Dropout dropout(0.5);
    const auto run = [&](std::int64_t first, std::int64_t count, std::uint64_t step, Shape sample) {
        TapeOptions options;
        options.seed = 5;
        options.step = step;
        options.first_sample = first;
        Tape tape(options);
        sample.insert(sample.begin(), count);
        const Var x = tape.constant(Tensor::full(sample, 1));
        Tensor first_layer = dropout.forward(x).value();
        EXPECT_FALSE(identical(first_layer, dropout.forward(x).value()));  // the second draws anew
        return first_layer;
    };
    for (const Shape& sample : {Shape{33}, Shape{4, 8}}) {
        const Tensor whole = run(0, 6, 2, sample);
        EXPECT_TRUE(identical(run(0, 2, 2, sample), whole.rows(0, 2).clone()));
        EXPECT_TRUE(identical(run(2, 4, 2, sample), whole.rows(2, 4).clone()));
        EXPECT_FALSE(identical(run(0, 6, 3, sample), whole));
    }
}

TEST(Sequential, RunsAndNamesItsModulesInOrder) {
    Stream stream(1, "test");
    Sequential net;
    net.add<Linear>(6, 5, stream);
    net.add<ReLU>();
    net.add<Linear>(5, 3, stream);
    name_modules(net);
    EXPECT_EQ(net[2].path(), "2");
    std::vector<std::string> names;
    for_each_parameter(net, [&](const std::string& name, Parameter&) { names.push_back(name); });
    EXPECT_EQ(names, (std::vector<std::string>{"0.weight", "0.bias", "2.weight", "2.bias"}));
    EXPECT_NO_THROW(gradcheck(net, random({4, 6})));
    EXPECT_THROW(net[3], Error);
    EXPECT_THROW(net.append(nullptr), Error);
    Tape tape;
    EXPECT_THROW(net.forward(tape.constant(random({4, 5}))), Error);
}

TEST(Residual, AddsItsBranch) {
    Stream stream(1, "test");
    Residual block(std::make_unique<Linear>(4, 4, stream));
    EXPECT_NO_THROW(gradcheck(block, random({2, 3, 4})));
    Residual wrong(std::make_unique<Linear>(4, 5, stream));
    Tape tape;
    EXPECT_THROW(wrong.forward(tape.constant(random({2, 4}))), Error);
    EXPECT_THROW(Residual(nullptr), Error);
}

}  // namespace
}  // namespace slimgrad
