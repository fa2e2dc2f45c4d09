#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/models/bert_config.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What Hugging Face's BertForSequenceClassification or DistilBertForSequenceClassification calls a
/// parameter of ours: "blocks.0.attention.q.weight" is
/// "bert.encoder.layer.0.attention.self.query.weight". No two parameters share a name. Throws Error
/// for a name that no parameter has.
std::string hugging_face_name(const BertConfig& config, const std::string& name);

/// All names under which a checkpoint may hold a parameter, the likeliest first: that name, the
/// same without "bert." or "distilbert.", either with the old "gamma" and "beta" of LayerNorm, and
/// our own.
std::vector<std::string> checkpoint_names(const BertConfig& config, const std::string& name);

/// Calls f(name, shape) for the parameters of a model with these sizes, in the order in which it
/// has them and in our names, without making it: to hold the sizes against a file before any memory
/// is taken. f may throw to end it.
void for_each_shape(const BertConfig& config,
                    const std::function<void(const std::string&, const Shape&)>& f);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
