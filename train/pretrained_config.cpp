#include "train/pretrained_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/file.h"
#include "data/json.h"
#include "data/safetensors_header.h"
#include "data/tokenizer_files.h"
#include "tensor/error.h"
#include "train/labels.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

/// The keys of both kinds of model for the same value.
struct Keys {
    const char *width, *blocks, *heads, *hidden, *dropout, *attention_dropout, *classifier_dropout,
        *activation;
};
constexpr Keys bert_keys{"hidden_size",         "num_hidden_layers",
                         "num_attention_heads", "intermediate_size",
                         "hidden_dropout_prob", "attention_probs_dropout_prob",
                         "classifier_dropout",  "hidden_act"};
constexpr Keys distilbert_keys{"dim",
                               "n_layers",
                               "n_heads",
                               "hidden_dim",
                               "dropout",
                               "attention_dropout",
                               "seq_classif_dropout",
                               "activation"};

const Keys& keys_of(const BertConfig& config) {
    return config.distilled() ? distilbert_keys : bert_keys;
}

/// Throws Error unless the key is absent or has the one value that slimgrad computes.
void expect(const JsonObject& file, const char* key, const json& only) {
    const json* const value = file.find(key);
    if (value && *value != only)
        fail("{}: expected {} as \"{}\", got {}", file.where(), only.dump(), key,
             shown_json(*value));
}

constexpr std::int64_t most_classes = 1 << 14;

/// id2label: names by numbers in quotes.
std::vector<std::string> read_names(const JsonObject& file) {
    const json* const entries = file.find("id2label");
    if (!entries) return {};
    require(entries->is_object() && !entries->empty() && std::ssize(*entries) <= most_classes,
            "{}: expected an object with a name for each class as \"id2label\", got {}",
            file.where(), shown_json(*entries));
    std::vector<std::string> names(entries->size());
    std::vector<bool> seen(names.size());
    for (const auto& [key, value] : entries->items()) {
        const std::int64_t id = label_number(key);
        const bool name = value.is_string() || value.is_number_integer();
        require(id >= 0 && id < std::ssize(names) && !seen[static_cast<std::size_t>(id)] && name,
                "{}: expected a name for each of the classes \"0\" to \"{}\" as \"id2label\", got "
                "{} for {}",
                file.where(), names.size() - 1, shown_json(value), in_quotes(key));
        seen[static_cast<std::size_t>(id)] = true;
        names[static_cast<std::size_t>(id)] =
            value.is_string() ? value.get<std::string>() : value.dump();
    }
    return names;
}

/// label2id: numbers by names. Names that are not the numbers 0, 1, … are none.
std::vector<std::string> read_numbers(const JsonObject& file) {
    const json* const entries = file.find("label2id");
    if (!entries) return {};
    require(entries->is_object() && std::ssize(*entries) <= most_classes,
            "{}: expected an object with a number for each class as \"label2id\", got {}",
            file.where(), shown_json(*entries));
    std::vector<std::string> names(entries->size());
    for (const auto& [name, value] : entries->items()) {
        const auto id = natural(value, std::ssize(names) - 1);
        if (!id || !names[static_cast<std::size_t>(*id)].empty()) return {};
        names[static_cast<std::size_t>(*id)] = name;
    }
    return names;
}

bool only_numbers(const std::vector<std::string>& names) {
    return std::ranges::all_of(names, [](const auto& name) { return label_number(name) >= 0; });
}

/// The names that both keys give together. id2label comes first, unless it only numbers the
/// classes: transformers keeps LABEL_0, … under the key that a user has not set.
std::vector<std::string> read_labels(const JsonObject& file) {
    std::vector<std::string> names = read_names(file), others = read_numbers(file);
    if (names.empty()) return others;
    if (only_numbers(names) && names.size() == others.size() && !only_numbers(others))
        return others;
    const LabelMatch match = match_labels(others, names);
    if (!others.empty() && match.problem.empty() && !only_numbers(others))
        for (std::size_t i = 0; i < names.size(); ++i)
            require(std::cmp_equal(match.order[i], i),
                    "{}: \"id2label\" says that class {} is {}, \"label2id\" that it is {}",
                    file.where(), i, in_quotes(names[i]), in_quotes(others[i]));
    return names;
}

}  // namespace

