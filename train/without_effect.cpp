#include <fmt/format.h>

#include <algorithm>

#include "train/config.h"
#include "train/picture_task.h"
#include "train/task.h"

namespace slimgrad {
namespace {

std::vector<Idle> idle_options(const TrainConfig& c) {
    const Slots calibrated = calibrated_slots(c);
    const std::string data = fmt::format("data {} are images", c.data);
    // A model that has no name yet has that of resolved().
    const std::string model = !c.model.empty() ? c.model : is_text(c.data) ? "bert" : "vit-micro";
    const auto begins = [&](std::initializer_list<const char*> beginnings) {
        return std::ranges::any_of(beginnings,
                                   [&](const char* begin) { return model.starts_with(begin); });
    };
    std::vector<Idle> all = idle_method_options(c);
    const std::vector<Idle> others{
        {!calibrated.any(),
         {"calibrate", "calibrate_every", "calibrate_batches", "calibrate_split", "calibrate_keep"},
         "the method is " + c.method},
        {c.calibrate != "paper", {"calibrate_split"}, "calibrate is " + c.calibrate},
        {c.calibrate != "stream", {"calibrate_keep"}, "calibrate is " + c.calibrate},
        {c.optimizer != "sgd", {"momentum", "nesterov"}, "the optimizer is " + c.optimizer},
        {c.schedule != "step", {"lr_step", "gamma"}, "the schedule is " + c.schedule},
        {c.schedule != "cosine" && c.schedule != "linear",
         {"min_lr_rate"},
         "the schedule is " + c.schedule},
        {c.steps > 0, {"epochs"}, "steps is given"},
        {!reads_pictures(c),
         {"pixel_scale", "bad_pictures", "workers"},
         fmt::format("data {} are not resized", c.data)},
        {is_text(c.data), {"image_size"}, fmt::format("data {} are texts", c.data)},
        {!is_text(c.data), {"max_length", "pad", "skip_padding"}, data},
        {c.model.starts_with("resnet"), {"dropout"}, fmt::format("model {} has none", c.model)},
        {!begins({"vit", "deit", "swin", "mobilenet", "efficient"}),
         {"drop_path"},
         fmt::format("model {} has no such blocks", model)},
        {!begins({"resnet", "mobilenet", "efficient"}),
         {"batch_norm"},
         fmt::format("model {} has no BatchNorm", model)},
    };
    all.insert(all.end(), others.begin(), others.end());
    return all;
}

}  // namespace

std::vector<std::string> without_effect(const TrainConfig& config,
                                        const std::vector<std::string>& names) {
    return idle_notes(idle_options(config), names);
}

}  // namespace slimgrad
