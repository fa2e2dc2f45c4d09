#include "nn/attention.h"

#include "nn/dropout.h"
#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

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
    proj_.set_attention_output(true);
    if (qkv_) qkv_->set_parts(3);
}

Var MultiHeadAttention::forward(const Var& x, const AttentionMask& mask) {
    require(x.value().ndim() == 3 && x.size(2) == embed_dim_,
            "[{}] expected (batch, tokens, {}), got {}", path(), embed_dim_, shown(x.shape()));
    const std::vector<Var> inputs =
        qkv_ ? std::vector<Var>{qkv_->forward(x)}
             : std::vector<Var>{q_->forward(x), k_->forward(x), v_->forward(x)};
    return proj_.forward(scaled_dot_product_attention(path(), inputs, nullptr,
                                                      {.heads = heads_,
                                                       .key_width = embed_dim_ / heads_,
                                                       .mask = mask,
                                                       .dropout = options_.dropout}));
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
