#include "train/text_task.h"

#include <optional>
#include <system_error>
#include <tuple>

#include "data/shipped.h"
#include "train/pretrained_config.h"
#include "train/run_directory.h"
#include "train/weights.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

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

/// What a run that goes on says its model is made of, held against the weights that it has saved.
Pretrained open_run(const fs::path& run) {
    std::error_code none;
    const bool stopped = fs::exists(run / checkpoint_file, none);
    return open_pretrained(run / model_folder, stopped ? run / checkpoint_file : fs::path(),
                           stopped ? "model." : "");
}

/// What the model of `from` is made of; nothing if `from` does not say.
std::optional<Pretrained> open_from(const fs::path& from) {
    std::error_code none;
    if (!fs::is_directory(from, none)) return std::nullopt;
    if (!holds_run(from)) return open_pretrained(from);
    return open_pretrained(from / model_folder, weights_file(from));
}

Pretrained open_sizes(const TrainConfig& c, const fs::path& run) {
    if (!run.empty()) return open_run(run);
    if (std::optional<Pretrained> made_of = open_from(c.from)) {
        require(c.vocab.empty(), "[config] from '{}' has its own vocabulary: leave out vocab",
                c.from);
        const std::string name = model_name(made_of->config);
        require(
            c.model.empty() || c.model == name,
            "[config] from '{}' is a {}, not the model '{}' that was asked for: leave out model",
            c.from, name, c.model);
        return std::move(*made_of);
    }
    Pretrained made_of{bert_preset(c.model), Tokenizer::open(vocabulary_file(c)), {}};
    made_of.config.vocab_size = made_of.tokenizer.size();
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
    const std::optional<Pretrained> made_of = open_from(config.from);
    return made_of ? model_name(made_of->config) : "bert-tiny";
}

TextTask::TextTask(const TrainConfig& config, const fs::path& run)
    : TextTask(config, run, load_splits(config)) {}

TextTask::TextTask(const TrainConfig& config, const fs::path& run, TextSplits splits)
    : Task(splits.train.metrics, splits.train, splits.test),
      config_(config),
      made_of_(open_sizes(config, run)),
      labels_(match_labels(made_of_.labels, splits.train.classes)),
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
    return split_of(train_,
                    {.batch_size = config_.batch,
                     .max_length = config_.max_length,
                     .pad_to = config_.pad == "batch" ? PadTo::longest_of_batch : PadTo::max_length,
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

LoadReport TextTask::load(Module& model) const {
    auto& text_model = dynamic_cast<TextModel&>(model);
    std::error_code none;
    if (holds_run(config_.from))
        return load_pretrained_file(weights_file(config_.from), text_model, labels_);
    if (fs::is_directory(config_.from, none))
        return load_pretrained(config_.from, text_model, labels_);
    load_weights(config_.from, model);
    return {};
}

void TextTask::save(const fs::path& run) const {
    const fs::path folder = run / model_folder;
    std::error_code error;
    fs::create_directories(folder, error);
    require(!error, "[run] cannot create the directory '{}': {}", folder.string(), error.message());
    write_bert_config(folder, made_of_.config, train_->classes, made_of_.tokenizer);
}

}  // namespace slimgrad
