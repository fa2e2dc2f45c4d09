#include "nn/attention.h"

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

/// Q, K or V of all samples and heads: (B, L, heads · d) or a third of the columns of the fused
/// (B, L, 3 · heads · d).
template <class T>
struct Columns {
    T* data;
    std::int64_t stride;  // from one token to the next

    T* at(std::int64_t token, std::int64_t column) const { return data + token * stride + column; }
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
//   S = Q Kᵀ / √d + mask      (L,d)·(d,L)
//   P = softmax(S) by rows    (L,L)      P̃ = P, after dropout m ∘ P / (1 - p)
//   Y = P̃ V                   (L,L)·(L,d)
// and backward, with G = g_Y:
//   g_V = P̃ᵀ G                (L,L)·(L,d)
//   g_P̃ = G Vᵀ                (L,d)·(d,L)
//   g_S = P ∘ (g_P - Σ_row g_P ∘ P)
//   g_Q = g_S K / √d          (L,L)·(L,d)
//   g_K = g_Sᵀ Q / √d         (L,L)·(L,d)
// Kept: Q, K and V, and the mask of dropout. P, which grows with L², is never whole in memory: it
// is made for a few rows at a time, which stay in the cache, and backward makes it again (Dao et
// al. 2022 call it recomputation; here whole rows fit, so their softmax needs no running sums).
// Heads are columns of one row-major matrix, so nothing is transposed. Parallel over samples and
// heads.
class AttentionFunction final : public Function {
  public:
    AttentionFunction(std::string name, std::int64_t heads, AttentionMask mask,
                      ProbabilityDropout dropout)
        : name_(std::move(name)),
          heads_(heads),
          mask_(std::move(mask)),
          dropout_(std::move(dropout)) {}
    std::string name() const override { return name_; }

    // inputs: qkv (B, L, 3 E), or q, k and v (B, L, E)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        blas();
        const Sizes s = sizes(in[0], in.size() == 1);
        const auto x = thirds<Source>(in, s.embed);
        const Source q = x[0], k = x[1], v = x[2];
        Tensor y({s.batch, s.tokens, s.embed});
        const std::shared_ptr<const BitMask> kept = draw(s);
        Tensor buffers = scratch(s, 1);
#pragma omp parallel for schedule(static) if (s.products(1) > parallel_threshold)
        for (std::int64_t i = 0; i < s.batch * heads_; ++i) {
            real* const p = own(buffers);
            for_each_block(i, s, [&](const Rows& rows) {
                probabilities(rows, s, q, k, p);
                if (kept) drop(*kept, rows, s, p, p);
                gemm_uncounted(rows.count, s.width, s.tokens, {p, s.tokens},
                               {v.at(rows.token, rows.column), v.stride},
                               y.data() + (rows.token + rows.first) * s.embed + rows.column,
                               s.embed);
            });
        }
        meter().add(s.products(2) + probability_flops(s) + (kept ? s.pairs() : 0));

        for (std::size_t i = 0; i < in.size(); ++i) saved.keep(Keep::activation, slot(i), in[i]);
        if (kept) saved.keep("dropout", kept);
        // Masks are the caller's: backward reads them again.
        if (mask_.additive.defined()) saved.watch("mask", mask_.additive);
        if (mask_.key_padding.defined()) saved.watch("padding", mask_.key_padding);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        std::vector<Tensor> in, grads;
        for (std::size_t i = 0; i < saved.inputs(); ++i) {
            in.push_back(saved.tensor(slot(i)));
            grads.emplace_back(in.back().shape());
        }
        for (const char* mask : {"mask", "padding"})
            if (saved.has(mask)) saved.tensor(mask);  // throws if it was changed
        const Sizes s = sizes(in[0], in.size() == 1);
        const auto x = thirds<Source>(std::span<const Tensor>(in), s.embed);
        const auto gx = thirds<Target>(std::span<Tensor>(grads), s.embed);
        const Source q = x[0], k = x[1], v = x[2];
        const Target gq = gx[0], gk = gx[1], gv = gx[2];
        const BitMask* kept = saved.has("dropout") ? &saved.as<BitMask>("dropout") : nullptr;
        Tensor buffers = scratch(s, 2);
#pragma omp parallel for schedule(static) if (s.products(1) > parallel_threshold)
        for (std::int64_t i = 0; i < s.batch * heads_; ++i) {
            real* const p = own(buffers);
            real* const gs = p + buffers.size(-1);  // g_P̃, then g_P, then g_S
            for_each_block(i, s, [&](const Rows& rows) {
                const std::int64_t n = rows.count, token = rows.token, column = rows.column;
                const real sum = rows.first > 0;  // blocks add to g_V and g_K
                const Matrix g{gy.data() + (token + rows.first) * s.embed + column, s.embed};
                probabilities(rows, s, q, k, p);
                const real* used = kept ? drop(*kept, rows, s, p, gs) : p;
                gemm_uncounted(s.tokens, s.width, n, {used, s.tokens, Op::transpose}, g,
                               gv.at(token, column), gv.stride, 1, sum);
                gemm_uncounted(n, s.tokens, s.width, g,
                               {v.at(token, column), v.stride, Op::transpose}, gs, s.tokens);
                if (kept) drop(*kept, rows, s, gs, gs);
                softmax_rows_backward(n, s.tokens, p, gs, gs);
                gemm_uncounted(n, s.width, s.tokens, {gs, s.tokens},
                               {k.at(token, column), k.stride}, gq.at(token + rows.first, column),
                               gq.stride, s.scale);
                gemm_uncounted(s.tokens, s.width, n, {gs, s.tokens, Op::transpose},
                               {q.at(token + rows.first, column), q.stride}, gk.at(token, column),
                               gk.stride, s.scale, sum);
            });
        }
        meter().add(s.products(5) + probability_flops(s) + (kept ? 6 : 4) * s.pairs());
        return {grads.begin(), grads.end()};
    }

