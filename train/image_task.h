#pragma once

#include "data/image_data.h"
#include "train/task.h"

namespace slimgrad {

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
