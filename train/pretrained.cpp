#include "train/pretrained.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "data/safetensors.h"
#include "nn/low_rank_adapter.h"
#include "nn/models/bert_names.h"
#include "train/pretrained_config.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

constexpr const char* weights_name = "model.safetensors";

void require_weights(const fs::path& file) {
    std::error_code none;
    require(fs::exists(file, none),
            "[pretrained] expected '{}' in '{}'. Hint: transformers writes it by "
            "save_pretrained(); one file, not several parts",
            file.filename().string(), file.parent_path().string());
}

/// sentence-transformers may keep the model in a folder of its own beside modules.json.
fs::path transformer_in(const fs::path& directory) {
    std::error_code none;
    require(fs::is_directory(directory, none), "[pretrained] expected a directory, got '{}'",
            directory.string());
    const fs::path inner = directory / "0_Transformer";
    const bool outside = fs::exists(directory / "config.json", none);
    return !outside && fs::exists(inner / "config.json", none) ? inner : directory;
}

/// The name under which the file has a parameter; empty if it has it not.
std::string find(const SafeTensors& file, const std::vector<std::string>& names,
                 const std::string& prefix = "") {
    for (const std::string& name : names)
        if (file.contains(prefix + name)) return prefix + name;
    return "";
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

/// A configuration that lies would ask for any amount of memory: its sizes are held against the
/// header of the weights before a model is built. Only a head may be missing.
void check_sizes(const SafeTensors& file, const std::string& prefix, const BertConfig& config) {
    for_each_shape(config, [&](const std::string& name, const Shape& shape) {
        const std::vector<std::string> names = checkpoint_names(config, name);
        const std::string found = find(file, names, prefix);
        if (found.empty() && in_head(name)) return;
        const std::string got = found.empty() ? "none" : to_string(file.shape(found));
        require(got == to_string(shape),
                "[pretrained] '{}': expected {} of shape {}, as config.json says, got {}",
                file.file(), found.empty() ? prefix + names[0] : found, to_string(shape), got);
    });
}

/// The rows of a classifier in the order of a data set's classes.
void copy_rows(const Tensor& from, Tensor to, const std::vector<std::int64_t>& order) {
    const std::int64_t size = from.numel() / from.size(0);
    for (std::size_t i = 0; i < order.size(); ++i)
        std::copy_n(from.data() + order[i] * size, size,
                    to.data() + static_cast<std::int64_t>(i) * size);
}

}  // namespace

Pretrained open_pretrained(const fs::path& directory) {
    const fs::path inner = transformer_in(directory);
    return open_pretrained(inner, inner / weights_name);
}

Pretrained open_pretrained(const fs::path& directory, const fs::path& weights,
                           const std::string& prefix) {
    BertConfigFile read = read_bert_config(directory / "config.json");
    BertConfig& config = read.config;
    Tokenizer tokenizer = Tokenizer::open(directory);
    // Tables are often made larger than the vocabulary, up to a round number.
    constexpr std::int64_t round = 128;
    const std::int64_t tokens = tokenizer.size();
    require(tokens <= config.vocab_size && config.vocab_size - tokens < round,
            "[pretrained] '{}': expected about vocab_size = {} tokens in the vocabulary beside it, "
            "got {}. Hint: are both files of one model?",
            (directory / "config.json").string(), config.vocab_size, tokens);
    if (weights.empty()) {
        check(config, fmt::format("[pretrained] '{}'", (directory / "config.json").string()));
        return {std::move(config), std::move(tokenizer), std::move(read.labels)};
    }
    require_weights(weights);
    const SafeTensors file = SafeTensors::open(weights);
    const std::string bias = find(file, checkpoint_names(config, "classifier.bias"), prefix);
    if (!read.counts_classes && !bias.empty() && file.shape(bias).size() == 1)
        config.classes = file.shape(bias)[0];
    check(config, fmt::format("[pretrained] '{}'", file.file()));
    check_sizes(file, prefix, config);
    return {std::move(config), std::move(tokenizer), std::move(read.labels)};
}

LoadReport load_pretrained(const fs::path& directory, TextModel& model, const LabelMatch& labels) {
    return load_pretrained_file(transformer_in(directory) / weights_name, model, labels);
}

LoadReport load_pretrained_file(const fs::path& weights, TextModel& model,
                                const LabelMatch& labels) {
    require_weights(weights);
    const SafeTensors file = SafeTensors::open(weights);
    LoadReport report;
    std::vector<std::string> missing, misshapen;
    std::set<std::string> known, used;
    struct Copy {
        std::string from;
        Tensor to;
        bool classes;  // whether its rows are the classes
    };
    std::vector<Copy> copies;
    for_each_base_parameter(model, [&](const std::string& name, Parameter& parameter) {
        const std::vector<std::string> names = checkpoint_names(model.config(), name);
        const std::string found = find(file, names);
        if (found.empty()) {
            (in_head(name) ? report.missing : missing).push_back(in_head(name) ? name : names[0]);
            if (in_head(name)) report.fresh.push_back(name);
            return;
        }
        known.insert(found);
        const bool classes = name.starts_with("classifier.");
        const bool fits = file.shape(found) == parameter.value.shape();
        if (fits && (!classes || labels.problem.empty())) {
            used.insert(found);
            copies.push_back({found, parameter.value, classes});
            return;
        }
        if (classes) report.fresh.push_back(name);
        if (fits)
            report.other_classes = labels.problem;
        else
            (classes ? report.misshapen : misshapen)
                .push_back(fmt::format("{} {}, expected {}", found, to_string(file.shape(found)),
                                       to_string(parameter.value.shape())));
    });
    std::vector<std::string> unexpected;
    for (const TensorEntry& entry : file.entries())
        if (!used.contains(entry.name))
            (!known.contains(entry.name) && in_base(model.config(), entry.name) ? unexpected
                                                                                : report.unused)
                .push_back(entry.name);
    std::string faults;
    append_names(faults, "missing", missing);
    append_names(faults, "of another shape", misshapen);
    append_names(faults, "unexpected", unexpected);
    require(faults.empty(), "[pretrained] '{}' does not fit {}: {}", file.file(),
            model.config().kind, faults);

    // All are looked at before any is changed.
    for (const Copy& copy : copies) file.require_finite(copy.from);
    for (const Copy& copy : copies) {
        const Tensor values = file.tensor(copy.from);
        if (copy.classes && !labels.order.empty())
            copy_rows(values, copy.to, labels.order);
        else
            std::ranges::copy(values.values(), Tensor(copy.to).values().begin());
    }
    return report;
}

void save_pretrained(const fs::path& directory, TextModel& model, const Tokenizer& tokenizer,
                     const std::vector<std::string>& labels) {
    std::error_code error;
    fs::create_directories(directory, error);
    require(!error, "[pretrained] cannot make '{}': {}", directory.string(), error.message());
    write_bert_config(directory, model.config(), labels, tokenizer);
    std::vector<NamedTensor> tensors;
    for_each_merged_value(model, [&](const std::string& name, const Tensor& value) {
        tensors.push_back({hugging_face_name(model.config(), name), value});
    });
    write_safetensors(directory / weights_name, tensors, {{"format", "pt"}});
}

}  // namespace slimgrad