  private:
    struct Sizes {
        std::int64_t batch, heads, tokens, embed, width;
        real scale;  // 1 / √d, applied inside the products
        /// The elements of P, and the FLOPs of `count` products of that size and inner size d.
        std::int64_t pairs() const { return Checked(batch) * heads * tokens * tokens; }
        std::int64_t products(std::int64_t count) const {
            return 2 * count * Checked(pairs()) * width;
        }
        /// Rows of P that one thread makes at a time: 256 KB in single precision.
        std::int64_t block() const {
            constexpr std::int64_t elements = 1 << 16, least = 32;
            return std::min(tokens, std::max(least, elements / std::max<std::int64_t>(1, tokens)));
        }
    };
    Sizes sizes(const Tensor& x, bool fused) const {
        const std::int64_t embed = x.size(-1) / (fused ? 3 : 1), width = embed / heads_;
        return {x.size(0), heads_, x.size(1),
                embed,     width,  1 / std::sqrt(static_cast<real>(width))};
    }

    /// Rows `first` … `first + count - 1` of P for the index-th pair of sample and head, whose part
    /// of Q, K and V begins at row `token` and `column`.
    struct Rows {
        std::int64_t index, first, count, token, column;
    };
    template <class F>
    static void for_each_block(std::int64_t index, const Sizes& s, F f) {
        for (std::int64_t first = 0; first < s.tokens; first += s.block())
            f(Rows{index, first, std::min(s.block(), s.tokens - first), index / s.heads * s.tokens,
                   index % s.heads * s.width});
    }

    static const char* slot(std::size_t input) {
        constexpr const char* names[] = {"q", "k", "v"};
        return names[input];
    }

    /// Q, K and V of all samples: three tensors, or the thirds of one.
    template <class C, class T>
    static std::array<C, 3> thirds(std::span<T> x, std::int64_t embed) {
        if (x.size() == 3)
            return {C{x[0].data(), embed}, C{x[1].data(), embed}, C{x[2].data(), embed}};
        auto* const data = x[0].data();
        return {C{data, 3 * embed}, C{data + embed, 3 * embed}, C{data + 2 * embed, 3 * embed}};
    }

    /// `count` blocks of rows for each thread; own() gives the first of the calling thread.
    static Tensor scratch(const Sizes& s, std::int64_t count) {
        return Tensor({omp_get_max_threads(), count, s.block() * s.tokens});
    }
    static real* own(Tensor& buffers) {
        return buffers.data() + omp_get_thread_num() * buffers.size(1) * buffers.size(2);
    }

    /// P = softmax(Q Kᵀ / √d + mask)
    void probabilities(const Rows& rows, const Sizes& s, const Source& q, const Source& k,
                       real* p) const {
        gemm_uncounted(
            rows.count, s.tokens, s.width, {q.at(rows.token + rows.first, rows.column), q.stride},
            {k.at(rows.token, rows.column), k.stride, Op::transpose}, p, s.tokens, s.scale);
        for (std::int64_t row = 0; row < rows.count; ++row)
            add_mask(p + row * s.tokens, rows.index / heads_, rows.first + row, s.tokens);
        softmax_rows(rows.count, s.tokens, p, p);
    }
    /// Beside its product: maximum, shift, exp, sum, scale, and the masks.
    std::int64_t probability_flops(const Sizes& s) const {
        return (5 + int{mask_.additive.defined()} + int{mask_.key_padding.defined()}) * s.pairs();
    }

