#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace slimgrad {

/// The tokens a model knows; the id of a token is its place among them. A place may be empty: then
/// its id is one that no text has. Of a token that is there more than once the last place counts.
class Vocabulary {
  public:
    /// Throws Error that begins with `where` if there is no token, or one that is not UTF-8.
    Vocabulary(std::vector<std::string> tokens, std::string_view where);
    /// Reads `vocab.txt`: a token is what a line holds before white space at its end, and the first
    /// line has id 0, whatever the lines hold. A byte order mark at the beginning is skipped.
    static Vocabulary read(const std::filesystem::path& file);
    static Vocabulary parse(std::string_view text, std::string_view where);
    /// A line without white space at its end, of every kind that Unicode knows.
    static std::string_view trimmed(std::string_view line);

    std::int64_t size() const { return std::ssize(tokens_); }
    std::optional<std::int32_t> find(std::string_view token) const;
    /// Throws Error for an id outside the vocabulary.
    const std::string& token(std::int32_t id) const;
    /// Of a token, in bytes.
    std::size_t longest() const { return longest_; }
    /// What a user should know: which ids are empty or of a token that comes again.
    const std::vector<std::string>& notes() const { return notes_; }

  private:
    struct Hash : std::hash<std::string_view> {
        using is_transparent = void;
    };

    std::vector<std::string> tokens_;
    std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
    std::size_t longest_ = 0;
    std::vector<std::string> notes_;
};

}  // namespace slimgrad
