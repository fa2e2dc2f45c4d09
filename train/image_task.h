#pragma once

#include "data/image_data.h"
#include "nn/models/model.h"
#include "train/task.h"

namespace slimgrad {

/// The data set of `config`, cut to its limits.
ImageSplits load_splits(const TrainConfig& config);

/// The model of `config` for such images: frozen where the run freezes it, with its dropout,
/// stochastic depth and seed.
std::unique_ptr<Module> image_model(const TrainConfig& config, ModelConfig sizes);

class ImageTask final : public Task {
  public:
    explicit ImageTask(const TrainConfig& config);
    Split train() const override;
    Split test() const override;
    std::unique_ptr<Module> model() const override;
    LoadReport load(Module& model) const override;

  private:
    ImageTask(const TrainConfig& config, ImageSplits splits);

    TrainConfig config_;
    std::shared_ptr<const ImageData> train_, test_;
};

}  // namespace slimgrad
