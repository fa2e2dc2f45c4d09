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

// A tile is 8 rows by 3 vectors of columns: 24 sums live in registers while the inner dimension
// runs.
constexpr int tile_rows = 8;
constexpr int tile_vectors = 3;
const hn::ScalableTag<real> d;
using Vector = hn::Vec<decltype(d)>;

std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(d)); }

/// What a tile computes: out_i(j) = Σ_k a(k, i) b(k, j), or adds it.
struct Terms {
    std::int64_t count;  // of k
    const real* a;       // a(k, i) at a[k * stride_a + i]
    std::int64_t stride_a;
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
            const Vector a = hn::Set(d, t.a[k * t.stride_a + i]);
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
            sum[i] = hn::MulAdd(hn::Set(d, t.a[k * t.stride_a + i]), b, sum[i]);
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

void tile(int rows, const Terms& t, real* const* out, std::int64_t columns, bool fetch_next) {
    switch (rows) {
        case 1:
            return tile<1>(t, out, columns, fetch_next);
        case 2:
            return tile<2>(t, out, columns, fetch_next);
        case 3:
            return tile<3>(t, out, columns, fetch_next);
        case 4:
            return tile<4>(t, out, columns, fetch_next);
        case 5:
            return tile<5>(t, out, columns, fetch_next);
        case 6:
            return tile<6>(t, out, columns, fetch_next);
        case 7:
            return tile<7>(t, out, columns, fetch_next);
        default:
            return tile<8>(t, out, columns, fetch_next);
    }
}

int rows_of_tile(std::int64_t rows, std::int64_t begin) {
    return static_cast<int>(std::min<std::int64_t>(tile_rows, rows - begin));
}

/// Columns [begin, end) of out = aᵀ x, a: (length, rows), for one sample. The rows of x come in
/// blocks that stay in the first cache while every tile of a passes over them.
void project_sample(std::int64_t length, std::int64_t channels, const real* x, const real* a,
                    std::vector<real*> rows, std::int64_t begin, std::int64_t end) {
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
                      .a = a + l * count + i,
                      .stride_a = count,
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
                  .stride_a = length,
                  .b = g + j,
                  .stride_b = channels,
                  .add = false,
                  .stream = stream},
                 at.data(), std::min(width, channels - j), false);
        }
    }
    if (stream) hwy::FlushStream();
}

/// M rows of g times V vectors of rows of a: out(i, r) = Σ_k g(i, k) a(k, r), or adds it.
template <int M, int V>
HWY_INLINE void mix_tile(std::int64_t count, const real* g, std::int64_t stride_g, const real* a,
                         std::int64_t stride_a, real* out, std::int64_t stride_out, bool add) {
    const std::int64_t n = lanes();
    Vector sum[M][V];
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v)
            sum[i][v] = add ? hn::LoadU(d, out + i * stride_out + v * n) : hn::Zero(d);
    for (std::int64_t k = 0; k < count; ++k) {
        Vector b[V];
        for (int v = 0; v < V; ++v) b[v] = hn::LoadU(d, a + k * stride_a + v * n);
        for (int i = 0; i < M; ++i) {
            const Vector x = hn::Set(d, g[i * stride_g + k]);
            for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(x, b[v], sum[i][v]);
        }
    }
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < V; ++v) hn::StoreU(sum[i][v], d, out + i * stride_out + v * n);
}

template <int M>
void mix_rows(int vectors, std::int64_t count, const real* g, std::int64_t stride_g, const real* a,
              std::int64_t stride_a, real* out, std::int64_t stride_out, bool add) {
    if (vectors == 1)
        mix_tile<M, 1>(count, g, stride_g, a, stride_a, out, stride_out, add);
    else if (vectors == 2)
        mix_tile<M, 2>(count, g, stride_g, a, stride_a, out, stride_out, add);
    else
        mix_tile<M, 3>(count, g, stride_g, a, stride_a, out, stride_out, add);
}

