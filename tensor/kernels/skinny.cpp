// Compiled once for each instruction set, by including itself; the best is chosen when first
// called.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/kernels/skinny.cpp"
#include <hwy/foreach_target.h>  // first: it includes this file again
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "tensor/kernels/skinny.h"

HWY_BEFORE_NAMESPACE();
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A tile is 8 rows by 3 vectors of columns, or 4 by 3 with 16 registers: all of its sums live in
// them while the inner dimension runs.
constexpr bool many_registers = !HWY_ARCH_X86 || HWY_TARGET <= HWY_AVX3;
constexpr int tile_rows = many_registers ? 8 : 4;
constexpr int tile_vectors = 3;
const hn::ScalableTag<real> d;
using Vector = hn::Vec<decltype(d)>;

std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(d)); }

/// What a tile computes: out_i(j) = Σ_k a(k, i) b(k, j), or adds it.
struct Terms {
    std::int64_t count;  // of k
    const real* a;       // a(k, i) at a[k * stride_k + i * stride_i]
    std::int64_t stride_k, stride_i;
    const real* b;  // b(k, j) at b[k * stride_b + j]
    std::int64_t stride_b;
    bool add;     // to what `out` holds
    bool stream;  // store past the caches
};

/// M rows, 3 vectors. `fetch_next`: asks for the same rows of b one tile further, which the next
/// tile will read; the hardware does not foresee such short runs.
template <int M, bool fetch_next>
HWY_INLINE void wide_tile(const Terms& t, real* const* out) {
    const std::int64_t n = lanes();
    Vector sum[M][tile_vectors];
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < tile_vectors; ++v)
            sum[i][v] = t.add ? hn::LoadU(d, out[i] + v * n) : hn::Zero(d);
    for (std::int64_t k = 0; k < t.count; ++k) {
        const real* row = t.b + k * t.stride_b;
        Vector b[tile_vectors];
        for (int v = 0; v < tile_vectors; ++v) b[v] = hn::LoadU(d, row + v * n);
        if constexpr (fetch_next)
            for (int v = 0; v < tile_vectors; ++v) hwy::Prefetch(row + (v + tile_vectors) * n);
        for (int i = 0; i < M; ++i) {
            const Vector a = hn::Set(d, t.a[k * t.stride_k + i * t.stride_i]);
            for (int v = 0; v < tile_vectors; ++v) sum[i][v] = hn::MulAdd(a, b[v], sum[i][v]);
        }
    }
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < tile_vectors; ++v)
            if (t.stream)
                hn::Stream(sum[i][v], d, out[i] + v * n);
            else
                hn::StoreU(sum[i][v], d, out[i] + v * n);
}

/// M rows, the first `columns` lanes of one vector: what is left at the right edge.
template <int M>
HWY_INLINE void narrow_tile(const Terms& t, real* const* out, std::int64_t columns) {
    const auto mask = hn::FirstN(d, static_cast<std::size_t>(columns));
    Vector sum[M];
    for (int i = 0; i < M; ++i) sum[i] = t.add ? hn::MaskedLoad(mask, d, out[i]) : hn::Zero(d);
    for (std::int64_t k = 0; k < t.count; ++k) {
        const Vector b = hn::MaskedLoad(mask, d, t.b + k * t.stride_b);
        for (int i = 0; i < M; ++i)
            sum[i] = hn::MulAdd(hn::Set(d, t.a[k * t.stride_k + i * t.stride_i]), b, sum[i]);
    }
    for (int i = 0; i < M; ++i) hn::BlendedStore(sum[i], mask, d, out[i]);
}

/// `columns` columns of M rows: as one wide tile, or in single vectors.
template <int M>
HWY_INLINE void tile(Terms t, real* const* out, std::int64_t columns, bool fetch_next) {
    if (columns == tile_vectors * lanes())
        return fetch_next ? wide_tile<M, true>(t, out) : wide_tile<M, false>(t, out);
    std::array<real*, M> at;
    std::copy_n(out, M, at.begin());
    for (std::int64_t j = 0; j < columns; j += lanes()) {
        narrow_tile<M>(t, at.data(), std::min(lanes(), columns - j));
        t.b += lanes();
        for (real*& row : at) row += lanes();
    }
}

