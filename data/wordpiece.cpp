#include "data/wordpiece.h"

#include <algorithm>

#include "data/unicode.h"

namespace slimgrad {

std::u32string normalize(std::u32string_view text, const NormalizerOptions& options) {
    std::u32string result(text);
    if (options.clean_text) {
        std::erase_if(result, [](char32_t c) { return c == U'\uFFFD' || is_control(c); });
        std::ranges::replace_if(result, is_whitespace, U' ');
    }
    if (options.handle_chinese_chars) {
        std::u32string spaced;
        spaced.reserve(result.size());
        for (const char32_t c : result) {
            if (is_cjk(c))
                spaced.append({U' ', c, U' '});
            else
                spaced += c;
        }
        result = std::move(spaced);
    }
    if (options.strip_accents.value_or(options.lowercase)) {
        result = nfd(result);
        std::erase_if(result, is_nonspacing_mark);
    }
    return options.lowercase ? lowercase(result) : result;
}

std::vector<std::u32string_view> split_words(std::u32string_view text) {
    std::vector<std::u32string_view> words;
    std::size_t begin = 0;
    for (std::size_t i = 0; i <= text.size(); ++i) {
        const bool end = i == text.size(), space = !end && is_whitespace(text[i]);
        if (!end && !space && !is_punctuation(text[i])) continue;
        if (i > begin) words.push_back(text.substr(begin, i - begin));
        if (!end && !space) words.push_back(text.substr(i, 1));
        begin = i + 1;
    }
    return words;
}

void append_pieces(std::u32string_view word, const Vocabulary& vocabulary,
                   const WordPieceOptions& options, std::vector<std::int32_t>& ids) {
    const std::size_t known = ids.size();
    if (std::ssize(word) > options.max_chars_per_word) {
        ids.push_back(options.unknown);
        return;
    }
    for (std::size_t begin = 0; begin < word.size();) {
        // No piece is longer than the longest token: a word of a million characters is cut fast.
        const std::size_t room = std::min(word.size() - begin, vocabulary.longest());
        std::string piece = begin == 0 ? "" : options.prefix;
        piece += encode_utf8(word.substr(begin, room));
        std::size_t end = begin + room;
        std::optional<std::int32_t> id;
        while (end > begin && !(id = vocabulary.find(piece))) {
            // One character less: its bytes are the last that continue (10xxxxxx) and one before.
            --end;
            while ((piece.back() & 0xC0) == 0x80) piece.pop_back();
            piece.pop_back();
        }
        if (!id) {
            ids.resize(known);
            ids.push_back(options.unknown);
            return;
        }
        ids.push_back(*id);
        begin = end;
    }
}

}  // namespace slimgrad