/// out = g aᵀ: (length, padded), a packed. Blocks of channels keep a in the first cache.
void mix(std::int64_t length, std::int64_t channels, const real* g, const real* a,
         std::int64_t padded, real* out) {
    constexpr std::int64_t block = 256;
    const std::int64_t width = tile_vectors * lanes();
    for (std::int64_t k = 0; k < channels; k += block)
        for (std::int64_t r = 0; r < padded; r += width) {
            const auto vectors = static_cast<int>(std::min(width, padded - r) / lanes());
            const std::int64_t count = std::min(block, channels - k);
            const auto rows = [&]<int M>(std::int64_t l) {
                mix_rows<M>(vectors, count, g + l * channels + k, channels, a + k * padded + r,
                            padded, out + l * padded + r, padded, k > 0);
            };
            std::int64_t l = 0;
            for (; l + tile_rows <= length; l += tile_rows) rows.template operator()<tile_rows>(l);
            for (; l < length; ++l) rows.template operator()<1>(l);
        }
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
HWY_EXPORT(mix);
HWY_EXPORT(vector_lanes);
HWY_EXPORT(target_name);

namespace {

/// Sums of this many columns stay in the second cache beside a block of x.
constexpr std::int64_t panel_width = 768;
/// An output of more bytes than this leaves the caches anyway.
constexpr std::int64_t stream_bytes = 8 << 20;
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
            (length, channels, x + b * length * channels, a.data(), std::move(out),
             panel * panel_width, std::min(channels, (panel + 1) * panel_width));
        }
    }
}

void expand_tokens(std::int64_t batch, std::int64_t rank, std::int64_t length,
                   std::int64_t channels, const real* q, const real* g, real* out) {
    // Stores past the caches need whole vectors at whole addresses.
    const std::int64_t lanes = HWY_DYNAMIC_DISPATCH(vector_lanes)();
    const bool aligned = channels % lanes == 0 &&
                         reinterpret_cast<std::uintptr_t>(out) % (lanes * sizeof(real)) == 0;
    const std::int64_t bytes = batch * length * channels * static_cast<std::int64_t>(sizeof(real));
    const bool stream = aligned && bytes > stream_bytes;
    constexpr std::int64_t block = 64;  // rows of one sample that one thread makes
    const std::int64_t blocks = (length + block - 1) / block;
#pragma omp parallel for collapse(2) \
    schedule(static) if (batch * length * channels * rank > parallel_work)
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t i = 0; i < blocks; ++i) HWY_DYNAMIC_DISPATCH(expand_sample)
    (rank, length, channels, q, g + b * rank * channels, out + b * length * channels, i * block,
     std::min(length, (i + 1) * block), stream);
}

std::vector<real> transposed(const real* matrix, std::int64_t rows, std::int64_t length) {
    std::vector<real> result(static_cast<std::size_t>(rows * length));
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t l = 0; l < length; ++l)
            result[static_cast<std::size_t>(l * rows + r)] = matrix[r * length + l];
    return result;
}

void project_sample(std::int64_t length, std::int64_t channels, std::int64_t rows, const real* x,
                    const real* a, real* out) {
    std::vector<real*> at;
    for (std::int64_t r = 0; r < rows; ++r) at.push_back(out + r * channels);
    for (std::int64_t begin = 0; begin < channels; begin += panel_width)
        HWY_DYNAMIC_DISPATCH(project_sample)
    (length, channels, x, a, at, begin, std::min(channels, begin + panel_width));
}

void expand_sample(std::int64_t rank, std::int64_t length, std::int64_t channels, const real* q,
                   const real* g, real* out) {
    HWY_DYNAMIC_DISPATCH(expand_sample)(rank, length, channels, q, g, out, 0, length, false);
}

ThinMatrix::ThinMatrix(std::int64_t rows, std::int64_t channels, const real* values)
    : rows_(rows), channels_(channels) {
    const std::int64_t lanes = HWY_DYNAMIC_DISPATCH(vector_lanes)();
    padded_ = (rows + lanes - 1) / lanes * lanes;
    packed_.assign(static_cast<std::size_t>(channels * padded_), 0);
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < channels; ++c)
            packed_[static_cast<std::size_t>(c * padded_ + r)] = values[r * channels + c];
}

void mix_sample(std::int64_t length, const real* g, const ThinMatrix& a, real* out) {
    std::vector<real> mixed(static_cast<std::size_t>(length * a.padded()));
    HWY_DYNAMIC_DISPATCH(mix)
    (length, a.channels(), g, a.packed(), a.padded(), mixed.data());
    for (std::int64_t r = 0; r < a.rows(); ++r)
        for (std::int64_t l = 0; l < length; ++l)
            out[r * length + l] = mixed[static_cast<std::size_t>(l * a.padded() + r)];
}

const char* skinny_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
#endif  // HWY_ONCE
