#include "nn/scaled_dot_product.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "nn/dropout.h"
#include "nn/mask.h"
#include "tensor/blas.h"
#include "tensor/checked.h"
#include "tensor/kernels/softmax.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Q, K or V of all samples and heads: (B, L, heads · d), or columns of one tensor that holds all.
template <class T>
struct Columns {
    T* data;
    std::int64_t stride;  // from one token to the next
    std::int64_t step;    // from one head to the next

    T* at(std::int64_t token, std::int64_t head) const {
        return data + token * stride + head * step;
    }
};
using Source = Columns<const real>;
using Target = Columns<real>;

/// The random part of one execution: which probabilities are dropped.
struct ProbabilityDropout {
    double p = 0;
    TapeOptions options;
    std::uint32_t draw = 0;

    real factor() const { return p < 1 ? static_cast<real>(1 / (1 - p)) : 0; }
};

// For each sample and head, with Q, K, V: (L, d):
//   S = Q Kᵀ / √d + bias + mask   (L,d)·(d,L)
//   P = softmax(S) by rows    (L,L)      P̃ = P, after dropout m ∘ P / (1 - p)
//   Y = P̃ V                   (L,L)·(L,d)
// and backward, with G = g_Y:
//   g_V = P̃ᵀ G                (L,L)·(L,d)
//   g_P̃ = G Vᵀ                (L,d)·(d,L)
//   g_S = P ∘ (g_P - Σ_row g_P ∘ P)
//   g_Q = g_S K / √d          (L,L)·(L,d)
//   g_K = g_Sᵀ Q / √d         (L,L)·(L,d)
//   g_bias = Σ over samples of g_S
// Kept: Q, K and V, and the mask of dropout. P, which grows with L², is never whole in memory: it
// is made for a few rows at a time, which stay in the cache, and backward makes it again (Dao et
// al. 2022 call it recomputation; here whole rows fit, so their softmax needs no running sums).
// Heads are columns of one row-major matrix, so nothing is transposed. Parallel over samples and
// heads.
class AttentionFunction final : public Function {
  public:
    AttentionFunction(std::string name, ScaledDotProductOptions options, bool fused, bool biased,
                      ProbabilityDropout dropout)
        : name_(std::move(name)),
          options_(std::move(options)),
          fused_(fused),
          biased_(biased),
          dropout_(std::move(dropout)) {}
    std::string name() const override { return name_; }

    // inputs: qkv, or q, k and v, and then, if there is one, the bias (heads, L, L)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        blas();
        const Sizes s = sizes(in);
        const auto x = columns<Source>(in, s);
        const Source q = x[0], k = x[1], v = x[2];
        Tensor y({s.batch, s.tokens, s.heads * s.value_width});
        const Target out{y.data(), s.heads * s.value_width, s.value_width};
        const real* const bias = biased_ ? in.back().data() : nullptr;
        const std::shared_ptr<const BitMask> kept = draw(s);
        Tensor buffers = scratch(s, 1);
#pragma omp parallel for schedule(static) if (s.products(1, s.width) > parallel_threshold)
        for (std::int64_t i = 0; i < s.batch * s.heads; ++i) {
            real* const p = own(buffers);
            for_each_block(i, s, [&](const Rows& rows) {
                probabilities(rows, s, q, k, bias, p);
                if (kept) drop(*kept, rows, s, p, p);
                gemm_uncounted(rows.count, s.value_width, s.tokens, {p, s.tokens},
                               {v.at(rows.token, rows.head), v.stride},
                               out.at(rows.token + rows.first, rows.head), out.stride);
            });
        }
        meter().add(s.products(1, s.width) + s.products(1, s.value_width) + probability_flops(s) +
                    (kept ? s.pairs() : 0));

