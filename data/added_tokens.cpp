#include "data/added_tokens.h"

#include <algorithm>

#include "data/safetensors_header.h"
#include "data/unicode.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

std::uint64_t edge(std::uint32_t node, char32_t c) { return std::uint64_t{node} << 32 | c; }

}  // namespace

void TokenFinder::add(std::u32string_view form, const AddedToken& token) {
    constexpr std::size_t longest = 1000;
    require(!form.empty() && form.size() <= longest,
            "expected from 1 to {} characters in the added token {}, got {}{}", longest,
            in_quotes(token.content), form.size(), token.normalized ? " when normalized" : "");
    std::uint32_t node = 0;
    for (const char32_t c : form) {
        const auto [next, is_new] =
            edges_.emplace(edge(node, c), static_cast<std::uint32_t>(ends_.size()));
        if (is_new) ends_.push_back(0);
        node = next->second;
    }
    if (ends_[node] != 0) return;
    tokens_.push_back(token);
    ends_[node] = tokens_.size();
}

TokenFinder::Match TokenFinder::longest(std::u32string_view text) const {
    Match found;
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto next = edges_.find(edge(node, text[i]));
        if (next == edges_.end()) break;
        node = next->second;
        if (ends_[node] != 0) found = {i + 1, ends_[node] - 1};
    }
    return found;
}

std::vector<TokenFinder::Part> TokenFinder::split(std::u32string_view text) const {
    std::vector<Part> parts;
    std::size_t done = 0;  // what lies before belongs to a part
    for (std::size_t at = 0; at < text.size();) {
        const Match match = longest(text.substr(at));
        if (match.length == 0) {
            ++at;
            continue;
        }
        std::size_t begin = at, end = at + match.length;
        at = end;
        const AddedToken& token = tokens_[match.token];
        if (token.single_word &&
            ((begin > 0 && is_word(text[begin - 1])) || (end < text.size() && is_word(text[end]))))
            continue;
        // A token before this one may have stripped what begins here.
        if (token.lstrip) {
            begin = std::max(begin, done);
            while (begin > done && is_whitespace(text[begin - 1])) --begin;
        }
        if (token.rstrip) {
            end = std::max(end, done);
            while (end < text.size() && is_whitespace(text[end])) ++end;
        }
        if (begin >= end) continue;
        if (begin > done) parts.push_back({text.substr(done, begin - done)});
        parts.push_back({text.substr(begin, end - begin), token.id});
        done = end;  // behind what was stripped if a token stood in it, as there
    }
    if (done < text.size()) parts.push_back({text.substr(done)});
    return parts;
}

}  // namespace slimgrad
