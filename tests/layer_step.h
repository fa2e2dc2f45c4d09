#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "instant/cost/cost_model.h"
#include "instant/cost/trace.h"
#include "instant/methods/method.h"
#include "nn/linear_map.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What came out of one step of a layer.
struct Step {
    Tensor x, gy;      // given to it
    Tensor y, gx, gw;  // gw: (Cy, Cx)
    std::int64_t saved;
};

/// One step of a layer under a method, from an x and a random g_y; the layer's FLOPs and bytes must
/// be those of the method's closed form.
inline Step step_of(LinearMap& layer, MethodOptions options, const Tensor& x,
                    const TokenLayout& layout = {}, std::shared_ptr<const Projector> p = {}) {
    const auto forward = [&](Tape& tape, const Var& input) {
        const TokenScope tokens(tape, layout);
        return layer.forward(input);
    };
    const LinearShape shape = trace_linear_maps(layer, [&] {
        Tape tape;
        forward(tape, tape.input(x));
    })[0];
    layer.set_rule(find_method(options.method).rule({layer, options, std::move(p)}));
    zero_grad(layer);
    meter().reset();
    Step step{x, {}, {}, {}, {}, 0};
    const std::int64_t before = ledger()[Category::saved].live;
    {
        Tape tape;
        const Var input = tape.input(x.clone());
        const Var y = forward(tape, input);
        step.saved = ledger()[Category::saved].live - before;
        step.y = y.value();
        step.gy = random(y.shape(), 99);
        tape.backward(y, step.gy);
        step.gx = tape.gradient(input);
    }
    step.gw = layer.weight().grad.dense().reshape({shape.out_channels, shape.in_channels});

    const std::int64_t batch = x.size(0);
    const LinearCost cost =
        linear_cost(shape, compression_of(shape, options), batch, Convention::executed);
    const std::string path = layer.path();
    EXPECT_EQ(meter().count(path, "forward"), cost.forward);
    EXPECT_EQ(meter().count(path, "compress"), cost.compress);
    EXPECT_EQ(meter().count(path, "g_w"), cost.g_w);
    EXPECT_EQ(meter().count(path, "g_x"), cost.g_x);
    EXPECT_EQ(step.saved * number_bytes,
              cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)));
    EXPECT_EQ(ledger()[Category::saved].live, before);
    return step;
}

/// The same of the exact rule.
inline Step exact_step_of(LinearMap& layer, const Tensor& x) {
    layer.set_rule(ExactRule::instance());
    zero_grad(layer);
    Step step{x, {}, {}, {}, {}, 0};
    Tape tape;
    const Var input = tape.input(x.clone()), y = layer.forward(input);
    step.y = y.value();
    step.gy = random(y.shape(), 99);
    tape.backward(y, step.gy);
    step.gx = tape.gradient(input);
    step.gw = layer.weight().grad.dense();
    step.gw = step.gw.reshape({step.gw.size(0), -1});
    return step;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
