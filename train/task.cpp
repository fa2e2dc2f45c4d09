#include "train/task.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/digest.h"
#include "data/metrics.h"
#include "nn/models/text_model.h"
#include "train/image_task.h"
#include "train/picture_task.h"
#include "train/run_directory.h"
#include "train/text_task.h"

namespace slimgrad {

std::string digest_of(const ImageData& data) {
    Digest digest;
    for (const std::int64_t size : {data.size(), data.channels, data.height, data.width})
        digest.add(&size, sizeof size);
    for (const std::string& name : data.classes) digest.add(name);
    digest.add(std::span(data.labels));
    digest.add(std::span(data.pixels));
    return fmt::format("{:016x}", digest.value());
}

std::string digest_of(const TextData& data) {
    Digest digest;
    for (const auto* texts : {&data.classes, &data.first, &data.second})
        for (const std::string& text : *texts) digest.add(text);
    digest.add(std::span(data.labels));
    return fmt::format("{:016x}", digest.value());
}

std::string digest_of(const PictureSource& pictures) {
    Digest digest;
    for (const std::string& name : pictures.classes()) digest.add(name);
    digest.add(std::span(pictures.labels()));
    for (std::int64_t i = 0; i < pictures.size(); ++i) digest.add(pictures.describe(i));
    return fmt::format("{:016x}", digest.value());
}

Task::Task(std::vector<std::string> metrics, const std::vector<std::int32_t>& train_labels,
           const std::vector<std::int32_t>& test_labels, DataDigests digests)
    : metrics_(std::move(metrics)), digests_(std::move(digests)) {
    // The majority is that of the training set: the test set is not for choosing.
    const std::int32_t majority = majority_class(train_labels);
    for (const std::string& metric : metrics_)
        baseline_[metric] = slimgrad::baseline(metric, majority, test_labels);
}

bool is_text(const std::string& data) {
    std::vector<std::string> names = image_data_names();
    names.emplace_back(picture_folder_name);
    const std::vector<std::string> texts = text_data_names();
    if (std::ranges::find(texts, data) != texts.end()) return true;
    const bool images = std::ranges::find(names, data) != names.end();
    names.insert(names.end(), texts.begin(), texts.end());
    require(images, "[config] unknown data '{}'. Known: {}", data, fmt::join(names, ", "));
    return false;
}

void require_same_kind(const TrainConfig& config) {
    if (!holds_run(config.from)) {
        // That its config.json is damaged shall be told as such, not as weights that do not fit.
        const std::filesystem::path directory = config.from;
        std::error_code none;
        if (std::filesystem::exists(directory / "metrics.jsonl", none))
            read_json(directory / "config.json");
        return;
    }
    const std::string data = read_config(config.from).data;
    const bool texts = is_text(data);
    require(texts == is_text(config.data),
            "[config] from '{}' is a run on {} ({}), and data '{}' are {}", config.from,
            texts ? "texts" : "images", data, config.data, texts ? "images" : "texts");
}

TrainConfig resolved(TrainConfig config) {
    require_same_kind(config);
    if (is_text(config.data)) {
        if (config.model.empty()) config.model = default_text_model(config);
    } else {
        if (config.model.empty()) config.model = "vit-micro";
        if (!config.dropout) config.dropout = 0;
    }
    return config;
}

std::unique_ptr<Task> open_task(const TrainConfig& config, const std::filesystem::path& run) {
    if (run.empty() && !config.from.empty()) {
        std::error_code error;
        const bool exists = std::filesystem::exists(config.from, error);
        require(exists, "[config] from '{}': {}", config.from,
                error ? error.message() : "there is no such file or directory");
    }
    if (is_text(config.data)) return std::make_unique<TextTask>(config, run);
    if (reads_pictures(config)) return std::make_unique<PictureTask>(config);
    return std::make_unique<ImageTask>(config);
}

std::unique_ptr<Module> model_to_train(const Task& task, const TrainConfig& config) {
    std::unique_ptr<Module> model = task.model();
    adapt(*model, config.method_options(), config.seed);
    return model;
}

Var logits(Module& model, Tape& tape, const Batch& batch) {
    if (auto* text_model = dynamic_cast<TextModel*>(&model))
        return text_model->forward(tape, batch.tokens);
    return model.forward(tape.constant(batch.x));
}

std::vector<LinearShape> linear_shapes(Module& model, const Batch& batch) {
    return trace_linear_maps(model, [&] {
        Tape tape({.update_statistics = false});
        logits(model, tape, batch.part(0, std::min<std::int64_t>(batch.size(), 2)));
    });
}

}  // namespace slimgrad
