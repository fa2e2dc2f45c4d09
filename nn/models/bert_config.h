#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The sizes of a BERT encoder with a classifier, in the names of Hugging Face's config.json. As it
/// stands it is `bert-base` (Devlin et al. 2019).
struct BertConfig {
    /// "bert", or "distilbert" (Sanh et al. 2019): no token types, its pooler ends in ReLU, not
    /// tanh, and what attention gives is not dropped out.
    std::string kind = "bert";
    std::int64_t vocab_size = 30522;
    std::int64_t hidden_size = 768;
    std::int64_t num_hidden_layers = 12;
    std::int64_t num_attention_heads = 12;
    std::int64_t intermediate_size = 3072;
    std::int64_t max_position_embeddings = 512;
    std::int64_t type_vocab_size = 2;  // distilbert has none and ignores it
    double layer_norm_eps = 1e-12;
    std::string activation = "gelu";  // one of activation_names()
    std::int64_t pad_token_id = 0;    // its embedding is never trained
    double hidden_dropout = 0.1;      // of the embeddings and of what each branch adds
    double attention_dropout = 0.1;   // of the probabilities
    double classifier_dropout = 0.1;  // of what the classifier reads
    std::int64_t classes = 2;
    std::uint64_t seed = 0;  // of the initial weights

    bool distilled() const { return kind == "distilbert"; }
};

/// The published sizes: `bert-base`, `distilbert`, `minilm-l6` (6 blocks, width 384), `bert-small`
/// (4, 512) and `bert-tiny` (2, 128), all with BERT's vocabulary of 30,522. Throws Error for an
/// unknown name and lists the known ones.
BertConfig bert_preset(const std::string& name);
/// The presets, in the order in which help lists them.
std::vector<std::string> text_model_names();

/// What transformers calls the activations that we compute: GELU by the error function ("gelu",
/// "gelu_python") and by its tanh approximation ("gelu_new" and others).
std::vector<std::string> activation_names();

/// Throws Error, one line that begins with `where`, for an unknown kind, sizes that are not
/// positive or too large, heads that do not divide the width, another activation, and dropout that
/// is no probability.
void check(const BertConfig& config, std::string_view where);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
