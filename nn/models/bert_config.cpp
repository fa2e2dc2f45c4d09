#include "nn/models/bert_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "tensor/error.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

BertConfig bert(std::int64_t blocks, std::int64_t width, std::int64_t heads) {
    BertConfig config;
    config.num_hidden_layers = blocks;
    config.hidden_size = width;
    config.num_attention_heads = heads;
    config.intermediate_size = 4 * width;
    return config;
}

BertConfig distilled(BertConfig config) {
    config.kind = "distilbert";
    config.type_vocab_size = 0;
    config.classifier_dropout = 0.2;
    return config;
}

const std::vector<std::pair<std::string, BertConfig>>& presets() {
    static const std::vector<std::pair<std::string, BertConfig>> all{
        {"bert-base", bert(12, 768, 12)},             // Devlin et al. 2019
        {"distilbert", distilled(bert(6, 768, 12))},  // Sanh et al. 2019
        {"minilm-l6", bert(6, 384, 12)},              // Wang et al. 2020
        {"bert-small", bert(4, 512, 8)},              // Turc et al. 2019, as is
        {"bert-tiny", bert(2, 128, 2)},
    };
    return all;
}

}  // namespace

BertConfig bert_preset(const std::string& name) {
    for (const auto& [known, config] : presets())
        if (known == name) return config;
    fail("[bert] unknown model '{}'; known: {}", name, fmt::join(text_model_names(), ", "));
}

std::vector<std::string> text_model_names() {
    std::vector<std::string> names;
    for (const auto& preset : presets()) names.push_back(preset.first);
    return names;
}

std::vector<std::string> activation_names() {
    return {"gelu",          "gelu_python",       "gelu_new",        "gelu_fast",
            "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"};
}

void check(const BertConfig& c, std::string_view where) {
    require(c.kind == "bert" || c.kind == "distilbert",
            "{}: unknown kind of model '{}'; known: bert, distilbert", where, c.kind);
    const auto size = [&](const char* name, std::int64_t value, std::int64_t most = 1 << 24) {
        require(value >= 1 && value <= most, "{}: expected {} from 1 to {}, got {}", where, name,
                most, value);
    };
    size("vocab_size", c.vocab_size);
    size("hidden_size", c.hidden_size);
    size("num_hidden_layers", c.num_hidden_layers);
    size("num_attention_heads", c.num_attention_heads);
    size("intermediate_size", c.intermediate_size);
    size("max_position_embeddings", c.max_position_embeddings);
    if (!c.distilled()) size("type_vocab_size", c.type_vocab_size);
    size("the number of classes", c.classes, 1 << 14);
    const std::vector<std::string> known = activation_names();
    require(std::ranges::find(known, c.activation) != known.end(),
            "{}: unknown activation '{}'; known: {}", where, c.activation, fmt::join(known, ", "));
    require(c.hidden_size % c.num_attention_heads == 0,
            "{}: the number of heads must divide the width {}, got {}", where, c.hidden_size,
            c.num_attention_heads);
    require(c.pad_token_id >= 0 && c.pad_token_id < c.vocab_size,
            "{}: expected pad_token_id from 0 to {}, got {}", where, c.vocab_size - 1,
            c.pad_token_id);
    require(c.layer_norm_eps > 0 && c.layer_norm_eps < 1,
            "{}: expected layer_norm_eps between 0 and 1, got {}", where, c.layer_norm_eps);
    const auto probability = [&](const char* name, double value) {
        require(value >= 0 && value < 1, "{}: expected {} dropout from 0 to below 1, got {}", where,
                name, value);
    };
    probability("hidden", c.hidden_dropout);
    probability("attention", c.attention_dropout);
    probability("classifier", c.classifier_dropout);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