    void add_mask(real* scores, std::int64_t sample, std::int64_t row, std::int64_t tokens) const {
        if (mask_.additive.defined()) {
            const std::int64_t first = mask_.additive.ndim() == 3 ? sample * tokens : 0;
            const real* mask = mask_.additive.data() + (first + row) * tokens;
            for (std::int64_t j = 0; j < tokens; ++j) scores[j] += mask[j];
        }
        if (mask_.key_padding.defined()) {
            const real* padding = mask_.key_padding.data() + sample * tokens;
            for (std::int64_t j = 0; j < tokens; ++j)
                if (padding[j] != 0) scores[j] = -std::numeric_limits<real>::infinity();
        }
    }

    std::shared_ptr<const BitMask> draw(const Sizes& s) const {
        if (dropout_.p == 0) return nullptr;
        return dropout_mask(dropout_.options, dropout_.draw, dropout_.p, s.batch,
                            Checked(heads_) * s.tokens * s.tokens);
    }

    /// to = m ∘ from / (1 - p) for some rows.
    const real* drop(const BitMask& kept, const Rows& rows, const Sizes& s, const real* from,
                     real* to) const {
        apply_mask(kept, (rows.index * s.tokens + rows.first) * s.tokens, rows.count * s.tokens,
                   from, to, dropout_.factor());
        return to;
    }

    std::string name_;
    std::int64_t heads_;
    AttentionMask mask_;
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

MultiHeadAttention::MultiHeadAttention(std::int64_t embed_dim, std::int64_t heads, Stream& stream,
                                       const AttentionOptions& options)
    : embed_dim_(embed_dim),
      heads_(heads),
      options_(options),
      qkv_(options.fused_qkv
               ? std::make_unique<Linear>(embed_dim, 3 * Checked(embed_dim), stream, options.bias)
               : nullptr),
      q_(qkv_ ? nullptr : std::make_unique<Linear>(embed_dim, embed_dim, stream, options.bias)),
      k_(qkv_ ? nullptr : std::make_unique<Linear>(embed_dim, embed_dim, stream, options.bias)),
      v_(qkv_ ? nullptr : std::make_unique<Linear>(embed_dim, embed_dim, stream, options.bias)),
      proj_(embed_dim, embed_dim, stream, options.bias) {
    [[maybe_unused]] const Dropout dropout(options.dropout);  // throws unless a probability
    require(heads > 0 && embed_dim % heads == 0,
            "[attention] the number of heads must divide the width {}, got {}", embed_dim, heads);
    for (Linear* layer : {q_.get(), k_.get(), v_.get()})
        if (layer) layer->share_input_in(*this);
}

Var MultiHeadAttention::forward(const Var& x, const AttentionMask& mask) {
    Tape& tape = x.tape();
    require(x.value().ndim() == 3 && x.size(2) == embed_dim_,
            "[{}] expected (batch, tokens, {}), got {}", path(), embed_dim_, shown(x.shape()));
    const std::int64_t batch = x.size(0), tokens = x.size(1);
    const Shape full{tokens, tokens}, each{batch, tokens, tokens}, keys{batch, tokens};
    const Tensor &additive = mask.additive, &padding = mask.key_padding;
    require(!additive.defined() || additive.shape() == full || additive.shape() == each,
            "[{}] expected a mask of shape {} or {}, got {}", path(), shown(full), shown(each),
            shown(additive.shape()));
    require(!padding.defined() || padding.shape() == keys,
            "[{}] expected a key padding mask of shape {}, got {}", path(), shown(keys),
            shown(padding.shape()));

    ProbabilityDropout dropout;
    if (tape.training() && options_.dropout > 0)
        dropout = {options_.dropout, tape.options(), tape.next_draw()};
    const std::vector<Var> inputs =
        qkv_ ? std::vector<Var>{qkv_->forward(x)}
             : std::vector<Var>{q_->forward(x), k_->forward(x), v_->forward(x)};
    return proj_.forward(tape.apply(
        std::make_shared<AttentionFunction>(path(), heads_, mask, std::move(dropout)), inputs));
}

void MultiHeadAttention::visit(Visitor& visitor) {
    if (qkv_) {
        visitor.module("qkv", *qkv_);
    } else {
        visitor.module("q", *q_);
        visitor.module("k", *k_);
        visitor.module("v", *v_);
    }
    visitor.module("proj", proj_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