template <int M = tile_rows>
void tile(int rows, const Terms& t, real* const* out, std::int64_t columns, bool fetch_next) {
    if constexpr (M > 1)
        if (rows < M) return tile<M - 1>(rows, t, out, columns, fetch_next);
    tile<M>(t, out, columns, fetch_next);
}

int rows_of_tile(std::int64_t rows, std::int64_t begin) {
    return static_cast<int>(std::min<std::int64_t>(tile_rows, rows - begin));
}

/// Columns [begin, end) of out = a x for one sample, a(i, l) at a[i * stride_i + l * stride_l]. The
/// rows of x come in blocks that stay in the first cache while every tile of a passes over them.
void project_sample(std::int64_t length, std::int64_t channels, const real* x, const real* a,
                    std::int64_t stride_i, std::int64_t stride_l, std::vector<real*> rows,
                    std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t block = 64;
    const auto count = static_cast<std::int64_t>(rows.size());
    const std::int64_t width = tile_vectors * lanes();
    for (real*& row : rows) row += begin;
    for (std::int64_t l = 0; l < length; l += block) {
        std::vector<real*> out = rows;
        for (std::int64_t j = begin; j < end; j += width) {
            const std::int64_t columns = std::min(width, end - j);
            for (std::int64_t i = 0; i < count; i += tile_rows)
                tile(rows_of_tile(count, i),
                     {.count = std::min(block, length - l),
                      .a = a + i * stride_i + l * stride_l,
                      .stride_k = stride_l,
                      .stride_i = stride_i,
                      .b = x + l * channels + j,
                      .stride_b = channels,
                      .add = l > 0,
                      .stream = false},
                     out.data() + i, columns, i == 0);
            for (real*& row : out) row += width;
        }
    }
}

/// Rows [begin, end) of out = qᵀ g, q: (rank, length), for one sample.
void expand_sample(std::int64_t rank, std::int64_t length, std::int64_t channels, const real* q,
                   const real* g, real* out, std::int64_t begin, std::int64_t end, bool stream) {
    const std::int64_t width = tile_vectors * lanes();
    for (std::int64_t i = begin; i < end; i += tile_rows) {
        const int rows = rows_of_tile(end, i);
        for (std::int64_t j = 0; j < channels; j += width) {
            std::array<real*, tile_rows> at{};
            for (int r = 0; r < rows; ++r)
                at[static_cast<std::size_t>(r)] = out + (i + r) * channels + j;
            tile(rows,
                 {.count = rank,
                  .a = q + i,
                  .stride_k = length,
                  .stride_i = 1,
                  .b = g + j,
                  .stride_b = channels,
                  .add = false,
                  .stream = stream},
                 at.data(), std::min(width, channels - j), false);
        }
    }
    if (stream) hwy::FlushStream();
}

/// out(i, j) = Σ_k a(i, k) b(j, k), or adds it, for M rows of a and N of b. `fetch_next`: asks for
/// the rows of b of the next tile.
template <int M, int N>
HWY_INLINE void dot_tile(std::int64_t count, const real* a, std::int64_t stride_a, const real* b,
                         std::int64_t stride_b, real* out, std::int64_t stride_out, bool add,
                         bool fetch_next) {
    const std::int64_t n = lanes();
    Vector sum[M][N];
    for (int i = 0; i < M; ++i)
        for (int j = 0; j < N; ++j) sum[i][j] = hn::Zero(d);
    std::int64_t k = 0;
    for (; k + n <= count; k += n) {
        Vector of_b[N];
        for (int j = 0; j < N; ++j) of_b[j] = hn::LoadU(d, b + j * stride_b + k);
        if (fetch_next)
            for (int j = 0; j < N; ++j) hwy::Prefetch(b + (N + j) * stride_b + k);
        for (int i = 0; i < M; ++i) {
            const Vector of_a = hn::LoadU(d, a + i * stride_a + k);
            for (int j = 0; j < N; ++j) sum[i][j] = hn::MulAdd(of_a, of_b[j], sum[i][j]);
        }
    }
    for (int i = 0; i < M; ++i)
        for (int j = 0; j < N; ++j) {
            real dot = hn::GetLane(hn::SumOfLanes(d, sum[i][j]));
            for (std::int64_t rest = k; rest < count; ++rest)
                dot += a[i * stride_a + rest] * b[j * stride_b + rest];
            real& at = out[i * stride_out + j];
            at = add ? at + dot : dot;
        }
}

constexpr int dot_rows = 4, dot_columns = many_registers ? 4 : 3;

