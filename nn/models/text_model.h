#pragma once

#include "data/batch.h"
#include "nn/models/bert_config.h"
#include "nn/models/model.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A model that reads texts as tokens.
class TextModel : public BlockModel {
  public:
    using Module::forward;
    /// Logits (B, classes) of B texts. Throws Error, one line, for texts longer than the model has
    /// positions, ids outside its vocabulary, types it does not know, sizes that do not fit.
    virtual Var forward(Tape& tape, const Tokens& tokens) = 0;
    /// What the embeddings and then each block give: num_hidden_layers + 1 values (B, L,
    /// hidden_size).
    virtual std::vector<Var> hidden_states(Tape& tape, const Tokens& tokens) = 0;
    virtual const BertConfig& config() const = 0;
};

/// Builds a model with BERT's initial weights: N(0, 0.02²), biases 0, LayerNorm 1 and 0, the
/// embedding of padding 0. Each parameter has a random stream of its own. Throws Error, one line,
/// for sizes that are not positive or do not fit each other.
std::unique_ptr<TextModel> make_text_model(const BertConfig& config);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
