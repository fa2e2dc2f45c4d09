#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Texts as ids of their tokens, all filled up with padding to one length L.
struct Tokens {
    std::int64_t length = 0;          // L
    std::vector<std::int32_t> ids;    // (B, L)
    std::vector<std::int32_t> types;  // (B, L): which sentence of a pair a token belongs to, 0 or 1
    Tensor key_padding;  // (B, L): 1 where there is padding, else 0 (AttentionMask::key_padding)

    Shape shape() const;
    /// How many of the tokens are padding.
    std::int64_t padding() const;
};

/// Some samples of a data set: images in `x` or texts in `tokens`; the other one is empty.
struct Batch {
    Tensor x;                           // (B, C, H, W), normalised
    std::vector<std::int32_t> labels;   // B of them
    std::vector<std::int64_t> indices;  // which samples of the data set these are
    std::int64_t step = 0;
    Tokens tokens{};

    std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
    /// Samples [begin, begin + count), sharing the values of x. Throws Error if there are fewer.
    Batch part(std::int64_t begin, std::int64_t count) const;
};

/// 64 bits that stand for the values and the labels of a batch: two runs that log the same ones
/// have seen the same batches, to the last bit.
std::uint64_t digest(const Batch& batch);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
