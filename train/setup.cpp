#include "train/setup.h"

#include "nn/models/model.h"

namespace slimgrad {

ImageSplits load_data(const TrainConfig& config) {
    ImageSplits splits = load_images(config.data, config.data_dir);
    if (config.limit_train > 0) splits.train.truncate(config.limit_train);
    if (config.limit_test > 0) splits.test.truncate(config.limit_test);
    return splits;
}

std::unique_ptr<Module> build_model(const TrainConfig& config, const ImageData& data) {
    auto model = make_model(config.model, {.channels = data.channels,
                                           .height = data.height,
                                           .width = data.width,
                                           .classes = std::ssize(data.classes),
                                           .dropout = config.dropout,
                                           .seed = config.seed});
    select_train_blocks(*model, config.train_blocks);
    return model;
}

}  // namespace slimgrad
