// 04: the four backward modes on one linear layer. Forward is exact in all of them; they differ in
// what is kept of x, in how g_w and g_x are made, and so in operations, bytes and error.

#include <fmt/core.h>

#include <cmath>

#include "slimgrad.h"

using namespace slimgrad;

constexpr std::int64_t batch = 16, tokens = 64, cx = 96, cy = 96;

/// Samples whose tokens resemble their neighbours, as those of images and sentences do.
Tensor smooth_tokens(std::int64_t channels, Stream& stream) {
    Tensor x = normal({batch, tokens, channels}, 0, 1, stream);
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t l = 1; l < tokens; ++l)
            for (std::int64_t c = 0; c < channels; ++c)
                x.at({b, l, c}) = real(0.95) * x.at({b, l - 1, c}) + real(0.1) * x.at({b, l, c});
    return x;
}

double relative_error(const Tensor& got, const Tensor& exact) {
    return std::sqrt(sum_squares(got - exact) / sum_squares(exact));
}

int main() {
    Stream stream(1, "example");
    const Tensor x = smooth_tokens(cx, stream), gy = smooth_tokens(cy, stream);

    Tensor exact_gw, exact_gx;
    std::int64_t vanilla_work = 0;
    bool fewer = true;
    fmt::print("{:<12} {:>6} {:>6} {:>12} {:>14} {:>10} {:>10}\n", "method", "rank x", "rank g",
               "saved, bytes", "backward FLOPs", "error g_w", "error g_x");
    for (const char* method : {"vanilla", "compress-x", "compress-gy", "instant"}) {
        Stream weights(2, "weights");
        Linear layer(cx, cy, weights, /*bias=*/false);
        const auto backward = [&](Tensor* gx) {
            Tape tape;
            const Var input = tape.input(x);
            const Var y = layer.forward(input);
            const std::int64_t saved = ledger()[Category::saved].live;
            tape.backward(y, gy);
            *gx = tape.gradient(input);
            return saved;
        };

        // Calibration looks at real x and g_y and gives the layer its rule.
        MethodOptions options;
        options.method = method;
        options.epsilon = 0.95;
        options.oversample = 5;
        options.side = "token";
        Calibrator calibrator(layer, options);
        Tensor gx;
        if (calibrator.needed()) calibrator.calibrate([&] { backward(&gx); });

        zero_grad(layer);
        meter().reset();
        const std::int64_t saved = backward(&gx);
        const std::int64_t work =
            meter().phase("compress") + meter().phase("g_w") + meter().phase("g_x");
        const Tensor gw = layer.weight().grad.dense();
        if (!calibrator.needed()) {
            exact_gw = gw;
            exact_gx = gx;
            vanilla_work = work;
        } else {
            fewer = fewer && work < vanilla_work;
        }

        const LayerRanks ranks = calibrator.ranks().front();
        const auto show = [](const auto& rank) { return rank ? fmt::format("{}", *rank) : "-"; };
        fmt::print("{:<12} {:>6} {:>6} {:>12} {:>14} {:>10.1e} {:>10.1e}\n", method,
                   show(ranks.rank_x), show(ranks.rank_g), saved, work,
                   relative_error(gw, exact_gw), relative_error(gx, exact_gx));
    }
    fmt::print(
        "g_x loses what Q drops of g_y; g_w only where what P drops of x meets what it drops of "
        "g_y\n");
    return fewer ? 0 : 1;
}
