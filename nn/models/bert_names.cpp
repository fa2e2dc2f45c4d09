#include "nn/models/bert_names.h"

#include <algorithm>
#include <string_view>

#include "tensor/error.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// A layer in our names and in theirs; # is the number of the block.
struct LayerName {
    std::string_view own, bert, distilbert;
};
constexpr LayerName layers[] = {
    {"embeddings.word", "embeddings.word_embeddings", "embeddings.word_embeddings"},
    {"embeddings.position", "embeddings.position_embeddings", "embeddings.position_embeddings"},
    {"embeddings.token_type", "embeddings.token_type_embeddings", ""},
    {"embeddings.norm", "embeddings.LayerNorm", "embeddings.LayerNorm"},
    {"blocks.#.attention.q", "encoder.layer.#.attention.self.query",
     "transformer.layer.#.attention.q_lin"},
    {"blocks.#.attention.k", "encoder.layer.#.attention.self.key",
     "transformer.layer.#.attention.k_lin"},
    {"blocks.#.attention.v", "encoder.layer.#.attention.self.value",
     "transformer.layer.#.attention.v_lin"},
    {"blocks.#.attention.proj", "encoder.layer.#.attention.output.dense",
     "transformer.layer.#.attention.out_lin"},
    {"blocks.#.norm1", "encoder.layer.#.attention.output.LayerNorm",
     "transformer.layer.#.sa_layer_norm"},
    {"blocks.#.fc1", "encoder.layer.#.intermediate.dense", "transformer.layer.#.ffn.lin1"},
    {"blocks.#.fc2", "encoder.layer.#.output.dense", "transformer.layer.#.ffn.lin2"},
    {"blocks.#.norm2", "encoder.layer.#.output.LayerNorm", "transformer.layer.#.output_layer_norm"},
    {"pooler", "pooler.dense", "pre_classifier"},
    {"classifier", "classifier", "classifier"},
};

/// "blocks.3.fc1.weight" in parts: the layer "blocks.#.fc1", the block "3", the value "weight".
struct Parts {
    std::string layer, block, value;
};
Parts split(const std::string& name) {
    const std::size_t last = name.rfind('.');
    if (last == std::string::npos) return {name, "", ""};
    Parts parts{name.substr(0, last), "", name.substr(last + 1)};
    const std::string prefix = "blocks.";
    if (name.starts_with(prefix)) {
        const std::size_t end = std::min(name.find('.', prefix.size()), last);
        parts.block = name.substr(prefix.size(), end - prefix.size());
        parts.layer = prefix + "#" + name.substr(end, last - end);
    }
    return parts;
}

std::string numbered(std::string_view pattern, const std::string& block) {
    const std::size_t at = pattern.find('#');
    if (at == std::string_view::npos) return std::string(pattern);
    return std::string(pattern.substr(0, at)) + block + std::string(pattern.substr(at + 1));
}

/// The part of the name that is left without the prefix of the base model.
std::string short_name(const BertConfig& config, const std::string& name) {
    const Parts parts = split(name);
    for (const LayerName& layer : layers) {
        const std::string_view theirs = config.distilled() ? layer.distilbert : layer.bert;
        if (layer.own == parts.layer && !theirs.empty())
            return numbered(theirs, parts.block) + "." + parts.value;
    }
    fail("[{}] no parameter is called '{}'", config.kind, name);
}

/// The classifier does not belong to the base model, nor does DistilBERT's pooler.
std::string prefix_of(const BertConfig& config, const std::string& name) {
    const bool head =
        name.starts_with("classifier.") || (config.distilled() && name.starts_with("pooler."));
    return head ? "" : config.kind + ".";
}

}  // namespace

std::string hugging_face_name(const BertConfig& config, const std::string& name) {
    return prefix_of(config, name) + short_name(config, name);
}

std::vector<std::string> checkpoint_names(const BertConfig& config, const std::string& name) {
    const std::string bare = short_name(config, name);
    std::vector<std::string> names{prefix_of(config, name) + bare};
    if (names[0] != bare) names.push_back(bare);
    const Parts parts = split(name);
    if (parts.layer.find("norm") != std::string::npos) {
        const std::string old = parts.value == "weight" ? "gamma" : "beta";
        for (std::size_t i = 0, known = names.size(); i < known; ++i) {
            const std::string& now = names[i];
            names.push_back(now.substr(0, now.rfind('.') + 1) + old);
        }
    }
    if (name != bare) names.push_back(name);
    return names;
}

void for_each_shape(const BertConfig& c,
                    const std::function<void(const std::string&, const Shape&)>& f) {
    const std::int64_t width = c.hidden_size;
    const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
        f(name + ".weight", {out, in});
        f(name + ".bias", {out});
    };
    const auto norm = [&](const std::string& name) {
        f(name + ".weight", {width});
        f(name + ".bias", {width});
    };
    f("embeddings.word.weight", {c.vocab_size, width});
    f("embeddings.position.weight", {c.max_position_embeddings, width});
    if (!c.distilled()) f("embeddings.token_type.weight", {c.type_vocab_size, width});
    norm("embeddings.norm");
    for (std::int64_t i = c.num_hidden_layers; i-- > 0;) {
        const std::string block = fmt::format("blocks.{}.", i);
        for (const char* const part : {"q", "k", "v", "proj"})
            linear(block + "attention." + part, width, width);
        norm(block + "norm1");
        linear(block + "fc1", width, c.intermediate_size);
        linear(block + "fc2", c.intermediate_size, width);
        norm(block + "norm2");
    }
    linear("pooler", width, width);
    linear("classifier", width, c.classes);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
