#include "train/measurements.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/ledger.h"
#include "train/process.h"

namespace slimgrad {

void Measurements::take_flops() {
    for (const auto& [key, count] : meter().counts()) flops[key] += count;
    meter().reset();
}

void Measurements::take_saved(std::int64_t batch) {
    for (const auto& [layer, bytes] : ledger().saved_by_layer()) saved[layer] += bytes;
    samples += batch;
}

void Measurements::take_tokens(const Tokens& texts) {
    tokens += std::ssize(texts.ids);
    padding += texts.padding();
}

void Measurements::take_peaks() {
    const auto raise = [this](const std::string& what, std::int64_t bytes) {
        peaks[what] = std::max(peaks[what], bytes);
    };
    for (std::size_t i = 0; i < category_count; ++i) {
        const auto category = static_cast<Category>(i);
        raise(std::string(name(category)), ledger()[category].peak);
    }
    raise("total", ledger().total().peak);
    raise("rss", peak_rss());
}

void Measurements::take_ranks(const std::vector<LayerRanks>& layers) {
    for (const LayerRanks& layer : layers) {
        if (layer.x) ranks[layer.name].x.take(*layer.x);
        if (layer.g) ranks[layer.name].g.take(*layer.g);
    }
    ++calibrations;
}

void Measurements::SlotRanks::take(const CalibratedSlot& found) {
    if (found.vanilla) {
        ++left;
        return;
    }
    sum += found.rank;
    least = count == 0 ? found.rank : std::min(least, found.rank);
    most = std::max(most, found.rank);
    ++count;
}

std::string to_string(const Scores& scores, const std::vector<std::string>& metrics) {
    std::string text;
    for (const std::string& metric : metrics)
        text +=
            fmt::format("{}{} {:.2f} %", text.empty() ? "" : "  ", metric, 100 * scores.at(metric));
    return text;
}

std::string passed_over_note(const std::set<std::string>& passed_over) {
    if (passed_over.empty()) return "";
    return fmt::format("{} {} left out, the first: {}", passed_over.size(),
                       passed_over.size() == 1 ? "was" : "were", *passed_over.begin());
}

void to_json(nlohmann::json& json, const Measurements& m) {
    nlohmann::json flops = nlohmann::json::array(), ranks = nlohmann::json::object(),
                   evaluations = nlohmann::json::array();
    for (const auto& [key, count] : m.flops) flops.push_back({key.first, key.second, count});
    const auto slot = [](const Measurements::SlotRanks& r) {
        return nlohmann::json{r.sum, r.least, r.most, r.count, r.left};
    };
    for (const auto& [name, r] : m.ranks) ranks[name] = {slot(r.x), slot(r.g)};
    for (const Evaluation& e : m.evaluations) evaluations.push_back({e.scores, e.loss, e.samples});
    const auto records = [](const std::map<std::string, SketchRecord>& all) {
        nlohmann::json sketches = nlohmann::json::object();
        for (const auto& [name, s] : all)
            sketches[name] = {s.calls, s.exact, s.ranks, s.kept, s.least_kept};
        return sketches;
    };
    json = {{"flops", flops},
            {"seconds", m.seconds},
            {"saved", m.saved},
            {"samples", m.samples},
            {"tokens", m.tokens},
            {"padding", m.padding},
            {"peaks", m.peaks},
            {"ranks", ranks},
            {"calibrations", m.calibrations},
            {"sketches", records(m.sketches)},
            {"new_sketches", records(m.new_sketches)},
            {"bits", m.bits},
            {"bit_choices", m.bit_choices},
            {"calibrated", m.calibrated},
            {"epoch_loss", m.epoch_loss},
            {"epoch_steps", m.epoch_steps},
            {"evaluations", evaluations},
            {"train_losses", m.train_losses},
            {"passed_over", m.passed_over},
            {"fresh", m.loaded.fresh},
            {"unused", m.loaded.unused}};
}

void from_json(const nlohmann::json& json, Measurements& m) {
    for (const auto& entry : json.at("flops")) m.flops[{entry.at(0), entry.at(1)}] = entry.at(2);
    json.at("seconds").get_to(m.seconds);
    json.at("saved").get_to(m.saved);
    json.at("samples").get_to(m.samples);
    json.at("tokens").get_to(m.tokens);
    json.at("padding").get_to(m.padding);
    json.at("peaks").get_to(m.peaks);
    const auto slot = [](const nlohmann::json& r) {
        return Measurements::SlotRanks{r.at(0), r.at(1), r.at(2), r.at(3), r.at(4)};
    };
    for (const auto& [name, r] : json.at("ranks").items())
        m.ranks[name] = {slot(r.at(0)), slot(r.at(1))};
    json.at("calibrations").get_to(m.calibrations);
    const auto records = [](const nlohmann::json& sketches) {
        std::map<std::string, SketchRecord> all;
        for (const auto& [name, s] : sketches.items())
            all[name] = {s.at(0), s.at(1), s.at(2), s.at(3), s.at(4)};
        return all;
    };
    m.sketches = records(json.at("sketches"));
    m.new_sketches = records(json.at("new_sketches"));
    json.at("bits").get_to(m.bits);
    json.at("bit_choices").get_to(m.bit_choices);
    json.at("calibrated").get_to(m.calibrated);
    json.at("epoch_loss").get_to(m.epoch_loss);
    json.at("epoch_steps").get_to(m.epoch_steps);
    for (const auto& e : json.at("evaluations"))
        m.evaluations.push_back({e.at(0).get<Scores>(), e.at(1), e.at(2)});
    json.at("train_losses").get_to(m.train_losses);
    // Older checkpoints have none.
    m.passed_over = json.value("passed_over", std::set<std::string>());
    m.loaded.fresh = json.value("fresh", std::vector<std::string>());
    m.loaded.unused = json.value("unused", std::vector<std::string>());
}

}  // namespace slimgrad
