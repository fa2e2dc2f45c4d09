#include "data/vocabulary.h"

#include <algorithm>

#include "data/file.h"
#include "data/safetensors_header.h"
#include "data/unicode.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

constexpr std::int64_t most_tokens = 1 << 22;

/// Collects a note about some ids, and of many only the first.
class Listing {
  public:
    void add(std::int64_t id, const std::string& what = {}) {
        constexpr std::int64_t shown = 5;
        if (count_++ < shown)
            text_ += fmt::format("{}{}{}{}", text_.empty() ? "" : ", ", id, what.empty() ? "" : " ",
                                 what);
        else if (count_ == shown + 1)
            text_ += ", …";
    }
    /// "where: what (ids 6, 9)", if there are any.
    void put(std::vector<std::string>& notes, std::string_view where, const char* what) const {
        if (count_ > 0) notes.push_back(fmt::format("{}: {} (ids {})", where, what, text_));
    }

  private:
    std::int64_t count_ = 0;
    std::string text_;
};

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::string_view where)
    : tokens_(std::move(tokens)) {
    require(size() <= most_tokens, "{}: expected at most {} tokens, got {}", where, most_tokens,
            size());
    ids_.reserve(tokens_.size());
    Listing empty, again;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
        const std::string& token = tokens_[i];
        const std::size_t invalid = find_invalid_utf8(token);
        require(invalid == std::string::npos,
                "{}: line {}: expected UTF-8, byte {} of the line begins no character", where,
                i + 1, invalid);
        if (token.empty()) {
            empty.add(static_cast<std::int64_t>(i));
            continue;
        }
        longest_ = std::max(longest_, token.size());
        const auto [known, is_new] = ids_.emplace(token, static_cast<std::int32_t>(i));
        if (is_new) continue;
        again.add(known->second, in_quotes(token));
        known->second = static_cast<std::int32_t>(i);
    }
    require(!ids_.empty(), "{}: expected a token on each line, got none", where);
    empty.put(notes_, where, "places without a token are ids that no text has");
    again.put(notes_, where, "of tokens that come again the last place counts, not these");
}

std::string_view Vocabulary::trimmed(std::string_view line) {
    while (!line.empty()) {
        std::size_t last = line.size() - 1;
        while (last > 0 && (line[last] & 0xC0) == 0x80) --last;
        const std::string_view character = line.substr(last);
        if (find_invalid_utf8(character) != std::string_view::npos ||
            !is_whitespace(decode_utf8(character, "")[0]))
            break;
        line = line.substr(0, last);
    }
    return line;
}

Vocabulary Vocabulary::parse(std::string_view text, std::string_view where) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    std::vector<std::string> tokens;
    while (!text.empty()) {
        require(std::ssize(tokens) < most_tokens, "{}: expected at most {} lines", where,
                most_tokens);
        const std::size_t end = std::min(text.find('\n'), text.size());
        tokens.emplace_back(trimmed(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return Vocabulary(std::move(tokens), where);
}

Vocabulary Vocabulary::read(const std::filesystem::path& file) {
    const std::string where = fmt::format("[vocabulary] '{}'", file.string());
    return parse(read_text(file), where);
}

std::optional<std::int32_t> Vocabulary::find(std::string_view token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
}

const std::string& Vocabulary::token(std::int32_t id) const {
    require(id >= 0 && id < size(), "[vocabulary] expected an id from 0 to {}, got {}", size() - 1,
            id);
    return tokens_[static_cast<std::size_t>(id)];
}

}  // namespace slimgrad
