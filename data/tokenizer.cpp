#include "data/tokenizer.h"

#include <algorithm>
#include <map>

#include "data/safetensors_header.h"
#include "data/unicode.h"
#include "tensor/error.h"

namespace slimgrad {

Kept keep_longest_first(std::int64_t first, std::int64_t second, std::int64_t room) {
    if (first + second <= room) return {first, second};
    const std::int64_t shorter = std::min({first, second, room / 2});
    return first > second ? Kept{room - shorter, shorter} : Kept{shorter, room - shorter};
}

Tokenizer::Tokenizer(Vocabulary vocabulary, const NormalizerOptions& normalizer,
                     const WordPieceOptions& pieces, std::string_view where,
                     std::vector<AddedToken> added)
    : vocabulary_(std::move(vocabulary)),
      normalizer_(normalizer),
      pieces_(pieces),
      added_(std::move(added)),
      notes_(vocabulary_.notes()) {
    for (const char* const special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
        if (std::ranges::find(added_, special, &AddedToken::content) == added_.end() &&
            vocabulary_.find(special))
            added_.push_back({.content = special, .special = true});
    place_added(where);
    make_finders(where);
    pad_ = need("[PAD]", where);
    cls_ = need("[CLS]", where);
    sep_ = need("[SEP]", where);
    pieces_.unknown = need("[UNK]", where);
}

/// Gives every added token its id and finds out where the ids end.
void Tokenizer::place_added(std::string_view where) {
    // Empty places at the end of the vocabulary are ids only if a token takes them.
    std::int64_t end = vocabulary_.size();
    while (vocabulary_.token(static_cast<std::int32_t>(end - 1)).empty()) --end;
    size_ = end;
    std::map<std::int64_t, std::string_view> taken;  // by tokens that the vocabulary has not
    for (AddedToken& token : added_) {
        if (const auto known = vocabulary_.find(token.content)) {
            require(token.id == AddedToken::next_id || token.id == *known,
                    "{}: expected the id {} for the added token {}, which is in the vocabulary, "
                    "got {}",
                    where, *known, in_quotes(token.content), token.id);
            token.id = *known;
            continue;
        }
        if (token.id == AddedToken::next_id)
            token.id = static_cast<std::int32_t>(
                std::max(vocabulary_.size(), taken.empty() ? 0 : taken.rbegin()->first + 1));
        const bool free = token.id >= 0 &&
                          (token.id >= vocabulary_.size() || vocabulary_.token(token.id).empty());
        const auto [place, is_new] = taken.emplace(token.id, token.content);
        require(free && is_new, "{}: expected an id for the added token {} that is free, {} is {}",
                where, in_quotes(token.content), token.id,
                free ? in_quotes(place->second)
                     : in_quotes(token.id < 0 ? "" : vocabulary_.token(token.id)));
        size_ = std::max<std::int64_t>(size_, token.id + 1);
    }
    std::int64_t next = vocabulary_.size();
    for (auto place = taken.lower_bound(next); place != taken.end(); ++place, ++next)
        require(place->first == next,
                "{}: expected the id {} for the added token {}, the first that is free, got {}",
                where, next, in_quotes(place->second), place->first);
    std::ranges::stable_sort(added_, {}, &AddedToken::id);
}

void Tokenizer::make_finders(std::string_view where) {
    try {
        for (const AddedToken& token : added_) {
            const std::u32string form = decode_utf8(token.content, "an added token");
            if (token.normalized)
                normalized_.add(normalize(form, normalizer_), token);
            else
                as_they_stand_.add(form, token);
        }
    } catch (const Error& error) {
        fail("{}: {}", where, error.what());
    }
}

std::optional<std::int32_t> Tokenizer::find(std::string_view token) const {
    if (const auto known = vocabulary_.find(token)) return known;
    const auto found = std::ranges::find(added_, token, &AddedToken::content);
    if (found == added_.end()) return std::nullopt;
    return found->id;
}

std::int32_t Tokenizer::need(std::string_view token, std::string_view where) const {
    const std::optional<std::int32_t> id = find(token);
    require(id.has_value(),
            "{}: expected the token {} among the {} of the vocabulary. Hint: is it BERT's?", where,
            token, size_);
    return *id;
}

Tokenizer Tokenizer::open_vocabulary(const std::filesystem::path& file,
                                     const NormalizerOptions& normalizer) {
    return Tokenizer(Vocabulary::read(file), normalizer, {},
                     fmt::format("[tokenizer] '{}'", file.string()));
}

std::vector<std::int32_t> Tokenizer::tokenize(std::string_view text) const {
    const std::size_t invalid = find_invalid_utf8(text);
    require(invalid == std::string_view::npos,
            "[tokenizer] expected UTF-8, byte {} of the text begins no character", invalid);
    const std::u32string characters = decode_utf8(text, "[tokenizer] text");
    std::vector<std::int32_t> ids;
    for (const TokenFinder::Part& part : as_they_stand_.split(characters)) {
        if (part.id >= 0) {
            ids.push_back(part.id);
            continue;
        }
        const std::u32string normal = normalize(part.text, normalizer_);
        for (const TokenFinder::Part& piece : normalized_.split(normal)) {
            if (piece.id >= 0) {
                ids.push_back(piece.id);
                continue;
            }
            for (const std::u32string_view word : split_words(piece.text))
                append_pieces(word, vocabulary_, pieces_, ids);
        }
    }
    return ids;
}

Encoding Tokenizer::encode(std::string_view text, std::int64_t max_length) const {
    require(max_length == 0 || max_length >= 2,
            "[tokenizer] expected a length of at least 2 for a text, for [CLS] and [SEP], got {}",
            max_length);
    Encoding encoding{tokenize(text), {}};
    std::vector<std::int32_t>& ids = encoding.ids;
    if (max_length > 0 && std::ssize(ids) > max_length - 2)
        ids.resize(static_cast<std::size_t>(max_length - 2));
    ids.insert(ids.begin(), cls_);
    ids.push_back(sep_);
    encoding.types.assign(ids.size(), 0);
    return encoding;
}

Encoding Tokenizer::encode(std::string_view first, std::string_view second,
                           std::int64_t max_length) const {
    require(max_length == 0 || max_length >= 3,
            "[tokenizer] expected a length of at least 3 for a pair, for [CLS] and two [SEP], got "
            "{}",
            max_length);
    Encoding encoding{tokenize(first), {}};
    std::vector<std::int32_t> rest = tokenize(second);
    std::vector<std::int32_t>& ids = encoding.ids;
    if (max_length > 0) {
        const Kept kept = keep_longest_first(std::ssize(ids), std::ssize(rest), max_length - 3);
        ids.resize(static_cast<std::size_t>(kept.first));
        rest.resize(static_cast<std::size_t>(kept.second));
    }
    ids.insert(ids.begin(), cls_);
    ids.push_back(sep_);
    encoding.types.assign(ids.size(), 0);
    ids.insert(ids.end(), rest.begin(), rest.end());
    ids.push_back(sep_);
    encoding.types.resize(ids.size(), 1);
    return encoding;
}

}  // namespace slimgrad
