#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/config.h"

namespace slimgrad {

/// The options that make a run what it is. Where its files lie, how often it tells and saves, and
/// the number of threads may change while it is interrupted; nothing else may.
nlohmann::json identity(const TrainConfig& config);

/// "seed is 1 and was 0, batch is 8 and was 16": in which options a run differs from what it was
/// begun with; empty if in none.
std::string changes(const nlohmann::json& begun, const nlohmann::json& now);

/// Throws Error if a run would be begun from files of the directory that it is to replace: weights
/// or vocabulary, by whatever links.
void require_apart(const TrainConfig& config, const std::string& out);
/// The same for all runs of a comparison, each with its `out`, and the directories of the others.
void require_apart(const std::vector<TrainConfig>& configs);

}  // namespace slimgrad
