#include "data/vocabulary.h"

#include "data/file.h"
#include "data/safetensors_header.h"
#include "data/unicode.h"
#include "tensor/error.h"

namespace slimgrad {

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::string_view where)
    : tokens_(std::move(tokens)) {
    require(!tokens_.empty(), "{}: expected a token on each line, got none", where);
    ids_.reserve(tokens_.size());
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
        const std::string& token = tokens_[i];
        require(!token.empty(), "{}: line {}: expected a token, got nothing", where, i + 1);
        const std::size_t invalid = find_invalid_utf8(token);
        require(invalid == std::string::npos,
                "{}: line {}: expected UTF-8, byte {} of the line begins no character", where,
                i + 1, invalid);
        const auto [known, is_new] = ids_.emplace(token, static_cast<std::int32_t>(i));
        require(is_new, "{}: line {}: expected each token once, {} is on line {} too", where, i + 1,
                in_quotes(token), known->second + 1);
    }
}

Vocabulary Vocabulary::read(const std::filesystem::path& file) {
    std::vector<std::string> tokens = read_lines(file);
    for (std::string& token : tokens) token.erase(token.find_last_not_of(" \t") + 1);
    return Vocabulary(std::move(tokens), fmt::format("[vocabulary] '{}'", file.string()));
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
