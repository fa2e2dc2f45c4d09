#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "instant/calibration/calibrator.h"
#include "instant/codec/automatic_bits.h"

namespace slimgrad {

/// Adds to `layer` what a calibration found for a slot, "x" or "g", under keys that end in its
/// name: rank, or left_vanilla with the rank for which it was left exact; dim, side, energy and
/// signal (kept shares), break_even.
void put_slot(nlohmann::json& layer, const std::string& slot, const CalibratedSlot& found);

/// The line of metrics.jsonl for a calibration: every layer with a slot that it looked at.
nlohmann::json calibration_line(std::int64_t step, const std::vector<LayerRanks>& layers);

/// What sketches of a layer did: calls, how many of them stayed exact, and of the others the mean
/// rank, the mean and the least share of the gradients' energy that they kept.
nlohmann::json sketch_json(const SketchRecord& record);

/// The line of metrics.jsonl for what sketches did since the line before.
nlohmann::json sketch_line(std::int64_t step, const std::map<std::string, SketchRecord>& layers);

/// What to tell the person who waits; empty if every slot is compressed.
std::string left_vanilla_message(std::int64_t step, const std::vector<LayerRanks>& layers);

/// The line of metrics.jsonl for a choice of bits, and the line of text for it: how many values
/// have how many bits.
nlohmann::json bits_line(std::int64_t step, const std::vector<Sensitivity>& values,
                         const std::map<std::string, int>& bits);
std::string bits_text(std::int64_t step, const std::vector<Sensitivity>& values,
                      const std::map<std::string, int>& bits);

}  // namespace slimgrad
