#include "train/pretrained_config.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "data/file.h"
#include "tensor/error.h"

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

class ConfigFile {
  public:
    explicit ConfigFile(const fs::path& file)
        : where(fmt::format("[pretrained] '{}'", file.string())) {
        const std::vector<std::uint8_t> bytes = read_file(file);
        try {
            content_ = json::parse(bytes);
        } catch (const json::parse_error& error) {
            fail("{}: expected JSON, it cannot be read at byte {}", where, error.byte);
        } catch (const json::exception&) {
            fail("{}: expected JSON with numbers in range", where);
        }
        require(content_.is_object(), "{}: expected an object, got {}", where,
                content_.type_name());
    }

    /// Null for a key that is absent.
    const json* find(const char* key) const {
        const auto found = content_.find(key);
        return found == content_.end() || found->is_null() ? nullptr : &*found;
    }
    std::int64_t integer(const char* key, std::optional<std::int64_t> otherwise = {}) const {
        const json* const value = find(key);
        require(value || otherwise, "{}: expected the key \"{}\"", where, key);
        if (!value) return *otherwise;
        require(value->is_number_integer(), "{}: expected a whole number as \"{}\", got {}", where,
                key, shown(*value));
        return value->get<std::int64_t>();
    }
    double number(const char* key, double otherwise) const {
        const json* const value = find(key);
        if (!value) return otherwise;
        require(value->is_number(), "{}: expected a number as \"{}\", got {}", where, key,
                shown(*value));
        return value->get<double>();
    }
    /// Throws Error unless the key is absent or has the one value that slimgrad computes.
    void expect(const char* key, const json& only) const {
        const json* const value = find(key);
        if (value && *value != only)
            fail("{}: expected {} as \"{}\", got {}", where, only.dump(), key, shown(*value));
    }
    std::string kind() const {
        const json* const value = find("model_type");
        require(value, "{}: expected the key \"model_type\"", where);
        require(*value == "bert" || *value == "distilbert",
                "{}: unknown \"model_type\" {}; known: bert, distilbert", where, shown(*value));
        return value->get<std::string>();
    }

    const std::string where;

  private:
    /// A value on one line, not too long.
    static std::string shown(const json& value) {
        constexpr std::size_t longest = 60;
        const std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
        return text.size() <= longest ? text : text.substr(0, longest) + "...";
    }

    json content_;
};

std::int64_t classes_of(const ConfigFile& file) {
    const json* const labels = file.find("id2label");
    if (!labels) return file.integer("num_labels", 2);
    require(labels->is_object() && !labels->empty(),
            "{}: expected an object with a name for each class as \"id2label\"", file.where);
    return std::ssize(*labels);
}

}  // namespace

BertConfig read_bert_config(const fs::path& path) {
    const ConfigFile file(path);
    BertConfig c;
    c.kind = file.kind();
    const Keys& key = keys_of(c);
    file.expect(key.activation, "gelu");
    if (c.distilled()) {
        c.type_vocab_size = 0;
    } else {
        file.expect("position_embedding_type", "absolute");
        file.expect("is_decoder", false);
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
    c.classes = classes_of(file);
    check(c, file.where);
    return c;
}

void write_bert_config(const fs::path& directory, const BertConfig& c, const Tokenizer& tokenizer) {
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
        {key.activation, "gelu"},
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
        const std::string label = fmt::format("LABEL_{}", i);
        model["id2label"][std::to_string(i)] = label;
        model["label2id"][label] = i;
    }
    const NormalizerOptions& normal = tokenizer.normalizer();
    const ordered_json words{
        {"tokenizer_class", c.distilled() ? "DistilBertTokenizer" : "BertTokenizer"},
        {"do_lower_case", normal.lowercase},
        {"strip_accents", normal.strip_accents ? json(*normal.strip_accents) : json()},
        {"tokenize_chinese_chars", normal.handle_chinese_chars},
        {"model_max_length", c.max_position_embeddings},
    };
    const auto write = [&](const char* name, const ordered_json& content) {
        AtomicFile file(directory / name);
        file.write(content.dump(2) + "\n");
        file.commit();
    };
    write("config.json", model);
    write("tokenizer_config.json", words);
}

}  // namespace slimgrad
