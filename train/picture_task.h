#pragma once

#include "data/picture_loader.h"
#include "train/task.h"

namespace slimgrad {

/// Whether a run reads pictures of any sizes: a folder of them, or images that are to be resized.
bool reads_pictures(const TrainConfig& config);

/// Pictures of any sizes, resized to `image_size` (PictureLoader), and a model of images.
class PictureTask final : public Task {
  public:
    explicit PictureTask(const TrainConfig& config);
    Split train() const override;
    Split test() const override;
    std::unique_ptr<Module> model() const override;
    LoadReport load(Module& model) const override;
    std::set<std::string> passed_over() const override {
        return skipped_ ? skipped_->all() : std::set<std::string>();
    }

  private:
    PictureTask(const TrainConfig& config, PictureSplits splits);
    PictureLoaderOptions options() const;

    TrainConfig config_;
    PictureSplits splits_;
    std::shared_ptr<SkippedPictures> skipped_;  // null if a bad picture is an error
};

}  // namespace slimgrad
