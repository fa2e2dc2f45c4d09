#include "nn/models/aliases.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

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
