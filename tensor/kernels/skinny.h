#pragma once

#include <cstdint>
#include <span>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// Products with a handful of rows or of terms: too little arithmetic for the memory that they
// touch, which is where a general BLAS is slow. Both read and write the long matrix once, in the
// order in which it lies in memory. They do not count FLOPs: a rule that projects onto P and Q in
// one pass knows which part belongs to which gradient.

/// One projection of a pass: out_b = a x_b with a: (rows, L), out: (batch, rows, C).
struct Projection {
    const real* a;
    std::int64_t rows;
    real* out;
};

/// Projects every sample of x: (batch, L, C) onto all of `projections`, reading x once. Parallel
/// over samples and columns. For the ranks of a subspace (up to some 64 rows together); with more a
/// general product is as good.
void project_tokens(std::int64_t batch, std::int64_t length, std::int64_t channels, const real* x,
                    std::span<const Projection> projections);

/// out_b = qᵀ g_b with q: (rank, L), g: (batch, rank, C), out: (batch, L, C). Parallel over
/// samples.
void expand_tokens(std::int64_t batch, std::int64_t rank, std::int64_t length,
                   std::int64_t channels, const real* q, const real* g, real* out);

// The same for one sample that has matrices of its own, by one thread. What is read again, x or g,
// stays in the second cache meanwhile.

/// out = a x, a: (rows, length), x: (length, channels), out: (rows, channels).
void project_sample(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* x,
                    const real* a, real* out);
/// out = qᵀ g, q: (rank, length), g: (rank, channels), out: (length, channels).
void expand_sample(std::int64_t rank, std::int64_t length, std::int64_t channels, const real* q,
                   const real* g, real* out, bool past_caches = false);
/// What a reading of g adds up on the way: both of them, or neither.
struct Sums {
    double* squares = nullptr;  // Σ g²
    real* columns = nullptr;    // 1ᵀ g: (channels,), a token after the other
};
/// out = a gᵀ, a: (rows, channels), g: (length, channels), out: (rows, length). Adds to `sums`.
void mix_sample(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* g,
                const real* a, real* out, const Sums& sums = {});
/// u ← (u g) gᵀ, u: (rows, length): both products of a power step, while g is read once.
void iterate_sample(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* g,
                    real* u);

/// Whether an output of so many numbers, rows of so many channels from this address on, should be
/// written past the caches, since it leaves them anyway; and can be, in whole vectors.
bool past_the_caches(std::int64_t channels, std::int64_t numbers, const real* out);

/// The instruction set that these kernels use on this processor, "AVX3" for AVX-512.
const char* skinny_target();

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
