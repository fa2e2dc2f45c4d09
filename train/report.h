#pragma once

#include <string>
#include <vector>

namespace slimgrad {

/// Writes one HTML page that compares finished runs: a table, charts and the ranks of every layer.
/// The page holds all it needs (no network), reads without JavaScript, and prints. Runs that differ
/// in nothing but the seed are shown as one, by mean and standard deviation. Throws Error if a run
/// directory lacks a file or holds a broken one, or if the page cannot be written.
void write_report(const std::vector<std::string>& run_dirs, const std::string& html_path);

}  // namespace slimgrad
