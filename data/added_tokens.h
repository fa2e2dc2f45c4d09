#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace slimgrad {

/// A token that a text is searched for as a whole, before its words are cut into pieces; `flags`
/// as in Hugging Face's `tokenizers`.
struct AddedToken {
    static constexpr std::int32_t next_id = -1;  // the first one that is free

    std::string content;
    std::int32_t id = next_id;
    bool single_word = false;  // not where it begins or ends inside a word
    bool lstrip = false;       // with the white space before it
    bool rstrip = false;       // and behind it
    bool normalized = false;   // searched for after normalisation, in its own normal form
    bool special = false;      // of the model, like [SEP], not of the language

    bool operator==(const AddedToken&) const = default;
};

/// Finds tokens in a text: from its beginning to its end, of those that begin at one place the
/// longest. Time grows with the length of the text, whatever the number of tokens.
class TokenFinder {
  public:
    /// Adds a token in the form in which texts have it. Of two equal forms the first is found.
    /// Throws Error if the form is empty or longer than 1000 characters.
    void add(std::u32string_view form, const AddedToken& token);

    /// A piece of the text between tokens, or a token.
    struct Part {
        std::u32string_view text;
        std::int32_t id = -1;  // of a token
    };
    /// The parts in order, without empty ones; views into `text`.
    std::vector<Part> split(std::u32string_view text) const;

  private:
    struct Match {
        std::size_t length = 0;
        std::size_t token = 0;
    };
    Match longest(std::u32string_view text) const;

    std::vector<AddedToken> tokens_;
    // A tree of characters: from a node (0 is the root) by a character to the next node.
    std::unordered_map<std::uint64_t, std::uint32_t> edges_;
    std::vector<std::size_t> ends_{0};  // of each node: the token that ends there + 1, or 0
};

}  // namespace slimgrad
