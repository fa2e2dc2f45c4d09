#include "train/method_spec.h"

#include <algorithm>
#include <sstream>
#include <utility>
#include <vector>

#include "tensor/error.h"

namespace slimgrad {
namespace {

/// "method:a=1:b=last:1" in method, a=1, b=last:1: a part without "=" goes on with the one before.
std::vector<std::string> parts_of(const std::string& spec) {
    std::vector<std::string> parts;
    std::istringstream stream(spec);
    for (std::string part; std::getline(stream, part, ':');)
        if (parts.size() > 1 && part.find('=') == std::string::npos)
            parts.back() += ':' + part;
        else
            parts.push_back(part);
    return parts;
}

}  // namespace

MethodRun with_method(const TrainConfig& base, const std::string& spec) {
    const std::string where = fmt::format("[config] --methods {}:", shown(spec));
    const std::vector<std::string> parts = parts_of(spec);
    MethodRun run{base, {}};
    set_option(run.config, "method", parts.empty() ? "" : parts.front(), where);
    for (std::size_t i = 1; i < parts.size(); ++i) {
        const std::size_t equals = parts[i].find('=');
        require(equals != std::string::npos && equals > 0,
                "{} expected option=value after the method, got {}", where, shown(parts[i]));
        std::string name = parts[i].substr(0, equals);
        std::ranges::replace(name, '-', '_');
        require(name != "seed" && name != "out" && name != "method",
                "{} '{}' is not for a method to choose", where, name);
        require(std::ranges::find(run.given, name) == run.given.end(), "{} has {} twice", where,
                shown(name));
        set_option(run.config, name, parts[i].substr(equals + 1), where);
        run.given.push_back(name);
    }
    run.config = spelled_out(std::move(run.config), where);
    return run;
}

std::string file_name(std::string spec) {
    std::ranges::replace(spec, ':', '-');
    std::ranges::replace(spec, '/', '-');
    return spec;
}

}  // namespace slimgrad
