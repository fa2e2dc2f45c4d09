#include "data/tokenizer.h"

#include <algorithm>

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
                     std::vector<std::string> added)
    : vocabulary_(std::move(vocabulary)),
      normalizer_(normalizer),
      pieces_(pieces),
      whole_(std::move(added)),
      pad_(need("[PAD]", where)),
      cls_(need("[CLS]", where)),
      sep_(need("[SEP]", where)) {
    pieces_.unknown = need("[UNK]", where);
    for (const char* const special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
        if (vocabulary_.find(special)) whole_.emplace_back(special);
    // The longest first: of those that begin at one place it is taken.
    std::ranges::sort(whole_, [](const std::string& a, const std::string& b) {
        return a.size() != b.size() ? a.size() > b.size() : a < b;
    });
    whole_.erase(std::unique(whole_.begin(), whole_.end()), whole_.end());
    for (const std::string& token : whole_) need(token, where);
}

std::int32_t Tokenizer::need(std::string_view token, std::string_view where) const {
    const std::optional<std::int32_t> id = vocabulary_.find(token);
    require(id.has_value(),
            "{}: expected the token {} among the {} of the vocabulary. Hint: is it BERT's?", where,
            token, vocabulary_.size());
    return *id;
}

Tokenizer Tokenizer::open_vocabulary(const std::filesystem::path& file,
                                     const NormalizerOptions& normalizer) {
    return Tokenizer(Vocabulary::read(file), normalizer, {},
                     fmt::format("[tokenizer] '{}'", file.string()));
}

void Tokenizer::append_text(std::string_view text, std::vector<std::int32_t>& ids) const {
    const std::u32string normal = normalize(decode_utf8(text, "[tokenizer] text"), normalizer_);
    for (const std::u32string_view word : split_words(normal))
        append_pieces(word, vocabulary_, pieces_, ids);
}

std::vector<std::int32_t> Tokenizer::tokenize(std::string_view text) const {
    const std::size_t invalid = find_invalid_utf8(text);
    require(invalid == std::string_view::npos,
            "[tokenizer] expected UTF-8, byte {} of the text begins no character", invalid);
    std::vector<std::int32_t> ids;
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::string_view rest = text.substr(at);
        const auto token = std::ranges::find_if(
            whole_, [&](const std::string& candidate) { return rest.starts_with(candidate); });
        if (token == whole_.end()) {
            ++at;
            continue;
        }
        append_text(text.substr(begin, at - begin), ids);
        ids.push_back(*vocabulary_.find(*token));
        begin = at += token->size();
    }
    append_text(text.substr(begin), ids);
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
