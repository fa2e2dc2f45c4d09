#pragma once

#include <string>
#include <vector>

namespace slimgrad {

/// What became of the tensors of a checkpoint.
struct LoadReport {
    /// Parameters of the model that the file lacks: at most pooler and classifier. In slimgrad's
    /// names.
    std::vector<std::string> missing;
    /// Tensors of the file that were not read, in the file's names: heads of other tasks, of texts
    /// buffers too, a classifier that does not fit.
    std::vector<std::string> unused;
    /// A classifier for another number of classes: "classifier.weight (3, 384), expected (2, 384)".
    std::vector<std::string> misshapen;
    /// Why its classifier, if it has one, is for other classes than those of the data set.
    std::string other_classes;
    /// All parameters that keep the values which were drawn for them, for any of these reasons.
    std::vector<std::string> fresh;
};

/// In one line: "fresh: classifier.weight, classifier.bias; unused: ..."; of long lists the first
/// names and how many more there are.
std::string to_string(const LoadReport& report);
/// The part of it that says what is fresh, and why.
std::string why_fresh(const LoadReport& report);

/// "a, b and 7 more".
std::string join_some(const std::vector<std::string>& names);
/// Adds "; what: a, b and 7 more" to a text, if there are any.
void append_names(std::string& text, const char* what, const std::vector<std::string>& names);

}  // namespace slimgrad
