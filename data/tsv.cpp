#include "data/tsv.h"

#include <algorithm>

#include "data/safetensors_header.h"
#include "data/unicode.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

/// The parts of a text between the separators; one more than there are separators.
void split(std::string_view text, char separator, std::vector<std::string_view>& parts) {
    parts.clear();
    for (std::size_t end; (end = text.find(separator)) != std::string_view::npos;) {
        parts.push_back(text.substr(0, end));
        text.remove_prefix(end + 1);
    }
    parts.push_back(text);
}

std::string list(const std::vector<std::string>& names) {
    std::vector<std::string> quoted;
    for (std::size_t i = 0; i < names.size() && i < 20; ++i) quoted.push_back(in_quotes(names[i]));
    return fmt::format("{}{}", fmt::join(quoted, ", "), names.size() > 20 ? ", …" : "");
}

}  // namespace

TsvReader::TsvReader(std::string_view text, std::string file)
    : TsvReader(text, std::move(file), {}) {
    constexpr std::size_t most = 1000;
    require(read_line(), "[tsv] '{}': expected a line with the names of the columns, got nothing",
            file_);
    require(count() <= most, "{}: expected the names of at most {} columns, got {}", where(), most,
            count());
    split(present_, '\t', fields_);
    columns_.assign(fields_.begin(), fields_.end());
    std::vector<std::string> sorted = columns_;
    std::ranges::sort(sorted);
    const auto twice = std::ranges::adjacent_find(sorted);
    require(twice == sorted.end(), "{}: expected each column once, {} is there twice", where(),
            twice == sorted.end() ? "" : in_quotes(*twice));
}

TsvReader::TsvReader(std::string_view text, std::string file, std::vector<std::string> columns)
    : rest_(text), file_(std::move(file)), columns_(std::move(columns)) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (rest_.starts_with(byte_order_mark)) rest_.remove_prefix(byte_order_mark.size());
}

std::string TsvReader::where() const { return fmt::format("[tsv] '{}': line {}", file_, line_); }

std::size_t TsvReader::column(std::string_view name) const {
    std::vector<std::string_view> names;
    split(name, '|', names);
    for (const std::string_view candidate : names)
        if (const auto found = std::ranges::find(columns_, candidate); found != columns_.end())
            return static_cast<std::size_t>(found - columns_.begin());
    fail("[tsv] '{}': expected a column \"{}\", line 1 has {}", file_, names.front(),
         list(columns_));
}

std::size_t TsvReader::count() const {
    return 1 + static_cast<std::size_t>(std::ranges::count(present_, '\t'));
}

bool TsvReader::read_line() {
    if (rest_.empty()) return false;
    ++line_;
    const std::size_t end = rest_.find('\n');
    present_ = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (present_.ends_with('\r')) present_.remove_suffix(1);
    const std::size_t invalid = find_invalid_utf8(present_);
    require(invalid == std::string_view::npos,
            "{}: expected UTF-8, byte {} of the line begins no character", where(), invalid);
    return true;
}

bool TsvReader::next() {
    if (!read_line()) return false;
    // Counted before they are kept: a line may be nothing but tabs.
    require(count() == columns_.size(), "{}: expected {} fields between tabs ({}), got {}", where(),
            columns_.size(), list(columns_), count());
    split(present_, '\t', fields_);
    return true;
}

}  // namespace slimgrad