        for (std::size_t i = 0; i < in.size() - biased_; ++i)
            saved.keep(Keep::activation, slot(i), in[i]);
        if (biased_) saved.keep(Keep::exact, "bias", in.back());
        if (kept) saved.keep("dropout", kept);
        // Masks are the caller's: backward reads them again.
        const AttentionMask& mask = options_.mask;
        if (mask.additive.defined()) saved.watch("mask", mask.additive);
        if (mask.key_padding.defined()) saved.watch("padding", mask.key_padding);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        std::vector<Tensor> in, grads;
        for (std::size_t i = 0; i < saved.inputs(); ++i) {
            const bool is_bias = biased_ && i + 1 == saved.inputs();
            in.push_back(saved.tensor(is_bias ? "bias" : slot(i)));
            grads.push_back(is_bias ? Tensor::zeros(in.back().shape()) : Tensor(in.back().shape()));
        }
        for (const char* mask : {"mask", "padding"})
            if (saved.has(mask)) saved.tensor(mask);  // throws if it was changed
        const Sizes s = sizes(in);
        const auto x = columns<Source>(std::span<const Tensor>(in), s);
        const auto gx = columns<Target>(std::span<Tensor>(grads), s);
        const Source q = x[0], k = x[1], v = x[2];
        const Target gq = gx[0], gk = gx[1], gv = gx[2];
        const Source g{gy.data(), s.heads * s.value_width, s.value_width};
        const real* const bias = biased_ ? in.back().data() : nullptr;
        const BitMask* kept = saved.has("dropout") ? &saved.as<BitMask>("dropout") : nullptr;
        Tensor buffers = scratch(s, 2);
        // With a bias, whose gradient is a sum over the samples, a head belongs to one thread.
        const std::int64_t together = biased_ ? s.batch : 1;
#pragma omp parallel for schedule(static) if (s.products(1, s.width) > parallel_threshold)
        for (std::int64_t group = 0; group < s.batch * s.heads / together; ++group) {
            real* const p = own(buffers);
            real* const gs = p + buffers.size(-1);  // g_P̃, then g_P, then g_S
            for (std::int64_t sample = 0; sample < together; ++sample) {
                const std::int64_t i = biased_ ? sample * s.heads + group : group;
                for_each_block(i, s, [&](const Rows& rows) {
                    const std::int64_t n = rows.count, token = rows.token, head = rows.head;
                    const real sum = rows.first > 0;  // blocks add to g_V and g_K
                    const Matrix upstream{g.at(token + rows.first, head), g.stride};
                    probabilities(rows, s, q, k, bias, p);
                    const real* used = kept ? drop(*kept, rows, s, p, gs) : p;
                    gemm_uncounted(s.tokens, s.value_width, n, {used, s.tokens, Op::transpose},
                                   upstream, gv.at(token, head), gv.stride, 1, sum);
                    gemm_uncounted(n, s.tokens, s.value_width, upstream,
                                   {v.at(token, head), v.stride, Op::transpose}, gs, s.tokens);
                    if (kept) drop(*kept, rows, s, gs, gs);
                    softmax_rows_backward(n, s.tokens, p, gs, gs);
                    if (biased_) {
                        real* const to =
                            grads.back().data() + (head * s.tokens + rows.first) * s.tokens;
                        for (std::int64_t j = 0; j < n * s.tokens; ++j) to[j] += gs[j];
                    }
                    gemm_uncounted(n, s.width, s.tokens, {gs, s.tokens},
                                   {k.at(token, head), k.stride}, gq.at(token + rows.first, head),
                                   gq.stride, s.scale);
                    gemm_uncounted(s.tokens, s.width, n, {gs, s.tokens, Op::transpose},
                                   {q.at(token + rows.first, head), q.stride}, gk.at(token, head),
                                   gk.stride, s.scale, sum);
                });
            }
        }
        meter().add(s.products(3, s.width) + s.products(2, s.value_width) + probability_flops(s) +
                    (kept ? 6 : 4) * s.pairs() + (biased_ ? s.pairs() : 0));
        return {grads.begin(), grads.end()};
    }

  private:
    struct Sizes {
        std::int64_t batch, heads, tokens, width, value_width;
        real scale;  // 1 / √d, applied inside the products
        /// The elements of P, and the FLOPs of `count` products of that size and this inner size.
        std::int64_t pairs() const { return Checked(batch) * heads * tokens * tokens; }
        std::int64_t products(std::int64_t count, std::int64_t inner) const {
            return 2 * count * Checked(pairs()) * inner;
        }
        /// Rows of P that one thread makes at a time: 256 KB in single precision.
        std::int64_t block() const {
            constexpr std::int64_t elements = 1 << 16, least = 32;
            return std::min(tokens, std::max(least, elements / std::max<std::int64_t>(1, tokens)));
        }
    };
    Sizes sizes(std::span<const Tensor> in) const {
        const std::int64_t heads = options_.heads, width = options_.key_width;
        const std::int64_t value_width =
            fused_ ? in[0].size(2) / heads - 2 * width : in[2].size(2) / heads;
        return {in[0].size(0), heads,       in[0].size(1),
                width,         value_width, 1 / std::sqrt(static_cast<real>(width))};
    }

    /// Rows `first` … `first + count - 1` of P for the index-th pair of sample and head, whose part
    /// of Q, K and V begins at row `token`.
    struct Rows {
        std::int64_t index, first, count, token, head;
    };
    template <class F>
    static void for_each_block(std::int64_t index, const Sizes& s, F f) {
        for (std::int64_t first = 0; first < s.tokens; first += s.block())
            f(Rows{index, first, std::min(s.block(), s.tokens - first), index / s.heads * s.tokens,
                   index % s.heads});
    }

    static const char* slot(std::size_t input) {
        constexpr const char* names[] = {"q", "k", "v"};
        return names[input];
    }

    /// Q, K and V of all samples: three tensors, or columns of one, as `options_` says.
    template <class C, class T>
    std::array<C, 3> columns(std::span<T> x, const Sizes& s) const {
        const std::int64_t width = s.width, all = s.heads * width;
        if (!fused_)
            return {C{x[0].data(), all, width}, C{x[1].data(), all, width},
                    C{x[2].data(), s.heads * s.value_width, s.value_width}};
        auto* const data = x[0].data();
        const std::int64_t row = 2 * all + s.heads * s.value_width;
        if (options_.by_head) {
            const std::int64_t head = 2 * width + s.value_width;
            return {C{data, row, head}, C{data + width, row, head}, C{data + 2 * width, row, head}};
        }
        return {C{data, row, width}, C{data + all, row, width},
                C{data + 2 * all, row, s.value_width}};
    }

    /// `count` blocks of rows for each thread; own() gives the first of the calling thread.
    static Tensor scratch(const Sizes& s, std::int64_t count) {
        return Tensor({omp_get_max_threads(), count, s.block() * s.tokens});
    }
    static real* own(Tensor& buffers) {
        return buffers.data() + omp_get_thread_num() * buffers.size(1) * buffers.size(2);
    }

    /// P = softmax(Q Kᵀ / √d + bias + mask)
    void probabilities(const Rows& rows, const Sizes& s, const Source& q, const Source& k,
                       const real* bias, real* p) const {
        gemm_uncounted(
            rows.count, s.tokens, s.width, {q.at(rows.token + rows.first, rows.head), q.stride},
            {k.at(rows.token, rows.head), k.stride, Op::transpose}, p, s.tokens, s.scale);
        if (bias) {
            const real* const from = bias + (rows.head * s.tokens + rows.first) * s.tokens;
            for (std::int64_t j = 0; j < rows.count * s.tokens; ++j) p[j] += from[j];
        }
        for (std::int64_t row = 0; row < rows.count; ++row)
            add_mask(p + row * s.tokens, rows.index / s.heads, rows.first + row, s.tokens);
        softmax_rows(rows.count, s.tokens, p, p);
    }
    /// Beside its product: maximum, shift, exp, sum, scale, and the masks.
    std::int64_t probability_flops(const Sizes& s) const {
        const AttentionMask& mask = options_.mask;
        return (5 + int{biased_} + int{mask.additive.defined()} + int{mask.key_padding.defined()}) *
               s.pairs();
    }

    void add_mask(real* scores, std::int64_t sample, std::int64_t row, std::int64_t tokens) const {
        const Tensor &additive = options_.mask.additive, &key_padding = options_.mask.key_padding;
        if (additive.defined()) {
            const std::int64_t masks = additive.ndim() == 3 ? additive.size(0) : 1;
            const real* mask = additive.data() + (sample % masks * tokens + row) * tokens;
            for (std::int64_t j = 0; j < tokens; ++j) scores[j] += mask[j];
        }
        if (key_padding.defined()) {
            const real* padding = key_padding.data() + sample * tokens;
            for (std::int64_t j = 0; j < tokens; ++j)
                if (padding[j] != 0) scores[j] = -std::numeric_limits<real>::infinity();
        }
    }

    std::shared_ptr<const BitMask> draw(const Sizes& s) const {
        if (dropout_.p == 0) return nullptr;
        return dropout_mask(dropout_.options, dropout_.draw, dropout_.p, s.batch,
                            Checked(s.heads) * s.tokens * s.tokens);
    }

    /// to = m ∘ from / (1 - p) for some rows.
    const real* drop(const BitMask& kept, const Rows& rows, const Sizes& s, const real* from,
                     real* to) const {
        apply_mask(kept, (rows.index * s.tokens + rows.first) * s.tokens, rows.count * s.tokens,
                   from, to, dropout_.factor());
        return to;
    }

    std::string name_;
    ScaledDotProductOptions options_;
    bool fused_, biased_;
    ProbabilityDropout dropout_;
};

}  // namespace

