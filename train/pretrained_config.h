#pragma once

#include <filesystem>

#include "data/tokenizer.h"
#include "nn/models/bert_config.h"

namespace slimgrad {

/// Reads a `config.json` of Hugging Face's BertConfig or DistilBertConfig. Sizes must be there; the
/// rest has transformers' defaults. Throws Error, one line that names the file and the key, also
/// for variants that slimgrad does not compute (another activation, relative positions, decoders).
BertConfig read_bert_config(const std::filesystem::path& file);

/// Writes `config.json` and `tokenizer_config.json`.
void write_bert_config(const std::filesystem::path& directory, const BertConfig& config,
                       const Tokenizer& tokenizer);

}  // namespace slimgrad
