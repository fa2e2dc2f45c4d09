#include "nn/attention.h"

#include <omp.h>

#include <cmath>
#include <limits>

#include "nn/dropout.h"
#include "nn/mask.h"
#include "tensor/blas.h"
#include "tensor/kernels/transcendental.h"
#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
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
// Kept: Q, K, V and P, and the mask of dropout. Heads are columns of one row-major matrix, so
// nothing is transposed. Parallel over samples and heads.
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
        const bool fused = in.size() == 1;
        const Sizes s = sizes(in[0], fused);
        const Tensor& last = in.back();
        const Source q{in[0].data(), in[0].size(-1)};
        const Source k =
            fused ? Source{q.data + s.embed, q.stride} : Source{in[1].data(), in[1].size(-1)};
        const Source v = {last.data() + (fused ? 2 * s.embed : 0), last.size(-1)};

        Tensor y({s.batch, s.tokens, s.embed});
        Tensor p({s.batch, heads_, s.tokens, s.tokens});
        const std::shared_ptr<const BitMask> kept = draw(s);
        Tensor dropped = scratch(kept ? s.tokens * s.tokens : 0);
#pragma omp parallel for schedule(static) if (s.products(1) > parallel_threshold)
        for (std::int64_t i = 0; i < s.batch * heads_; ++i) {
            const std::int64_t sample = i / heads_, token = sample * s.tokens;
            const std::int64_t column = i % heads_ * s.width;
            real* scores = p.data() + i * s.tokens * s.tokens;
            gemm_uncounted(s.tokens, s.tokens, s.width, {q.at(token, column), q.stride},
                           {k.at(token, column), k.stride, Op::transpose}, scores, s.tokens,
                           s.scale);
            for (std::int64_t row = 0; row < s.tokens; ++row) {
                real* values = scores + row * s.tokens;
                add_mask(values, sample, row, s.tokens);
                softmax_row(s.tokens, values, values);
            }
            const real* probabilities = scores;
            if (kept) probabilities = drop(*kept, i, s, scores, own(dropped, s));
            gemm_uncounted(s.tokens, s.width, s.tokens, {probabilities, s.tokens},
                           {v.at(token, column), v.stride}, y.data() + token * s.embed + column,
                           s.embed);
        }
        meter().add(s.products(2) + (5 + masks()) * p.numel() + (kept ? p.numel() : 0));

        for (std::size_t i = 0; i < in.size(); ++i) saved.keep(Keep::activation, slot(i), in[i]);
        saved.keep(Keep::activation, "p", p);
        if (kept) saved.keep("dropout", kept);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const bool fused = saved.inputs() == 1;
        std::vector<Tensor> in, grads;
        for (std::size_t i = 0; i < saved.inputs(); ++i) {
            in.push_back(saved.tensor(slot(i)));
            grads.emplace_back(in.back().shape());
        }
        const Sizes s = sizes(in[0], fused);
        const auto offset = [&](std::int64_t which) { return fused ? which * s.embed : 0; };
        const auto index = [&](std::int64_t which) {
            return fused ? 0u : static_cast<std::size_t>(which);
        };
        const auto source = [&](std::int64_t which) {
            const Tensor& t = in[index(which)];
            return Source{t.data() + offset(which), t.size(-1)};
        };
        const auto target = [&](std::int64_t which) {
            Tensor& t = grads[index(which)];
            return Target{t.data() + offset(which), t.size(-1)};
        };
        const Source q = source(0), k = source(1), v = source(2);
        const Target gq = target(0), gk = target(1), gv = target(2);
        const Tensor p = saved.tensor("p");
        const BitMask* kept = saved.has("dropout") ? &saved.as<BitMask>("dropout") : nullptr;

        const std::int64_t square = s.tokens * s.tokens;
        Tensor score_gradients = scratch(square), dropped = scratch(kept ? square : 0);
