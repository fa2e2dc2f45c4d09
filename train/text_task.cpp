#include "train/text_task.h"

#include <map>
#include <system_error>
#include <tuple>

#include "data/file.h"
#include "data/shipped.h"
#include "train/pretrained_config.h"
#include "train/run_directory.h"
#include "train/weights.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

/// The directory that says of what the model of `from` is made; empty if `from` does not say.
fs::path directory_of(const std::string& from) {
    if (holds_run(from)) return fs::path(from) / model_folder;
    std::error_code none;
    return fs::is_directory(from, none) ? fs::path(from) : fs::path();
}

std::string model_name(const BertConfig& config) {
    const auto sizes = [](const BertConfig& c) {
        return std::tuple(c.kind, c.hidden_size, c.num_hidden_layers, c.num_attention_heads,
                          c.intermediate_size);
    };
    for (const std::string& name : text_model_names())
        if (sizes(bert_preset(name)) == sizes(config)) return name;
    return config.kind;
}

fs::path vocabulary_file(const TrainConfig& c) {
    return c.vocab.empty() ? find_shipped("embedded-text") / "vocab.txt" : fs::path(c.vocab);
}

/// The files that make the tokenizer of a run that begins, under the names by which they are known.
std::map<std::string, fs::path> tokenizer_files(const TrainConfig& c) {
    fs::path directory = directory_of(c.from);
    if (directory.empty()) {
        const fs::path file = vocabulary_file(c);
        return {{file.extension() == ".json" ? "tokenizer.json" : "vocab.txt", file}};
    }
    if (!fs::exists(directory / "config.json")) directory /= "0_Transformer";
    std::map<std::string, fs::path> files;
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "vocab.txt"})
        if (fs::exists(directory / name)) files[name] = directory / name;
    return files;
}

Pretrained open_sizes(const TrainConfig& c, const fs::path& run) {
    if (!run.empty()) return open_pretrained(run / model_folder);
    if (const fs::path directory = directory_of(c.from); !directory.empty()) {
        require(c.vocab.empty(), "[config] from '{}' has its own vocabulary: leave out vocab",
                c.from);
        Pretrained made_of = open_pretrained(directory);
        const std::string name = model_name(made_of.config);
        require(
            c.model.empty() || c.model == name,
            "[config] from '{}' is a {}, not the model '{}' that was asked for: leave out model",
            c.from, name, c.model);
        return made_of;
    }
    Pretrained made_of{bert_preset(c.model), Tokenizer::open(vocabulary_file(c))};
    made_of.config.vocab_size = made_of.tokenizer.vocabulary().size();
    made_of.config.pad_token_id = made_of.tokenizer.pad();
    return made_of;
}

TextSplits load_splits(const TrainConfig& config) {
    TextSplits splits = load_text(config.data, config.data_dir);
    splits.train.truncate(config.limit_train);
    splits.test.truncate(config.limit_test);
    return splits;
}

}  // namespace

std::string default_text_model(const TrainConfig& config) {
    const fs::path directory = directory_of(config.from);
    return directory.empty() ? "bert-tiny" : model_name(open_pretrained(directory).config);
}

TextTask::TextTask(const TrainConfig& config, const fs::path& run)
    : TextTask(config, run, load_splits(config)) {}

TextTask::TextTask(const TrainConfig& config, const fs::path& run, TextSplits splits)
    : Task(splits.train.metrics, splits.train, splits.test),
      config_(config),
      made_of_(open_sizes(config, run)),
      train_(std::make_shared<TextData>(std::move(splits.train))),
      test_(std::make_shared<TextData>(std::move(splits.test))) {
    BertConfig& sizes = made_of_.config;
    require(config.max_length <= sizes.max_position_embeddings,
            "[config] max_length {} is more than the {} positions of model '{}'", config.max_length,
            sizes.max_position_embeddings, config.model);
    sizes.classes = std::ssize(train_->classes);
    sizes.seed = config.seed;
    if (config.dropout)
        sizes.hidden_dropout = sizes.attention_dropout = sizes.classifier_dropout = *config.dropout;
}

Split TextTask::split_of(const std::shared_ptr<const TextData>& data,
                         const TextLoaderOptions& options) const {
    const TextLoader loader(data, made_of_.tokenizer, options);
    Split split{.batch = [loader](std::int64_t step) { return loader.batch(step); },
                .steps = loader.steps_per_epoch()};
    if (loader.truncated() > 0)
        split.note = fmt::format("{} of {} texts have more than {} tokens and are cut",
                                 loader.truncated(), data->size(), options.max_length);
    return split;
}

Split TextTask::train() const {
    return split_of(train_, {.batch_size = config_.batch,
                             .max_length = config_.max_length,
                             .pad_to = PadTo::max_length,
                             .seed = config_.seed});
}

Split TextTask::test() const {
    return split_of(test_, {.batch_size = config_.batch,
                            .shuffle = false,
                            .drop_last = false,
                            .max_length = config_.max_length,
                            .pad_to = PadTo::longest_of_batch});
}

std::unique_ptr<Module> TextTask::model() const {
    std::unique_ptr<Module> model = make_text_model(made_of_.config);
    select_train_blocks(*model, config_.train_blocks);
    return model;
}

std::string TextTask::load(Module& model) const {
    std::error_code none;
    if (fs::is_directory(config_.from, none) && !holds_run(config_.from))
        return to_string(load_pretrained(config_.from, dynamic_cast<TextModel&>(model)));
    load_weights(weights_file(config_.from), model);
    return "";
}

void TextTask::save(const fs::path& run) const {
    const fs::path folder = run / model_folder;
    std::error_code error;
    fs::create_directories(folder, error);
    require(!error, "[run] cannot create the directory '{}': {}", folder.string(), error.message());
    write_bert_config(folder, made_of_.config, made_of_.tokenizer);
    for (const auto& [name, source] : tokenizer_files(config_)) {
        const MappedFile content(source);
        AtomicFile copy(folder / name);
        copy.write(content.bytes());
        copy.commit();
    }
}

}  // namespace slimgrad
