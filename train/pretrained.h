#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "nn/models/text_model.h"

namespace slimgrad {

/// What a checkpoint directory says before its weights are read.
struct Pretrained {
    BertConfig config;
    Tokenizer tokenizer;
};

/// Reads `config.json` and the tokenizer (`tokenizer.json` or `vocab.txt`) of a directory in
/// Hugging Face's layout, or of sentence-transformers', whose `0_Transformer` may hold the same
/// files. The number of classes is that of the file's `id2label` if it has one, else 2; change it
/// before the model is built. Throws Error, one line that names the file and the key, if something
/// is missing or does not fit, also if vocabulary or weights have other sizes than config.json
/// says.
Pretrained open_pretrained(const std::filesystem::path& directory);

/// What became of the tensors of a checkpoint.
struct LoadReport {
    /// Parameters of the model that the file lacks: at most pooler and classifier, which keep their
    /// fresh values. In slimgrad's names.
    std::vector<std::string> missing;
    /// Tensors of the file that the model has no use for, in the file's names: heads of other
    /// tasks, and buffers.
    std::vector<std::string> unused;
    /// A classifier for another number of classes stays fresh too: "classifier.weight (3, 384),
    /// expected (2, 384)".
    std::vector<std::string> misshapen;
};

/// In one line: "fresh: classifier.weight, classifier.bias; unused: ..."; of long lists the first
/// names and how many more there are.
std::string to_string(const LoadReport& report);

/// Reads `model.safetensors` of such a directory into a model, in Hugging Face's names for BERT and
/// DistilBERT, with or without their prefix and with the old names of LayerNorm, or in slimgrad's
/// own. Throws Error, one line that names the file and lists them, if parameters of the encoder are
/// missing, any is of another shape, or the file has some that an encoder of these sizes has not;
/// the model is then unchanged.
LoadReport load_pretrained(const std::filesystem::path& directory, TextModel& model);

/// Writes config.json, vocab.txt and model.safetensors that Hugging Face's transformers and
/// open_pretrained read. Throws Error if the directory cannot be written.
void save_pretrained(const std::filesystem::path& directory, TextModel& model,
                     const Tokenizer& tokenizer);

}  // namespace slimgrad