template <int M = dot_rows, int N = dot_columns>
void dot_tile(int rows, int columns, std::int64_t count, const real* a, std::int64_t stride_a,
              const real* b, std::int64_t stride_b, real* out, std::int64_t stride_out, bool add,
              bool fetch_next) {
    if constexpr (M > 1)
        if (rows < M)
            return dot_tile<M - 1, N>(rows, columns, count, a, stride_a, b, stride_b, out,
                                      stride_out, add, fetch_next);
    if constexpr (N > 1)
        if (columns < N)
            return dot_tile<M, N - 1>(rows, columns, count, a, stride_a, b, stride_b, out,
                                      stride_out, add, fetch_next);
    dot_tile<M, N>(count, a, stride_a, b, stride_b, out, stride_out, add, fetch_next);
}

/// Σ x² of `rows` rows of `count` numbers, in lanes of a row's. Adds each row to `columns`.
double sum_squares(std::int64_t rows, std::int64_t count, const real* x, std::int64_t stride,
                   real* columns) {
    const std::int64_t n = lanes();
    double total = 0;
    for (std::int64_t row = 0; row < rows; ++row, x += stride) {
        Vector sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
        std::int64_t k = 0;
        for (; k + 4 * n <= count; k += 4 * n)
            for (int v = 0; v < 4; ++v) {
                const Vector of_x = hn::LoadU(d, x + k + v * n);
                real* const column = columns + k + v * n;
                sum[v] = hn::MulAdd(of_x, of_x, sum[v]);
                hn::StoreU(hn::Add(hn::LoadU(d, column), of_x), d, column);
            }
        for (; k < count; k += n) {
            const auto mask = hn::FirstN(d, static_cast<std::size_t>(count - k));
            const Vector of_x = hn::MaskedLoad(mask, d, x + k);
            sum[0] = hn::MulAdd(of_x, of_x, sum[0]);
            hn::BlendedStore(hn::Add(hn::MaskedLoad(mask, d, columns + k), of_x), mask, d,
                             columns + k);
        }
        const Vector all = hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]));
        total += double{hn::GetLane(hn::SumOfLanes(d, all))};
    }
    return total;
}

/// Channels [begin, end) of out = a gᵀ of one sample, a(r, k) at a[r * stride_a + k − begin]; later
/// ones add to what `out` holds.
void mix_panel(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* g,
               const real* a, std::int64_t stride_a, real* out, std::int64_t begin,
               std::int64_t end) {
    for (std::int64_t l = 0; l < length; l += dot_columns)
        for (std::int64_t r = 0; r < rows; r += dot_rows)
            dot_tile(static_cast<int>(std::min<std::int64_t>(dot_rows, rows - r)),
                     static_cast<int>(std::min<std::int64_t>(dot_columns, length - l)), end - begin,
                     a + r * stride_a, stride_a, g + l * channels + begin, channels,
                     out + r * length + l, length, begin > 0, r == 0);
}

std::int64_t vector_lanes() { return lanes(); }
const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

HWY_EXPORT(project_sample);
HWY_EXPORT(expand_sample);
HWY_EXPORT(mix_panel);
HWY_EXPORT(sum_squares);
HWY_EXPORT(vector_lanes);
HWY_EXPORT(target_name);

namespace {

/// Sums of this many columns stay in the second cache beside a block of x.
constexpr std::int64_t panel_width = 768;
/// An output of more bytes than this leaves the caches anyway.
constexpr std::int64_t stream_bytes = 8 << 20;
/// Channels of a g of which all tokens are read twice in a row: they stay in the second cache, and
/// as many rows of the other factor in the first.
std::int64_t mixed_width(std::int64_t length) {
    return std::clamp<std::int64_t>((1 << 16) / length / 64 * 64, 64, 512);
}
/// Fewer multiplications than this are not worth a second thread.
constexpr std::int64_t parallel_work = 1 << 16;

}  // namespace

