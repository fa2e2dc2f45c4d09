#pragma once

#include <string>
#include <vector>

#include "nn/models/bert_config.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// What Hugging Face's BertForSequenceClassification or DistilBertForSequenceClassification calls a
/// parameter of ours: "blocks.0.attention.q.weight" is
/// "bert.encoder.layer.0.attention.self.query.weight". No two parameters share a name. Throws Error
/// for a name that no parameter has.
std::string hugging_face_name(const BertConfig& config, const std::string& name);

/// All names under which a checkpoint may hold a parameter, the likeliest first: that name, the
/// same without "bert." or "distilbert.", either with the old "gamma" and "beta" of LayerNorm, and
/// our own.
std::vector<std::string> checkpoint_names(const BertConfig& config, const std::string& name);

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