BertConfigFile parse_bert_config(std::string_view text, const std::string& where) {
    const json content = parse_json(text, where);
    const JsonObject file(content, where);
    BertConfigFile read;
    BertConfig& c = read.config;
    const json* const kind = file.find("model_type");
    require(kind, "{}: expected the key \"model_type\"", where);
    require(*kind == "bert" || *kind == "distilbert",
            "{}: unknown \"model_type\" {}; known: bert, distilbert", where, shown_json(*kind));
    c.kind = kind->get<std::string>();
    const Keys& key = keys_of(c);
    c.activation = file.text(key.activation, "gelu");
    const std::vector<std::string> known = activation_names();
    require(std::ranges::find(known, c.activation) != known.end(),
            "{}: expected \"gelu\" as \"{}\", got {}. Known: {}", where, key.activation,
            in_quotes(c.activation), fmt::join(known, ", "));
    if (c.distilled()) {
        c.type_vocab_size = 0;
    } else {
        expect(file, "position_embedding_type", "absolute");
        expect(file, "is_decoder", false);
        c.type_vocab_size = file.integer("type_vocab_size", 2);
        c.layer_norm_eps = file.number("layer_norm_eps", 1e-12);
    }
    c.vocab_size = file.integer("vocab_size");
    c.hidden_size = file.integer(key.width);
    c.num_hidden_layers = file.integer(key.blocks);
    c.num_attention_heads = file.integer(key.heads);
    c.intermediate_size = file.integer(key.hidden);
    c.max_position_embeddings = file.integer("max_position_embeddings");
    c.pad_token_id = file.integer("pad_token_id", 0);
    c.hidden_dropout = file.number(key.dropout, 0.1);
    c.attention_dropout = file.number(key.attention_dropout, 0.1);
    c.classifier_dropout =
        file.number(key.classifier_dropout, c.distilled() ? 0.2 : c.hidden_dropout);
    read.labels = read_labels(file);
    read.counts_classes = !read.labels.empty() || file.find("num_labels");
    const std::int64_t named = std::ssize(read.labels);
    c.classes = file.integer("num_labels", named > 0 ? named : 2);
    require(named == 0 || c.classes == named,
            "{}: expected as many names of classes as \"num_labels\" = {}, got {}", where,
            c.classes, named);
    check(c, where);
    return read;
}

BertConfigFile read_bert_config(const fs::path& file) {
    return parse_bert_config(read_text(file), fmt::format("[pretrained] '{}'", file.string()));
}

void write_bert_config(const fs::path& directory, const BertConfig& c,
                       const std::vector<std::string>& labels, const Tokenizer& tokenizer) {
    const Keys& key = keys_of(c);
    ordered_json model{
        {"architectures",
         {c.distilled() ? "DistilBertForSequenceClassification" : "BertForSequenceClassification"}},
        {"model_type", c.kind},
        {"vocab_size", c.vocab_size},
        {key.width, c.hidden_size},
        {key.blocks, c.num_hidden_layers},
        {key.heads, c.num_attention_heads},
        {key.hidden, c.intermediate_size},
        {"max_position_embeddings", c.max_position_embeddings},
        {key.activation, c.activation},
        {key.dropout, c.hidden_dropout},
        {key.attention_dropout, c.attention_dropout},
        {key.classifier_dropout, c.classifier_dropout},
        {"pad_token_id", c.pad_token_id},
    };
    if (!c.distilled()) {
        model["type_vocab_size"] = c.type_vocab_size;
        model["layer_norm_eps"] = c.layer_norm_eps;
    }
    for (std::int64_t i = 0; i < c.classes; ++i) {
        const std::string label =
            labels.empty() ? fmt::format("LABEL_{}", i) : labels.at(static_cast<std::size_t>(i));
        model["id2label"][std::to_string(i)] = label;
        model["label2id"][label] = i;
    }
    AtomicFile file(directory / "config.json");
    file.write(model.dump(2) + "\n");
    file.commit();
    save_tokenizer(directory, tokenizer, c.kind, c.max_position_embeddings);
}

}  // namespace slimgrad
