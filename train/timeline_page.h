#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace slimgrad {

/// One HTML page of a document of trace() (step_trace.h): what is held over the step, method beside
/// method on one scale, the largest holders at the peak, and every call. It holds all it needs, and
/// reads without JavaScript as tables.
std::string timeline_page(const nlohmann::json& document);

/// Throws Error if a file is there that is no page of slimgrad: it would be replaced.
void require_timeline_place(const std::filesystem::path& file);
/// Writes the page, as a whole. Throws Error if it cannot be written.
void write_timeline_page(const nlohmann::json& document, const std::filesystem::path& file);

/// The tables of a document, for the page and for the terminal; the first row is the heading: the
/// methods side by side, and the largest holders at the peak of the first.
std::vector<std::vector<std::string>> method_rows(const nlohmann::json& document);
std::vector<std::vector<std::string>> holder_rows(const nlohmann::json& document);

}  // namespace slimgrad
