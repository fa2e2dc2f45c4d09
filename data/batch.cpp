#include "data/batch.h"

#include <algorithm>

#include "data/digest.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

Shape Tokens::shape() const { return {length == 0 ? 0 : std::ssize(ids) / length, length}; }

std::int64_t Tokens::padding() const {
    return key_padding.defined()
               ? std::ranges::count_if(key_padding.values(), [](real v) { return v != 0; })
               : 0;
}

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
    Digest digest;
    if (batch.x.defined()) digest.add(batch.x.data(), batch.x.values().size_bytes());
    for (const auto* integers : {&batch.tokens.ids, &batch.tokens.types, &batch.labels})
        digest.add(integers->data(), integers->size() * sizeof integers->front());
    return digest.value();
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
