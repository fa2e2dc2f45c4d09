#include "train/pretrained.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <span>
#include <system_error>

#include "data/safetensors.h"
#include "nn/models/bert_names.h"
#include "train/pretrained_config.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

/// sentence-transformers may keep the model in a folder of its own beside modules.json.
fs::path transformer_in(const fs::path& directory) {
    std::error_code none;
    require(fs::is_directory(directory, none), "[pretrained] expected a directory, got '{}'",
            directory.string());
    const fs::path inner = directory / "0_Transformer";
    const bool outside = fs::exists(directory / "config.json", none);
    return !outside && fs::exists(inner / "config.json", none) ? inner : directory;
}

SafeTensors open_weights(const fs::path& directory) {
    std::error_code none;
    const fs::path file = directory / "model.safetensors";
    require(fs::exists(file, none),
            "[pretrained] expected 'model.safetensors' in '{}'. Hint: transformers writes it by "
            "save_pretrained(); one file, not several parts",
            directory.string());
    return SafeTensors::open(file);
}

/// The name under which the file has a parameter; empty if it has it not.
std::string find(const SafeTensors& file, const std::vector<std::string>& names) {
    const auto found =
        std::ranges::find_if(names, [&](const std::string& name) { return file.contains(name); });
    return found == names.end() ? std::string() : *found;
}

bool in_head(const std::string& name) {
    return name.starts_with("pooler.") || name.starts_with("classifier.");
}

/// Whether a name is one of the base model, which a model of the same sizes would have: not the
/// head of another task, nor the positions 0, 1, … that older checkpoints store.
bool in_base(const BertConfig& config, std::string_view name) {
    const std::string prefix = config.kind + ".";
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
    if (name == "embeddings.position_ids") return false;
    constexpr std::string_view parts[] = {"embeddings.", "encoder.", "transformer.", "pooler.",
                                          "blocks."};
    return std::ranges::any_of(parts, [&](std::string_view p) { return name.starts_with(p); });
}

/// Adds "what: name, name"; of long lists only the beginning.
void append(std::string& text, std::string_view what, std::span<const std::string> names) {
    constexpr std::size_t shown = 8;
    if (names.empty()) return;
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", what,
                        fmt::join(names.first(std::min(shown, names.size())), ", "));
    if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
}

/// The values of a tensor. One that is not finite would spoil everything after it.
Tensor finite(const SafeTensors& file, const std::string& name) {
    Tensor tensor = file.tensor(name);
    for (const real value : tensor.values())
        require(std::isfinite(value), "[pretrained] '{}': {} holds a value that is not finite",
                file.file(), name);
    return tensor;
}

/// A configuration that lies would ask for any amount of memory: its sizes are held against the
/// header of the weights, if they are there, before a model is built.
void check_sizes(const fs::path& directory, const BertConfig& config) {
    std::error_code none;
    if (!fs::exists(directory / "model.safetensors", none)) return;
    const SafeTensors file = open_weights(directory);
    const auto expect = [&](const std::string& name, const Shape& shape) {
        const std::vector<std::string> names = checkpoint_names(config, name);
        const std::string found = find(file, names);
        const std::string got = found.empty() ? "none" : to_string(file.shape(found));
        require(got == to_string(shape),
                "[pretrained] '{}': expected {} of shape {}, as config.json says, got {}",
                file.file(), found.empty() ? names[0] : found, to_string(shape), got);
    };
    const std::string last = fmt::format("blocks.{}.", config.num_hidden_layers - 1);
    expect("embeddings.word.weight", {config.vocab_size, config.hidden_size});
    expect("embeddings.position.weight", {config.max_position_embeddings, config.hidden_size});
    expect(last + "fc1.weight", {config.intermediate_size, config.hidden_size});
}

}  // namespace

std::string to_string(const LoadReport& report) {
    std::string text;
    append(text, "fresh", report.missing);
    append(text, "fresh, since of another shape", report.misshapen);
    append(text, "unused", report.unused);
    return text.empty() ? "every tensor found its place" : text;
}

Pretrained open_pretrained(const fs::path& directory) {
    const fs::path inner = transformer_in(directory);
    BertConfig config = read_bert_config(inner / "config.json");
    Tokenizer tokenizer = Tokenizer::open(inner);
    // Tables are often made larger than the vocabulary, up to a round number.
    constexpr std::int64_t round = 128;
    const std::int64_t tokens = tokenizer.vocabulary().size();
    require(tokens <= config.vocab_size && config.vocab_size - tokens < round,
            "[pretrained] '{}': expected about vocab_size = {} tokens in the vocabulary beside it, "
            "got {}. Hint: are both files of one model?",
            (inner / "config.json").string(), config.vocab_size, tokens);
    check_sizes(inner, config);
    return {std::move(config), std::move(tokenizer)};
}

LoadReport load_pretrained(const fs::path& directory, TextModel& model) {
    const SafeTensors file = open_weights(transformer_in(directory));
    LoadReport report;
    std::vector<std::string> missing, misshapen;
    std::set<std::string> used;
    struct Copy {
        std::string from;
        Tensor to;
    };
    std::vector<Copy> copies;
    for_each_parameter(model, [&](const std::string& name, Parameter& parameter) {
        const std::vector<std::string> names = checkpoint_names(model.config(), name);
        const std::string found = find(file, names);
        if (found.empty()) {
            (in_head(name) ? report.missing : missing).push_back(in_head(name) ? name : names[0]);
            return;
        }
        used.insert(found);
        if (file.shape(found) == parameter.value.shape()) {
            copies.push_back({found, parameter.value});
            return;
        }
        (name.starts_with("classifier.") ? report.misshapen : misshapen)
            .push_back(fmt::format("{} {}, expected {}", found, to_string(file.shape(found)),
                                   to_string(parameter.value.shape())));
    });
    std::vector<std::string> unexpected;
    for (const TensorEntry& entry : file.entries())
        if (!used.contains(entry.name))
            (in_base(model.config(), entry.name) ? unexpected : report.unused)
                .push_back(entry.name);
    std::string faults;
    append(faults, "missing", missing);
    append(faults, "of another shape", misshapen);
    append(faults, "unexpected", unexpected);
    require(faults.empty(), "[pretrained] '{}' does not fit {}: {}", file.file(),
            model.config().kind, faults);

    std::vector<Tensor> values;  // all are read before any is changed
    for (const Copy& copy : copies) values.push_back(finite(file, copy.from));
    for (std::size_t i = 0; i < copies.size(); ++i)
        std::ranges::copy(values[i].values(), copies[i].to.values().begin());
    return report;
}

void save_pretrained(const fs::path& directory, TextModel& model, const Tokenizer& tokenizer) {
    std::error_code error;
    fs::create_directories(directory, error);
    require(!error, "[pretrained] cannot make '{}': {}", directory.string(), error.message());
    write_bert_config(directory, model.config(), tokenizer);

    std::string words;
    for (std::int32_t id = 0; id < tokenizer.vocabulary().size(); ++id)
        words += tokenizer.vocabulary().token(id) + "\n";
    AtomicFile vocabulary(directory / "vocab.txt");
    vocabulary.write(words);
    vocabulary.commit();

    std::vector<NamedTensor> tensors;
    for_each_parameter(model, [&](const std::string& name, Parameter& parameter) {
        tensors.push_back({hugging_face_name(model.config(), name), parameter.value});
    });
    write_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace slimgrad
