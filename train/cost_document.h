#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace slimgrad {

/// What `slimgrad cost` and `sg.cost` are asked. The words are those of TrainConfig.
struct CostOptions {
    std::string model = "bert-base";  // an architecture (architectures.h) or a model of slimgrad
    std::int64_t tokens = 0;          // of transformer architectures; 0: their usual number
    std::int64_t channels = 3, height = 32, width = 32;  // of the images of all others
    std::int64_t classes = 10;                           // models only
    std::string train_blocks = "all";

    std::string method = "vanilla";
    std::optional<std::int64_t> rank_x, rank_g;
    std::string side = "auto", side_x, side_g;
    std::string break_even = "report";

    std::int64_t batch = 1;  // once-a-batch terms are spread over it
    std::int64_t calibrate_every = 200, calibrate_batches = 5;
};

/// FLOPs and bytes of the linear maps that train, in closed form: one object for each convention of
/// docs/counting.md, `paper` and `executed`, a sample; docs/cost.md explains each field. Throws
/// Error for unknown words, listing the known ones, and for values out of range.
nlohmann::json cost_document(const CostOptions& options);

}  // namespace slimgrad
