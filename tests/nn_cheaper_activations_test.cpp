// GELU, SiLU and LayerNorm that keep less.
#include <gtest/gtest.h>

#include <algorithm>

#include "instant/methods/gact.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/sequential.h"
#include "nn/silu.h"
#include "tensor/meter.h"
#include "tests/error_of.h"
#include "tests/method_with.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

template <class Layer>
void expect_unbiased_derivative(Layer& layer, int bits) {
    const Tensor x = random({3, 5, 21}) * real(2), g = random({3, 5, 21}, 2);
    const auto gradient = [&](int derivative_bits, std::uint64_t step) {
        Tape tape({.step = step, .derivative_bits = derivative_bits});
        const Var in = tape.input(x);
        const Var y = layer.forward(in);
        if (derivative_bits > 0) {
            EXPECT_EQ(ledger()[Category::saved].live, 3 * 14 * derivative_bits)
                << "105 elements a sample are 14 times eight";
        }
        tape.backward(y, g);
        return tape.gradient(in);
    };
    const Tensor exact = gradient(0, 0);
    constexpr int draws = 600;
    Tensor mean = Tensor::zeros(exact.shape());
    double one = 0;
    for (int i = 0; i < draws; ++i) {
        const Tensor gx = gradient(bits, static_cast<std::uint64_t>(i));
        one += sum_squares(gx - exact) / draws;
        mean = mean + gx * (real(1) / draws);
    }
    EXPECT_GT(one, 0);
    EXPECT_LT(sum_squares(mean - exact), 1.4 * one / draws);
}

TEST(CheaperActivations, DerivativesInFewBitsAreRightOnAverage) {
    for (const int bits : {2, 3}) {
        GELU erf(GELU::Form::erf), tanh(GELU::Form::tanh);
        SiLU silu;
        expect_unbiased_derivative(erf, bits);
        expect_unbiased_derivative(tanh, bits);
        expect_unbiased_derivative(silu, bits);
    }
    GELU layer(GELU::Form::erf);
    EXPECT_EQ(error_of([&] {
                  Tape tape({.derivative_bits = 4});
                  layer.forward(tape.input(random({2, 8})));
              }),
              "[gelu] expected derivatives of 2 or 3 bits, got 4");
}

TEST(CheaperActivations, LayerNormMayKeepItsOutput) {
    LayerNorm layer(24);
    Stream stream(1, "test");
    for (Parameter* parameter : parameters(layer))
        parameter->value.copy_from(uniform({24}, real(0.3), 2, stream));
    const Tensor x = random({3, 5, 24}) * real(3) + Tensor::full({3, 5, 24}, 2);
    const Tensor g = random({3, 5, 24}, 2);
    const auto gradients = [&](bool output) {
        Tape tape({.norm_keeps_output = output});
        const Var in = tape.input(x);
        tape.backward(layer.forward(in), g);
        std::vector<Tensor> all{tape.gradient(in)};
        for (Parameter* parameter : parameters(layer)) all.push_back(parameter->grad.dense());
        zero_grad(layer);
        return all;
    };
    const auto of_x = gradients(false), of_y = gradients(true);
    for (std::size_t i = 0; i < of_x.size(); ++i)
        expect_close(of_y[i], of_x[i], fmt::format("{}", i), sizeof(real) == 8 ? 1e-12 : 1e-4);
    // A channel scaled to little, or to nothing, does not say what x was.
    for (const real scale : {real(0.05), real(0)}) {
        parameters(layer)[0]->value.data()[3] = scale;
        const auto without = gradients(false), fallen_back = gradients(true);
        for (std::size_t i = 0; i < without.size(); ++i)
            EXPECT_TRUE(std::ranges::equal(without[i].values(), fallen_back[i].values()));
    }
}

TEST(CheaperActivations, ALinearLayerSharesTheOutputThatLayerNormKeeps) {
    Stream stream(1, "test");
    Sequential model;
    model.add<LayerNorm>(64);
    model.add<Linear>(64, 64, stream);
    name_modules(model);
    const auto saved = [&](const char* keeps) {
        Tape tape(tape_options(with("gact", {{"norm_keeps", std::string(keeps)}})));
        const Var y = model.forward(tape.constant(random({2, 8, 64})));
        return ledger()[Category::saved].live;
    };
    EXPECT_EQ(saved("input") - saved("output"),
              QuantisedForm{.bits = 4}.bytes({8, 64}, 2, sizeof(real)));
}

}  // namespace
}  // namespace slimgrad
