#include "instant/methods/patches.h"

#include <algorithm>
#include <charconv>

#include "tensor/ops.h"

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

class KeptRows final : public PackedTensor {
  public:
    explicit KeptRows(Tensor rows) : rows_(std::move(rows)) {}
    Tensor unpack() const override { return rows_; }
    std::vector<std::shared_ptr<Storage>> held() const override { return {rows_.storage()}; }

  private:
    Tensor rows_;
};

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

const Option& grid_option() {
    static const Option option{"grid", AnyText{},
                               "rows x columns of the tokens, 16x32 (empty: as the model states)",
                               std::string()};
    return option;
}

PatchGrid patch_grid(const LinearCall& call, const std::string& grid, std::int64_t patch) {
    return cut(call.layer, call.op->tokens(), call.op->window(), call.layout, grid, patch);
}

PatchGrid patch_grid(const LinearShape& layer, const std::string& grid, std::int64_t patch) {
    const TokenLayout stated{layer.rows, layer.columns, layer.extra};
    return cut(layer.name, layer.tokens, layer.window.has_value(), stated, grid, patch);
}

PatchRule::PatchRule(const MethodOptions& options, std::int64_t patch, std::string form)
    : grid_(options.own.get<std::string>(grid_option())),
      patch_(patch),
      min_tokens_(options.min_tokens),
      form_(std::move(form)) {
    parse_grid(grid_);  // before anything is trained
}

void PatchRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    if (!call.needs.gw) return;
    // Made once for all layers that share x: Q, K and V keep one x̂.
    const Packer packer(&grid_option(), fmt::format("{} {} {}", form_, grid_, call.input_group));
    saved.keep_once("x_hat", packer, x.held(), [&] {
        const PhaseScope phase("compress");
        return std::make_shared<KeptRows>(reduce_x(x, call));
    });
}

LinearGrads PatchRule::backward(const LinearGradient& gy, const Saved& saved,
                                const LinearCall& call) const {
    LinearGrads grads;
    if (!call.needs.gw && !call.needs.gx) return grads;
    Tensor g_hat;
    {
        const PhaseScope phase(call.needs.gw ? "g_w" : "g_x");
        g_hat = reduce_g(gy, call);
    }
    if (call.needs.gw) {
        const PhaseScope phase("g_w");
        grads.gw = gw(g_hat, saved.tensor("x_hat"), call);
    }
    if (call.needs.gx) {
        const PhaseScope phase("g_x");
        grads.gx = gx(g_hat, call);
    }
    return grads;
}

Tensor PatchRule::gw(const Tensor& g_hat, const Tensor& x_hat, const LinearCall&) const {
    return matmul_sum(g_hat, x_hat);  // (Cy,B·n)·(B·n,Cx)
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
