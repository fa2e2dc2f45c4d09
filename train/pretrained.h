#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "nn/models/text_model.h"
#include "train/labels.h"
#include "train/load_report.h"

namespace slimgrad {

/// What a checkpoint directory says before its weights are read.
struct Pretrained {
    BertConfig config;
    Tokenizer tokenizer;
    std::vector<std::string> labels;  // names of its classes, by their numbers; or none
};

/// Reads `config.json` and the tokenizer (see TokenizerFiles) of a directory in Hugging Face's
/// layout, or of sentence-transformers', whose `0_Transformer` may hold the same files. The number
/// of classes is what config.json says, else what the weights have, else 2; change it before the
/// model is built. Throws Error, one line that names the file and the key, if something is missing
/// or does not fit, also if vocabulary or weights have other sizes than config.json says.
Pretrained open_pretrained(const std::filesystem::path& directory);
/// The same where the weights are in another file, whose names begin with `prefix`, or in none yet
/// (an empty path).
Pretrained open_pretrained(const std::filesystem::path& directory,
                           const std::filesystem::path& weights, const std::string& prefix = "");

/// Reads `model.safetensors` of such a directory into a model, in Hugging Face's names for BERT and
/// DistilBERT, with or without their prefix and with the old names of LayerNorm, or in slimgrad's
/// own. Throws Error, one line that names the file and lists them, if parameters of the encoder are
/// missing, any is of another shape or not finite, or the file has some that an encoder of these
/// sizes has not; the model is then unchanged.
///
/// The classifier's rows are taken in the order of `labels`; if those say that its classes are
/// others, it stays fresh.
LoadReport load_pretrained(const std::filesystem::path& directory, TextModel& model,
                           const LabelMatch& labels = {});
/// The same of a file.
LoadReport load_pretrained_file(const std::filesystem::path& weights, TextModel& model,
                                const LabelMatch& labels = {});

/// Writes config.json, the tokenizer and model.safetensors that Hugging Face's transformers and
/// open_pretrained read. `labels` are the names of the classes, if they have any. Throws Error if
/// the directory cannot be written.
void save_pretrained(const std::filesystem::path& directory, TextModel& model,
                     const Tokenizer& tokenizer, const std::vector<std::string>& labels = {});

}  // namespace slimgrad