Tensor AttentionMask::from_boolean(const Tensor& excluded) {
    excluded.require_defined("attention");
    Tensor additive(excluded.shape());
    for (std::int64_t i = 0; i < additive.numel(); ++i)
        additive.data()[i] =
            excluded.data()[i] != 0 ? -std::numeric_limits<real>::infinity() : real(0);
    return additive;
}

Var scaled_dot_product_attention(const std::string& name, const std::vector<Var>& qkv,
                                 const Var* bias, const ScaledDotProductOptions& o) {
    const bool fused = qkv.size() == 1;
    require(o.heads > 0 && o.key_width > 0 && (fused || qkv.size() == 3),
            "[{}] expected heads and a width above 0, and q, k and v or one value for all", name);
    const Var& x = qkv.at(0);
    require(x.value().ndim() == 3, "[{}] expected (batch, tokens, columns), got {}", name,
            shown(x.shape()));
    const std::int64_t batch = x.size(0), tokens = x.size(1), keys_width = o.heads * o.key_width;
    if (fused) {
        require(x.size(2) % o.heads == 0 && x.size(2) > 2 * keys_width,
                "[{}] expected columns for {} heads with keys of {}, got {}", name, o.heads,
                o.key_width, shown(x.shape()));
    } else {
        const Shape expected{batch, tokens, keys_width};
        for (const Var* each : {&qkv[0], &qkv[1]})
            require(each->shape() == expected, "[{}] expected q and k of shape {}, got {}", name,
                    shown(expected), shown(each->shape()));
        const Shape& v = qkv[2].shape();
        require(v.size() == 3 && v[0] == batch && v[1] == tokens && v[2] % o.heads == 0,
                "[{}] expected v of shape ({}, {}, a multiple of {}), got {}", name, batch, tokens,
                o.heads, shown(v));
    }
    const Shape full{tokens, tokens}, each{batch, tokens, tokens}, keys{batch, tokens};
    const Tensor &additive = o.mask.additive, &padding = o.mask.key_padding;
    const auto repeats = [&](const Shape& mask) {
        return mask.size() == 3 && mask[0] > 0 && batch % mask[0] == 0 && mask[1] == tokens &&
               mask[2] == tokens;
    };
    require(!additive.defined() || additive.shape() == full || repeats(additive.shape()),
            "[{}] expected a mask of shape {} or {}, got {}", name, shown(full), shown(each),
            shown(additive.shape()));
    require(!padding.defined() || padding.shape() == keys,
            "[{}] expected a key padding mask of shape {}, got {}", name, shown(keys),
            shown(padding.shape()));
    if (bias)
        require(bias->shape() == Shape({o.heads, tokens, tokens}),
                "[{}] expected a bias of shape ({}, {}, {}), got {}", name, o.heads, tokens, tokens,
                shown(bias->shape()));

    Tape& tape = x.tape();
    ProbabilityDropout dropout;
    if (tape.training() && o.dropout > 0) dropout = {o.dropout, tape.options(), tape.next_draw()};
    std::vector<Var> inputs = qkv;
    if (bias) inputs.push_back(*bias);
    return tape.apply(
        std::make_shared<AttentionFunction>(name, o, fused, bias != nullptr, std::move(dropout)),
        inputs);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
