#include "nn/models/aliases.h"

#include <algorithm>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

void add_without_prefix(std::vector<Alias>& aliases, const std::string& prefix) {
    for (std::size_t i = 0, known = aliases.size(); i < known; ++i) {
        Alias bare = aliases[i];
        bool all = true;
        for (std::string& name : bare.theirs) {
            all = all && name.starts_with(prefix);
            name = name.substr(std::min(prefix.size(), name.size()));
        }
        if (all) aliases.push_back(std::move(bare));
    }
}

std::vector<std::vector<std::string>> file_names(const std::vector<Alias>& aliases,
                                                 const std::string& name) {
    std::vector<std::vector<std::string>> names{{name}};
    for (const Alias& alias : aliases)
        if (name.starts_with(alias.own)) {
            std::vector<std::string>& parts = names.emplace_back();
            for (const std::string& theirs : alias.theirs)
                parts.push_back(theirs + name.substr(alias.own.size()));
        }
    return names;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
