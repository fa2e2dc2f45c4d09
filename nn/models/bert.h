#pragma once

#include "nn/attention.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/models/text_model.h"
#include "nn/relu.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A block of a post-LayerNorm transformer encoder, as in Vaswani et al. 2017:
///   y = norm1(x + attention(x));  norm2(y + fc2(gelu(fc1(y))))
/// with dropout on the probabilities and on each branch (in DistilBERT not on attention's).
class PostNormBlock final : public Module {
  public:
    explicit PostNormBlock(const BertConfig& config);
    using Module::forward;
    /// x: (B, L, hidden_size) -> the same.
    Var forward(const Var& x, const AttentionMask& mask);
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "post_norm_block"; }

  private:
    PostNormBlock(const BertConfig& config, Stream stream);

    MultiHeadAttention attention_;
    Dropout attention_dropout_;
    LayerNorm norm1_;
    Linear fc1_;
    GELU gelu_;
    Linear fc2_;
    Dropout dropout_;
    LayerNorm norm2_;
};

/// BERT (Devlin et al. 2019) with a classifier, and DistilBERT (Sanh et al. 2019):
///   h = dropout(norm(word + position + token type)), blocks, then of the first token alone
///   BERT:       classifier(dropout(tanh(pooler(h_0))))
///   DistilBERT: classifier(dropout(relu(pooler(h_0)))), whose pooler is called pre_classifier
///   there
/// Padding is hidden from attention as a key; as a query it is computed and never read. Pooler and
/// classifier see one vector a text, not tokens, and no method compresses them.
class Bert final : public TextModel {
  public:
    /// Throws Error for a configuration that check() refuses.
    explicit Bert(const BertConfig& config);

    using Module::forward;
    Var forward(Tape& tape, const Tokens& tokens) override;
    std::vector<Var> hidden_states(Tape& tape, const Tokens& tokens) override;
    void visit(Visitor& visitor) override;
    std::string kind() const override { return config_.kind; }
    std::vector<Module*> blocks() override;
    const BertConfig& config() const override { return config_; }

  private:
    Bert(const BertConfig& config, Stream stream);
    void initialise();
    void require_fits(const Tokens& tokens) const;
    Var embed(Tape& tape, const Tokens& tokens);
    Var classify(const Var& h);

    BertConfig config_;
    Embedding word_, position_;
    std::unique_ptr<Embedding> token_type_;  // null in DistilBERT
    LayerNorm norm_;
    Dropout dropout_;
    std::vector<std::unique_ptr<PostNormBlock>> blocks_;
    Linear pooler_;
    ReLU relu_;
    Dropout classifier_dropout_;
    Linear classifier_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