#pragma omp parallel for schedule(static) if (s.products(1) > parallel_threshold)
        for (std::int64_t i = 0; i < s.batch * heads_; ++i) {
            const std::int64_t token = i / heads_ * s.tokens, column = i % heads_ * s.width;
            const Matrix g{gy.data() + token * s.embed + column, s.embed};
            const real* probabilities = p.data() + i * square;
            const real* used = probabilities;
            if (kept) used = drop(*kept, i, s, probabilities, own(dropped, s));
            gemm_uncounted(s.tokens, s.width, s.tokens, {used, s.tokens, Op::transpose}, g,
                           gv.at(token, column), gv.stride);
            real* gs = own(score_gradients, s);
            gemm_uncounted(s.tokens, s.tokens, s.width, g,
                           {v.at(token, column), v.stride, Op::transpose}, gs, s.tokens);
            if (kept) drop(*kept, i, s, gs, gs);
            for (std::int64_t row = 0; row < s.tokens; ++row)
                softmax_gradient(s.tokens, probabilities + row * s.tokens, gs + row * s.tokens);
            gemm_uncounted(s.tokens, s.width, s.tokens, {gs, s.tokens},
                           {k.at(token, column), k.stride}, gq.at(token, column), gq.stride,
                           s.scale);
            gemm_uncounted(s.tokens, s.width, s.tokens, {gs, s.tokens, Op::transpose},
                           {q.at(token, column), q.stride}, gk.at(token, column), gk.stride,
                           s.scale);
        }
        meter().add(s.products(4) + (kept ? 6 : 4) * p.numel());
        return {grads.begin(), grads.end()};
    }

  private:
    struct Sizes {
        std::int64_t batch, tokens, embed, width;
        real scale;  // 1 / √d, applied inside the products
        std::int64_t products(std::int64_t count) const {
            return count * 2 * batch * tokens * tokens * embed;
        }
    };
    Sizes sizes(const Tensor& x, bool fused) const {
        const std::int64_t embed = x.size(-1) / (fused ? 3 : 1), width = embed / heads_;
        return {x.size(0), x.size(1), embed, width, 1 / std::sqrt(static_cast<real>(width))};
    }

    static const char* slot(std::size_t input) {
        constexpr const char* names[] = {"q", "k", "v"};
        return names[input];
    }

    /// One buffer for each thread; own() gives that of the calling thread.
    static Tensor scratch(std::int64_t size) { return Tensor({omp_get_max_threads(), size}); }
    static real* own(Tensor& buffers, const Sizes& s) {
        return buffers.data() + omp_get_thread_num() * s.tokens * s.tokens;
    }

    std::int64_t masks() const {
        return int{mask_.additive.defined()} + int{mask_.key_padding.defined()};
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
                            heads_ * s.tokens * s.tokens);
    }

    /// to = m ∘ from / (1 - p) for the i-th pair of sample and head.
    const real* drop(const BitMask& kept, std::int64_t i, const Sizes& s, const real* from,
                     real* to) const {
        const std::int64_t square = s.tokens * s.tokens;
        apply_mask(kept, i * square, square, from, to, dropout_.factor());
        return to;
    }

    static void softmax_gradient(std::int64_t n, const real* p, real* g) {
        real dot = 0;
#pragma omp simd reduction(+ : dot)
        for (std::int64_t j = 0; j < n; ++j) dot += p[j] * g[j];
        for (std::int64_t j = 0; j < n; ++j) g[j] = p[j] * (g[j] - dot);
    }

    std::string name_;
    std::int64_t heads_;
    AttentionMask mask_;
    ProbabilityDropout dropout_;
};

}  // namespace

Tensor AttentionMask::from_boolean(const Tensor& excluded) {
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
      dropout_(Dropout(options.dropout).p()),
      qkv_(options.fused_qkv
               ? std::make_unique<Linear>(embed_dim, 3 * embed_dim, stream, options.bias)
               : nullptr),
      q_(qkv_ ? nullptr : std::make_unique<Linear>(embed_dim, embed_dim, stream, options.bias)),
      k_(qkv_ ? nullptr : std::make_unique<Linear>(embed_dim, embed_dim, stream, options.bias)),
      v_(qkv_ ? nullptr : std::make_unique<Linear>(embed_dim, embed_dim, stream, options.bias)),
      proj_(embed_dim, embed_dim, stream, options.bias) {
    require(heads > 0 && embed_dim % heads == 0,
            "[attention] the number of heads must divide the width {}, got {}", embed_dim, heads);
}

Var MultiHeadAttention::forward(const Var& x, const AttentionMask& mask) {
    Tape& tape = x.tape();
    require(x.value().ndim() == 3 && x.size(2) == embed_dim_,
            "[{}] expected (batch, tokens, {}), got {}", path(), embed_dim_, to_string(x.shape()));
    const std::int64_t batch = x.size(0), tokens = x.size(1);
    const Shape full{tokens, tokens}, each{batch, tokens, tokens}, keys{batch, tokens};
    const Tensor &additive = mask.additive, &padding = mask.key_padding;
    require(!additive.defined() || additive.shape() == full || additive.shape() == each,
            "[{}] expected a mask of shape {} or {}, got {}", path(), to_string(full),
            to_string(each), to_string(additive.shape()));
    require(!padding.defined() || padding.shape() == keys,
            "[{}] expected a key padding mask of shape {}, got {}", path(), to_string(keys),
            to_string(padding.shape()));

    ProbabilityDropout dropout;
    if (tape.training() && dropout_ > 0) dropout = {dropout_, tape.options(), tape.next_draw()};
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
        // The path is known only once the model is whole; whoever asks for groups comes by here.
        for (Linear* layer : {q_.get(), k_.get(), v_.get()})
            layer->set_input_group(path() + ".qkv");
        visitor.module("q", *q_);
        visitor.module("k", *k_);
        visitor.module("v", *v_);
    }
    visitor.module("proj", proj_);
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
