#include "data/batch.h"

#include <cstring>

namespace slimgrad::inline SLIMGRAD_PRECISION {

Shape Tokens::shape() const { return {length == 0 ? 0 : std::ssize(ids) / length, length}; }

Batch Batch::part(std::int64_t begin, std::int64_t count) const {
    require(begin >= 0 && count >= 0 && begin <= size() && count <= size() - begin,
            "[data] a batch of {} samples has no part of {} from {}", size(), count, begin);
    const auto cut = [&](const auto& all, std::int64_t each = 1) {
        return std::remove_cvref_t<decltype(all)>(all.begin() + begin * each,
                                                  all.begin() + (begin + count) * each);
    };
    Batch result{{}, cut(labels), cut(indices), step};
    if (x.defined()) result.x = x.rows(begin, count);
    if (tokens.key_padding.defined())
        result.tokens = {tokens.length, cut(tokens.ids, tokens.length),
                         cut(tokens.types, tokens.length), tokens.key_padding.rows(begin, count)};
    return result;
}

std::uint64_t digest(const Batch& batch) {
    // FNV-1a (Fowler, Noll and Vo) on words of 32 bits: each step is a bijection of the state.
    std::uint64_t state = 0xcbf29ce484222325;
    const auto add = [&state](const void* data, std::size_t bytes) {
        for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
            std::uint32_t word = 0;
            std::memcpy(&word, static_cast<const char*>(data) + at, sizeof word);
            state = (state ^ word) * 0x100000001b3;
        }
    };
    if (batch.x.defined()) add(batch.x.data(), batch.x.values().size_bytes());
    for (const auto* integers : {&batch.tokens.ids, &batch.tokens.types, &batch.labels})
        add(integers->data(), integers->size() * sizeof integers->front());
    return state;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
