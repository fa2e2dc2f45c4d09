#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "instant/cost/trace.h"
#include "nn/backward_rule.h"
#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// What methods share that see the tokens of a linear map as an image, and cut it into patches.

/// One side of an image under `count` patches of `patch` positions each. What they cover beyond the
/// image stands at both ends, an odd position more before it: the first patch begins at
/// −⌈(count·patch − length)/2⌉. Where they cover less, the image is left out as evenly.
struct PatchAxis {
    std::int64_t length, patch, count;

    struct Range {
        std::int64_t begin, end;
        std::int64_t size() const { return end - begin; }
    };
    /// Where patch i begins, maybe outside the image.
    std::int64_t start(std::int64_t i) const;
    /// The positions of patch i that lie inside the image.
    Range inside(std::int64_t i) const;
};

/// Tokens that are an image, row by row, in patches. `extra` tokens stand before it (a class
/// token); methods treat them exactly.
struct PatchGrid {
    PatchAxis rows, columns;
    std::int64_t extra = 0;

    std::int64_t patches() const { return Checked(rows.count) * columns.count; }
    std::int64_t patch_size() const { return Checked(rows.patch) * columns.patch; }
    std::int64_t tokens() const { return extra + Checked(rows.length) * columns.length; }
    /// The tokens of the image that some patch covers: all of them, unless patches cover less.
    std::int64_t covered() const;
    /// Calls f(token) for each token of patch p; the extra ones count.
    template <class F>
    void for_each_token(std::int64_t p, F f) const {
        const PatchAxis::Range vertical = rows.inside(p / columns.count);
        const PatchAxis::Range horizontal = columns.inside(p % columns.count);
        for (std::int64_t r = vertical.begin; r < vertical.end; ++r)
            for (std::int64_t c = horizontal.begin; c < horizontal.end; ++c)
                f(extra + r * columns.length + c);
    }
};

/// Throws Error unless a text is a grid, "16x32", or empty.
void check_grid(const std::string& grid);
/// The tokens of a linear map in patches of patch x patch tokens: those of a convolution are the
/// positions of its window, others have the rows and columns of `grid` or, if it is empty, those
/// that the model states. Throws Error, naming the layer, if there are none, or if they are not the
/// tokens that came.
PatchGrid patch_grid(const LinearCall& call, const std::string& grid, std::int64_t patch);
PatchGrid patch_grid(const LinearShape& layer, const std::string& grid, std::int64_t patch);

/// The token of the image that stands at each place of each patch; beyond an edge it is the mirror
/// image that stands there.
std::vector<std::int64_t> mirrored_tokens(const PatchGrid& grid);

/// (B, L, C) in patches, `token` at each of their places: (B·p, patch_size, C)
Tensor to_patches(const Tensor& x, const PatchGrid& grid, const std::vector<std::int64_t>& token);
/// Writes (B·p, patch_size, C) into the image of tokens (B, L, C); what is beyond its edges is
/// dropped.
void from_patches(const Tensor& y, const PatchGrid& grid, Tensor& x);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
