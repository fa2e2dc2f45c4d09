#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace slimgrad {

/// Which class of a checkpoint is which of a data set.
struct LabelMatch {
    /// For each class of the data set the row of the checkpoint's classifier.
    std::vector<std::int64_t> order;
    /// Why there is no such order, for a message; empty if there is.
    std::string problem;
};

/// Matches classes by name, whatever the case, hyphens, underscores and spaces. A checkpoint whose
/// classes have no names (`theirs` is empty), or only numbers ("LABEL_0", "0", …), counts as the
/// data set does.
LabelMatch match_labels(const std::vector<std::string>& theirs,
                        const std::vector<std::string>& ours);

/// The number in "LABEL_7" or "7"; -1 for a name that says more.
std::int64_t label_number(const std::string& name);
/// The form in which names are compared: small letters, without hyphens, underscores and spaces.
std::string plain_label(const std::string& name);

}  // namespace slimgrad
