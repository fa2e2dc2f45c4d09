#pragma once

#include <string>
#include <utility>
#include <vector>

#include "instant/methods/method.h"

namespace slimgrad {

/// A method with some of its own options set.
inline MethodOptions with(const std::string& method,
                          const std::vector<std::pair<std::string, OptionValue>>& values = {}) {
    MethodOptions options{.method = method};
    for (const auto& [name, value] : values) options.own.set("[test]", method_option(name), value);
    return options;
}

}  // namespace slimgrad
