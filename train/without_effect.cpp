#include <fmt/format.h>

#include "train/config.h"
#include "train/task.h"

namespace slimgrad {
namespace {

std::vector<Idle> idle_options(const TrainConfig& c) {
    const Slots slots = method_slots(c.method);
    const bool vanilla = !slots.x && !slots.g;
    const bool ranks_fixed = (!slots.x || c.rank_x) && (!slots.g || c.rank_g);
    const bool sides_fixed = (!slots.x || !c.side_x.empty()) && (!slots.g || !c.side_g.empty());
    const std::string method = "the method is " + c.method;
    const std::string data = fmt::format("data {} are images", c.data);
    return {
        {vanilla,
         {"epsilon", "oversample", "rank_x", "rank_g", "side", "side_x", "side_g", "offset",
          "break_even", "calibrate_every", "calibrate_batches", "calibrate_split"},
         method},
        {!slots.x, {"rank_x", "side_x"}, method},
        {!slots.g, {"rank_g", "side_g"}, method},
        {ranks_fixed, {"epsilon", "oversample"}, "the ranks are fixed"},
        {sides_fixed, {"side"}, "each slot has its own"},
        {c.optimizer != "sgd", {"momentum", "nesterov"}, "the optimizer is " + c.optimizer},
        {c.schedule != "step", {"lr_step", "gamma"}, "the schedule is " + c.schedule},
        {c.steps > 0, {"epochs"}, "steps is given"},
        {!is_text(c.data), {"max_length"}, data},
        {c.model.starts_with("resnet"), {"dropout"}, fmt::format("model {} has none", c.model)},
    };
}

}  // namespace

std::vector<std::string> without_effect(const TrainConfig& config,
                                        const std::vector<std::string>& names) {
    return idle_notes(idle_options(config), names);
}

}  // namespace slimgrad
