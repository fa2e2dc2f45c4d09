// 01: tensors, the product that everything is made of, and the two measuring instruments: the
// meter counts operations while they run, the ledger counts the bytes that are held.

#include <fmt/core.h>

#include "slimgrad.h"

using namespace slimgrad;

int main() {
    // Random numbers always come from a named stream: the same seed and purpose, the same numbers.
    Stream stream(/*seed=*/1, "example");
    const Tensor x = normal({4, 16, 32}, 0, 1, stream);  // (B, L, C): 4 samples of 16 tokens
    const Tensor w = normal({8, 32}, 0, 1, stream);      // (Cy, Cx)

    // A reshape is another view of the same values; no copy is made.
    const Tensor flat = x.reshape({-1, 32});
    fmt::print("x {} and flat {} share one buffer: {}\n", to_string(x.shape()),
               to_string(flat.shape()), x.data() == flat.data());

    // y = x Wᵀ. The meter files what a product costs under the layer and phase that are open.
    {
        const LayerScope layer("example");
        const PhaseScope phase("forward");
        const Tensor y = matmul(x, w, Op::none, Op::transpose);
        fmt::print("y = x Wᵀ has shape {}\n", to_string(y.shape()));
    }
    const std::int64_t counted = meter().count("example", "forward");
    fmt::print("counted {} FLOPs, the formula 2 · B · L · Cx · Cy says {}\n", counted,
               2 * 4 * 16 * 32 * 8);

    // The ledger knows every buffer, and forgets it with its last owner.
    const auto held = [] { return ledger()[Category::workspace].live; };
    const std::int64_t before = held();
    {
        const Tensor copy = x.clone();
        fmt::print("a copy of x adds {} bytes, ", held() - before);
    }
    fmt::print("{} remain when it is gone\n", held() - before);

    // Eigenvalues show how much of x lies in few directions of its token axis: what INSTANT uses.
    Tensor smooth = x.clone();
    for (std::int64_t l = 1; l < 16; ++l)  // each token is mostly the one before it
        for (std::int64_t b = 0; b < 4; ++b)
            for (std::int64_t c = 0; c < 32; ++c)
                smooth.at({b, l, c}) =
                    real(0.9) * smooth.at({b, l - 1, c}) + real(0.3) * x.at({b, l, c});
    for (const auto& [name, data] : {std::pair{"independent", x}, std::pair{"similar", smooth}}) {
        const Tensor c_x = sum(matmul(data, data, Op::none, Op::transpose), 0);  // Σ_b x_b x_bᵀ
        const EigenDecomposition spectrum = eigh(c_x);
        Truncation truncation;
        truncation.epsilon = 0.95;
        fmt::print("16 {} tokens: {} directions hold 95 % of the energy\n", name,
                   truncated_rank(spectrum.values, truncation));
    }
    return counted == 2 * 4 * 16 * 32 * 8 ? 0 : 1;
}
