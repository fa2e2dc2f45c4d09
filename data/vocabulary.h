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

/// The tokens a model knows; the id of a token is its place among them.
class Vocabulary {
  public:
    /// Throws Error that begins with `where` for an empty token, one that is there twice or one
    /// that is not UTF-8; it calls token i "line i + 1".
    Vocabulary(std::vector<std::string> tokens, std::string_view where);
    /// Reads `vocab.txt`: one token a line, the first has id 0.
    static Vocabulary read(const std::filesystem::path& file);

    std::int64_t size() const { return std::ssize(tokens_); }
    std::optional<std::int32_t> find(std::string_view token) const;
    /// Throws Error for an id outside the vocabulary.
    const std::string& token(std::int32_t id) const;

  private:
    struct Hash : std::hash<std::string_view> {
        using is_transparent = void;
    };

    std::vector<std::string> tokens_;
    std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
};

}  // namespace slimgrad
