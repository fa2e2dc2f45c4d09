#pragma once

#include <string>
#include <vector>

namespace slimgrad {

/// Rows of cells, the first of them the heading.
struct Table {
    std::vector<std::vector<std::string>> rows;

    /// In columns, the first to the left, the others to the right.
    std::string text() const;
    std::string markdown() const;
};

}  // namespace slimgrad
