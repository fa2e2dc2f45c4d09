#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/table.h"

namespace slimgrad {

/// What a comparison says of one method: {"method", "seeds", "epochs", and by name each figure that
/// comparisons have}. A figure is {"mean", "sd"} over the summaries, one a seed; sd is null for one
/// seed, and the figure where no summary has it. The best of a metric is that of each run's best
/// epoch, `best_accuracy_epoch` says which, from 1 on.
nlohmann::json comparison_row(const std::string& method,
                              const std::vector<nlohmann::json>& summaries);

/// The document of a comparison as a table: a row for each method, and one for what the majority
/// class gets. Columns that no method fills are left out, and so are best epochs where all runs had
/// one epoch only.
Table comparison_table(const nlohmann::json& document);

}  // namespace slimgrad
