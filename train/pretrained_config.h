#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"
#include "nn/models/bert_config.h"

namespace slimgrad {

/// What a `config.json` of Hugging Face's BertConfig or DistilBertConfig says.
struct BertConfigFile {
    BertConfig config;
    /// The names of the classes, by their numbers; empty if it gives none.
    std::vector<std::string> labels;
    bool counts_classes = false;  // whether it says how many there are; else `config` has 2
};

/// Reads such a file. Sizes must be there; the rest has transformers' defaults. Classes have the
/// names of id2label, or of label2id where id2label only numbers them. Throws Error, one line that
/// names the file and the key, also for variants that slimgrad does not compute (another
/// activation, relative positions, decoders) and for names that contradict each other.
BertConfigFile read_bert_config(const std::filesystem::path& file);
/// The same of its text; Errors begin with `where`.
BertConfigFile parse_bert_config(std::string_view text, const std::string& where);

/// Writes `config.json` with these names of the classes (none: LABEL_0, …), and the tokenizer.
void write_bert_config(const std::filesystem::path& directory, const BertConfig& config,
                       const std::vector<std::string>& labels, const Tokenizer& tokenizer);

}  // namespace slimgrad