void project_tokens(std::int64_t batch, std::int64_t length, std::int64_t channels, const real* x,
                    std::span<const Projection> projections) {
    std::int64_t rows = 0;
    for (const Projection& p : projections) rows += p.rows;
    // One matrix (length, rows): a tile then finds its coefficients side by side.
    std::vector<real> a(static_cast<std::size_t>(length * rows));
    std::int64_t column = 0;
    for (const Projection& p : projections)
        for (std::int64_t r = 0; r < p.rows; ++r, ++column)
            for (std::int64_t l = 0; l < length; ++l)
                a[static_cast<std::size_t>(l * rows + column)] = p.a[r * length + l];

    const std::int64_t panels = (channels + panel_width - 1) / panel_width;
#pragma omp parallel for collapse(2) \
    schedule(static) if (batch * length * channels * rows > parallel_work)
    for (std::int64_t b = 0; b < batch; ++b) {
        for (std::int64_t panel = 0; panel < panels; ++panel) {
            std::vector<real*> out;
            out.reserve(static_cast<std::size_t>(rows));
            for (const Projection& p : projections)
                for (std::int64_t r = 0; r < p.rows; ++r)
                    out.push_back(p.out + (b * p.rows + r) * channels);
            HWY_DYNAMIC_DISPATCH(project_sample)
            (length, channels, x + b * length * channels, a.data(), 1, rows, std::move(out),
             panel * panel_width, std::min(channels, (panel + 1) * panel_width));
        }
    }
}

bool past_the_caches(std::int64_t channels, std::int64_t numbers, const real* out) {
    // Such stores need whole vectors at whole addresses.
    const std::int64_t lanes = HWY_DYNAMIC_DISPATCH(vector_lanes)();
    const auto size = static_cast<std::int64_t>(sizeof(real));
    return numbers * size > stream_bytes && channels % lanes == 0 &&
           reinterpret_cast<std::uintptr_t>(out) % static_cast<std::uintptr_t>(lanes * size) == 0;
}

void expand_tokens(std::int64_t batch, std::int64_t rank, std::int64_t length,
                   std::int64_t channels, const real* q, const real* g, real* out) {
    const bool stream = past_the_caches(channels, batch * length * channels, out);
    constexpr std::int64_t block = 64;  // rows of one sample that one thread makes
    const std::int64_t blocks = (length + block - 1) / block;
#pragma omp parallel for collapse(2) \
    schedule(static) if (batch * length * channels * rank > parallel_work)
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t i = 0; i < blocks; ++i) HWY_DYNAMIC_DISPATCH(expand_sample)
    (rank, length, channels, q, g + b * rank * channels, out + b * length * channels, i * block,
     std::min(length, (i + 1) * block), stream);
}

void project_sample(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* x,
                    const real* a, real* out) {
    std::vector<real*> at;
    for (std::int64_t r = 0; r < rows; ++r) at.push_back(out + r * channels);
    for (std::int64_t begin = 0; begin < channels; begin += panel_width)
        HWY_DYNAMIC_DISPATCH(project_sample)
    (length, channels, x, a, length, 1, at, begin, std::min(channels, begin + panel_width));
}

void expand_sample(std::int64_t rank, std::int64_t length, std::int64_t channels, const real* q,
                   const real* g, real* out, bool past_caches) {
    HWY_DYNAMIC_DISPATCH(expand_sample)
    (rank, length, channels, q, g, out, 0, length, past_caches);
}

void mix_sample(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* g,
                const real* a, real* out, const Sums& sums) {
    const std::int64_t width = mixed_width(length);
    for (std::int64_t begin = 0; begin < channels; begin += width) {
        const std::int64_t end = std::min(channels, begin + width);
        if (sums.squares)
            *sums.squares += HWY_DYNAMIC_DISPATCH(sum_squares)(length, end - begin, g + begin,
                                                               channels, sums.columns + begin);
        HWY_DYNAMIC_DISPATCH(mix_panel)
        (length, channels, rows, g, a + begin, channels, out, begin, end);
    }
}

void iterate_sample(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* g,
                    real* u) {
    const std::vector<real> before(u, u + rows * length);
    const std::int64_t width = mixed_width(length);
    std::vector<real> projected(static_cast<std::size_t>(rows * width));
    std::vector<real*> at;
    for (std::int64_t r = 0; r < rows; ++r) at.push_back(projected.data() + r * width);
    for (std::int64_t begin = 0; begin < channels; begin += width) {
        const std::int64_t end = std::min(channels, begin + width);
        HWY_DYNAMIC_DISPATCH(project_sample)
        (length, channels, g + begin, before.data(), length, 1, at, 0, end - begin);
        HWY_DYNAMIC_DISPATCH(mix_panel)
        (length, channels, rows, g, projected.data(), width, u, begin, end);
    }
}

const char* skinny_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
#endif  // HWY_ONCE
