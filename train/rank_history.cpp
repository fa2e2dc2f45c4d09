#include "train/rank_history.h"

#include <nlohmann/json.hpp>

namespace slimgrad {

void put_slot(nlohmann::json& layer, const std::string& slot, const CalibratedSlot& found) {
    layer[(found.vanilla ? "left_vanilla_" : "rank_") + slot] = found.rank;
    layer["dim_" + slot] = found.dim;
    layer["side_" + slot] = to_string(found.side);
    layer["energy_" + slot] = found.energy;
    layer["signal_" + slot] = found.signal;
    layer["break_even_" + slot] = found.break_even;
}

nlohmann::json calibration_line(std::int64_t step, const std::vector<LayerRanks>& layers) {
    nlohmann::json line{
        {"type", "calibration"}, {"step", step}, {"layers", nlohmann::json::array()}};
    for (const LayerRanks& layer : layers) {
        nlohmann::json entry{{"name", layer.name}};
        if (layer.x) put_slot(entry, "x", *layer.x);
        if (layer.g) put_slot(entry, "g", *layer.g);
        if (layer.x || layer.g) line["layers"].push_back(entry);
    }
    return line;
}

nlohmann::json sketch_json(const SketchRecord& record) {
    nlohmann::json json{{"calls", record.calls},
                        {"exact", record.exact},
                        {"rank", nullptr},
                        {"kept", nullptr},
                        {"least_kept", nullptr}};
    const auto made = static_cast<double>(record.calls - record.exact);
    if (made == 0) return json;
    json["rank"] = static_cast<double>(record.ranks) / made;
    json["kept"] = record.kept / made;
    json["least_kept"] = record.least_kept;
    return json;
}

nlohmann::json sketch_line(std::int64_t step, const std::map<std::string, SketchRecord>& layers) {
    nlohmann::json line{{"type", "sketch"}, {"step", step}, {"layers", nlohmann::json::array()}};
    for (const auto& [name, record] : layers) {
        nlohmann::json entry = sketch_json(record);
        entry["name"] = name;
        line["layers"].push_back(entry);
    }
    return line;
}

std::string left_vanilla_message(std::int64_t step, const std::vector<LayerRanks>& layers) {
    int x = 0, g = 0;
    for (const LayerRanks& layer : layers) {
        x += int{layer.x && layer.x->vanilla};
        g += int{layer.g && layer.g->vanilla};
    }
    if (x + g == 0) return "";
    return fmt::format(
        "step {}: {} x slots and {} g slots stay exact, their ranks lie beyond break-even", step, x,
        g);
}

nlohmann::json bits_line(std::int64_t step, const std::vector<Sensitivity>& values,
                         const std::map<std::string, int>& bits) {
    nlohmann::json line{{"type", "bits"}, {"step", step}, {"values", nlohmann::json::array()}};
    for (const auto& [name, elements, c] : values)
        line["values"].push_back(
            {{"name", name}, {"elements", elements}, {"sensitivity", c}, {"bits", bits.at(name)}});
    return line;
}

std::string bits_text(std::int64_t step, const std::vector<Sensitivity>& values,
                      const std::map<std::string, int>& bits) {
    std::map<int, int> counts;
    double held = 0, elements = 0;
    for (const Sensitivity& value : values) {
        ++counts[bits.at(value.name)];
        held += static_cast<double>(value.elements) * bits.at(value.name);
        elements += static_cast<double>(value.elements);
    }
    std::string text;
    for (const auto& [b, count] : counts)
        text += fmt::format("{}{} in {}", text.empty() ? "" : ", ", count, b);
    return fmt::format("step {}: {} kept values have {:.2f} bits an element: {}", step,
                       values.size(), elements > 0 ? held / elements : 0, text);
}

}  // namespace slimgrad
