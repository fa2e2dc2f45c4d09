#include "train/image_task.h"

#include "data/loader.h"
#include "nn/batch_norm.h"
#include "nn/models/model.h"
#include "train/image_weights.h"
#include "train/weights.h"

namespace slimgrad {

ImageSplits load_splits(const TrainConfig& config) {
    ImageSplits splits = load_images(config.data, config.data_dir);
    splits.train.truncate(config.limit_train);
    splits.test.truncate(config.limit_test);
    return splits;
}

std::unique_ptr<Module> image_model(const TrainConfig& config, ModelConfig sizes) {
    sizes.dropout = config.dropout.value_or(0);
    sizes.seed = config.seed;
    sizes.drop_path = config.drop_path;
    auto model = make_model(config.model, sizes);
    if (config.batch_norm == "frozen")
        for_each_module(*model, [](const std::string&, Module& module) {
            if (auto* norm = dynamic_cast<BatchNorm*>(&module)) norm->set_frozen(true);
        });
    select_train_blocks(*model, config.train_blocks);
    return model;
}

namespace {

Split split_of(const Loader& loader) {
    return {.batch = [loader](std::int64_t step) { return loader.batch(step); },
            .steps = loader.steps_per_epoch()};
}

}  // namespace

ImageTask::ImageTask(const TrainConfig& config) : ImageTask(config, load_splits(config)) {}

ImageTask::ImageTask(const TrainConfig& config, ImageSplits splits)
    : Task({"accuracy"}, splits.train, splits.test),
      config_(config),
      train_(std::make_shared<ImageData>(std::move(splits.train))),
      test_(std::make_shared<ImageData>(std::move(splits.test))) {}

Split ImageTask::train() const {
    return split_of(Loader(
        train_, {.batch_size = config_.batch, .augment = config_.augment, .seed = config_.seed}));
}

Split ImageTask::test() const {
    return split_of(
        Loader(test_, {.batch_size = config_.batch, .shuffle = false, .drop_last = false}));
}

std::unique_ptr<Module> ImageTask::model() const {
    return image_model(config_, {.channels = train_->channels,
                                 .height = train_->height,
                                 .width = train_->width,
                                 .classes = std::ssize(train_->classes)});
}

LoadReport ImageTask::load(Module& model) const {
    return load_image_weights(weights_file(config_.from), model, config_.model);
}

}  // namespace slimgrad
