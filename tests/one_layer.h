#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "instant/cost/linear_cost.h"
#include "nn/conv2d.h"
#include "nn/convolution_operator.h"
#include "nn/linear.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/values.h"

namespace slimgrad {

// One linear map under a rule, and the dense matrices that it stands for.

constexpr auto number = static_cast<std::int64_t>(sizeof(real));

/// Multiplies the axis of the subspace by PᵀP: the dense meaning of a projection.
inline Tensor dense(const Subspace& p, const Tensor& x) {
    const Tensor square = matmul(p.basis, p.basis, Op::transpose, Op::none);
    return p.side == Side::token ? matmul(square, x) : matmul(x, square);
}

struct OneLayer {
    std::unique_ptr<LinearMap> map;
    Tensor x, gy;                  // as the layer has them
    Tensor x_matrix, w, g_matrix;  // (B, L, Cx), (Cy, Cx), (B, L, Cy)
    std::shared_ptr<const LinearOperator> op;
    LinearShape shape;

    LinearCall call(std::uint64_t seed, std::uint64_t step) const {
        return {.op = op,
                .w = w,
                .needs = {true, true, true},
                .layer = shape.name,
                .input_group = shape.name,
                .seed = seed,
                .step = step};
    }
};

inline OneLayer one_linear() {
    Stream stream(3, "layer");
    OneLayer layer;
    layer.map = std::make_unique<Linear>(5, 6, stream);
    layer.x = layer.x_matrix = random({2, 7, 5}, 1);
    layer.gy = layer.g_matrix = random({2, 7, 6}, 2);
    layer.w = layer.map->weight().value;
    layer.op = std::make_shared<TokenOperator>(layer.x.shape());
    layer.shape = {"linear", 7, 5, 6, 7 * 5, "linear"};
    return layer;
}

inline OneLayer one_convolution() {
    Stream stream(3, "layer");
    const Conv2dOptions o{.kernel = {2, 3}, .stride = {1, 2}, .padding = {0, 1}};
    const Window2d window = make_window("test", 4, 5, o.kernel, o.stride, o.padding);
    OneLayer layer;
    layer.map = std::make_unique<Conv2d>(2, 5, o, stream);
    layer.x = random({2, 2, 4, 5}, 1);
    layer.gy = random({2, 5, window.rows.positions(), window.columns.positions()}, 2);
    layer.op = std::make_shared<ConvolutionOperator>(layer.x.shape(), window);
    layer.x_matrix = layer.op->x_matrix(layer.x);
    layer.g_matrix = layer.op->y_matrix(layer.gy);
    layer.w = layer.map->weight().value.reshape({5, -1});
    layer.shape = {"conv2d", window.positions(), 2 * window.taps(), 5, 2 * 4 * 5, "conv2d"};
    return layer;
}

inline std::vector<OneLayer> every_layer() {
    std::vector<OneLayer> all;
    all.push_back(one_linear());
    all.push_back(one_convolution());
    return all;
}

struct Outcome {
    Tensor y, gx, gw, gb;
    std::int64_t saved = 0;
};

inline Outcome run(OneLayer& layer, const TapeOptions& options, const Tensor& x, const Tensor& gy) {
    zero_grad(*layer.map);
    Tape tape(options);
    // A copy: the ledger would not count again what another tape keeps.
    const Var in = tape.input(x.clone()), y = layer.map->forward(in);
    Outcome outcome{y.value(), {}, {}, {}, ledger()[Category::saved].live};
    tape.backward(y, gy);
    outcome.gx = tape.gradient(in);
    outcome.gw = layer.map->weight().grad.dense().reshape(layer.w.shape()).clone();
    outcome.gb = layer.map->bias()->grad.dense().clone();
    return outcome;
}

inline Outcome run(OneLayer& layer, const TapeOptions& options = {}) {
    return run(layer, options, layer.x, layer.gy);
}

}  // namespace slimgrad
