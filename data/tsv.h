#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slimgrad {

/// Reads tab-separated lines one by one: a line ends with LF or CR LF, a field with a tab, and that
/// is all; quotes and backslashes are ordinary characters. A byte order mark at the beginning is
/// skipped. Every line must be UTF-8 and have as many fields as there are columns. Errors name the
/// file and the line (from 1) and say what was expected.
class TsvReader {
  public:
    /// The first line names the columns. Texts are views: `text` must outlive the reader.
    TsvReader(std::string_view text, std::string file);
    /// There is no such line; these are the columns.
    TsvReader(std::string_view text, std::string file, std::vector<std::string> columns);

    /// The place of a column; `name` may be a list "a|b" of which the file has one. Throws Error
    /// that lists the columns of the file.
    std::size_t column(std::string_view name) const;
    /// Goes to the next line; false if there is none.
    bool next();
    /// A field of the present line.
    std::string_view operator[](std::size_t column) const { return fields_[column]; }
    std::int64_t line() const { return line_; }
    /// "[tsv] 'file': line 12", for messages.
    std::string where() const;

  private:
    bool read_line();
    std::size_t count() const;  // of the fields of the present line

    std::string_view rest_, present_;
    std::string file_;
    std::vector<std::string> columns_;
    std::vector<std::string_view> fields_;
    std::int64_t line_ = 0;
};

}  // namespace slimgrad
