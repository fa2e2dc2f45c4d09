#include "instant/methods/patch_grid.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "tensor/kernels/elementwise.h"
#include "tensor/option.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Rows and columns of "16x32"; none of an empty text.
std::optional<TokenLayout> parse_grid(const std::string& text) {
    if (text.empty()) return std::nullopt;
    TokenLayout layout;
    const char* const end = text.data() + text.size();
    const auto rows = std::from_chars(text.data(), end, layout.rows);
    const bool two = rows.ec == std::errc() && rows.ptr != end && *rows.ptr == 'x';
    const auto columns = std::from_chars(two ? rows.ptr + 1 : end, end, layout.columns);
    if (!two || columns.ec != std::errc() || columns.ptr != end || layout.rows <= 0 ||
        layout.columns <= 0)
        fail("[method] expected rows and columns as grid, 16x32 for example, got {}",
             slimgrad::shown(text));
    return layout;
}

/// `stated`: by the model, or by a convolution of its positions.
PatchGrid cut(const std::string& layer, std::int64_t tokens, bool convolution, TokenLayout stated,
              const std::string& grid, std::int64_t patch) {
    if (const auto given = convolution ? std::nullopt : parse_grid(grid)) {
        stated.rows = given->rows;
        stated.columns = given->columns;
    }
    const auto& [rows, columns, extra, padding] = stated;
    require(rows > 0 && columns > 0,
            "[{}] the method treats tokens as an image, but nothing says of how many rows and "
            "columns. Hint: --grid 16x32 (grid=\"16x32\") for 512 tokens; or TokenScope in the "
            "model",
            layer);
    const auto axis = [&](std::int64_t length) {
        return PatchAxis{length, patch, (length - 1) / patch + 1};
    };
    const PatchGrid result{axis(rows), axis(columns), extra};
    require(result.tokens() == tokens,
            "[{}] the grid has {}x{} tokens and {} before it, got {} tokens. Hint: --grid", layer,
            rows, columns, extra, tokens);
    return result;
}

}  // namespace

std::int64_t PatchAxis::start(std::int64_t i) const {
    const std::int64_t padding = count * patch - length;
    return i * patch - (padding > 0 ? (padding + 1) / 2 : padding / 2);
}

PatchAxis::Range PatchAxis::inside(std::int64_t i) const {
    const std::int64_t begin = std::clamp(start(i), std::int64_t{0}, length);
    return {begin, std::clamp(start(i) + patch, begin, length)};
}

std::int64_t PatchGrid::covered() const {
    // Of an axis; patches lie side by side.
    const auto covered = [](const PatchAxis& axis) {
        return Checked(std::min(axis.length, axis.count * axis.patch));
    };
    return covered(rows) * covered(columns);
}

void check_grid(const std::string& grid) { parse_grid(grid); }

PatchGrid patch_grid(const LinearCall& call, const std::string& grid, std::int64_t patch) {
    return cut(call.layer, call.op->tokens(), call.op->window(), call.layout, grid, patch);
}

PatchGrid patch_grid(const LinearShape& layer, const std::string& grid, std::int64_t patch) {
    const TokenLayout stated{layer.rows, layer.columns, layer.extra};
    return cut(layer.name, layer.tokens, layer.window.has_value(), stated, grid, patch);
}

std::vector<std::int64_t> mirrored_tokens(const PatchGrid& grid) {
    const auto position = [](const PatchAxis& axis, std::int64_t i, std::int64_t t) {
        const std::int64_t at = std::abs(axis.start(i) + t), last = axis.length - 1;
        return last - std::abs(last - at);
    };
    std::vector<std::int64_t> tokens;
    for (std::int64_t i = 0; i < grid.rows.count; ++i)
        for (std::int64_t j = 0; j < grid.columns.count; ++j)
            for (std::int64_t r = 0; r < grid.rows.patch; ++r)
                for (std::int64_t c = 0; c < grid.columns.patch; ++c)
                    tokens.push_back(position(grid.rows, i, r) * grid.columns.length +
                                     position(grid.columns, j, c));
    return tokens;
}

Tensor to_patches(const Tensor& x, const PatchGrid& grid, const std::vector<std::int64_t>& token) {
    const std::int64_t batch = x.size(0), channels = x.size(2);
    const std::int64_t places = grid.patches() * grid.patch_size();
    Tensor y({batch * grid.patches(), grid.patch_size(), channels});
#pragma omp parallel for collapse(2) schedule(static) if (y.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t t = 0; t < places; ++t)
            std::copy_n(x.data() + (b * x.size(1) + grid.extra + token[std::size_t(t)]) * channels,
                        channels, y.data() + (b * places + t) * channels);
    return y;
}

void from_patches(const Tensor& y, const PatchGrid& grid, Tensor& x) {
    const std::int64_t batch = x.size(0), channels = x.size(2);
    const std::int64_t columns = grid.columns.count, patches = grid.patches();
    const std::int64_t side = grid.columns.patch, size = grid.patch_size();
#pragma omp parallel for collapse(2) schedule(static) if (y.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t p = 0; p < patches; ++p) {
            const std::int64_t i = p / columns, j = p % columns;
            const PatchAxis::Range vertical = grid.rows.inside(i), run = grid.columns.inside(j);
            for (std::int64_t r = vertical.begin; r < vertical.end; ++r) {
                const std::int64_t place =
                    (r - grid.rows.start(i)) * side + run.begin - grid.columns.start(j);
                const std::int64_t to = grid.extra + r * grid.columns.length + run.begin;
                std::copy_n(y.data() + ((b * patches + p) * size + place) * channels,
                            run.size() * channels, x.data() + (b * x.size(1) + to) * channels);
            }
        }
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
