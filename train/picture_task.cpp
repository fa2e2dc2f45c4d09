#include "train/picture_task.h"

#include "nn/models/model.h"
#include "train/image_task.h"
#include "train/image_weights.h"
#include "train/weights.h"

namespace slimgrad {
namespace {

PictureSplits load_pictures(const TrainConfig& config) {
    if (config.data == picture_folder_name)
        return read_picture_folder(config.data_dir, config.limit_train, config.limit_test);
    ImageSplits images = load_splits(config);
    const auto pictures = [](ImageData& data) {
        return pictures_of(std::make_shared<const ImageData>(std::move(data)));
    };
    return {pictures(images.train), pictures(images.test)};
}

PixelScale scale_of(const TrainConfig& config) {
    const bool half = config.pixel_scale == "auto" ? config.model == "efficientnet-lite0"
                                                   : config.pixel_scale == "half";
    return half ? PixelScale::half() : PixelScale::imagenet();
}

Split split_of(const PictureLoader& loader, std::int64_t workers) {
    return {.batch = [loader](std::int64_t step) { return loader.batch(step); },
            .steps = loader.steps_per_epoch(),
            .workers = workers};
}

}  // namespace

bool reads_pictures(const TrainConfig& config) {
    return config.data == picture_folder_name || (config.image_size > 0 && !is_text(config.data));
}

PictureTask::PictureTask(const TrainConfig& config) : PictureTask(config, load_pictures(config)) {}

PictureTask::PictureTask(const TrainConfig& config, PictureSplits splits)
    : Task({"accuracy"}, *splits.train, *splits.test), config_(config), splits_(std::move(splits)) {
    if (config.image_size == 0) config_.image_size = usual_side(config.model);
    if (config.bad_pictures == "skip") skipped_ = std::make_shared<SkippedPictures>();
}

PictureLoaderOptions PictureTask::options() const {
    return {.side = config_.image_size,
            .batch_size = config_.batch,
            .scale = scale_of(config_),
            .seed = config_.seed,
            .skipped = skipped_};
}

Split PictureTask::train() const {
    PictureLoaderOptions of_train = options();
    of_train.augment = config_.augment;
    return split_of(PictureLoader(splits_.train, of_train), config_.workers);
}

Split PictureTask::test() const {
    PictureLoaderOptions of_test = options();
    of_test.shuffle = of_test.drop_last = false;
    return split_of(PictureLoader(splits_.test, of_test), config_.workers);
}

std::unique_ptr<Module> PictureTask::model() const {
    return image_model(config_, {.channels = 3,
                                 .height = config_.image_size,
                                 .width = config_.image_size,
                                 .classes = std::ssize(splits_.train->classes())});
}

LoadReport PictureTask::load(Module& model) const {
    return load_image_weights(weights_file(config_.from), model, config_.model);
}

}  // namespace slimgrad
