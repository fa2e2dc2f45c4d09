#include "train/same_run.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "tensor/error.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string value_of(const json& options, const std::string& name) {
    const auto found = options.find(name);
    return found == options.end() ? "not given" : found->dump();
}

/// The place of a file that exists, without links; for one that does not, as far as it does.
fs::path canonical(const fs::path& path) {
    std::error_code error;
    fs::path place = fs::weakly_canonical(path, error);
    return error ? fs::absolute(path, error).lexically_normal() : place;
}

bool is_inside(const fs::path& path, const fs::path& directory) {
    const auto end = std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
    return end.first == directory.end();
}

}  // namespace

json identity(const TrainConfig& config) {
    json options = to_json(config);
    for (const char* name : {"out", "data_dir", "from", "vocab", "threads", "workers", "log_every",
                             "checkpoint_every"})
        options.erase(name);
    return options;
}

std::string changes(const json& begun, const json& now) {
    json names = begun;
    names.update(now);
    std::string text;
    for (const auto& [name, value] : names.items()) {
        const std::string before = value_of(begun, name), after = value_of(now, name);
        if (before != after)
            text +=
                fmt::format("{}{} is {} and was {}", text.empty() ? "" : ", ", name, after, before);
    }
    return text;
}

void require_apart(const TrainConfig& config, const std::string& out) {
    if (out.empty()) return;
    const auto plain = [](const fs::path& path) {
        std::error_code none;
        const fs::path place = fs::absolute(path, none).lexically_normal();
        return place.has_filename() ? place : place.parent_path();
    };
    for (const std::string& place : {config.from, config.vocab})
        require(
            place.empty() || !(is_inside(canonical(place), canonical(out)) ||
                               is_inside(plain(place), plain(out))),
            "[config] expected another directory as out than '{}': it holds '{}', which the run "
            "begins from",
            out, place);
}

void require_apart(const std::vector<TrainConfig>& configs) {
    std::set<std::pair<std::string, std::string>> beginnings;
    for (const TrainConfig& config : configs)
        if (beginnings.emplace(config.from, config.vocab).second)
            for (const TrainConfig& other : configs) require_apart(config, other.out);
}

}  // namespace slimgrad
