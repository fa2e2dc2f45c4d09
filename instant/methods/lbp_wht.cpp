#include "instant/methods/lbp_wht.h"

#include <algorithm>
#include <array>
#include <bit>

#include "instant/methods/patch_rule.h"
#include "nn/token_projection.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t side = 8, size = side * side;  // of a patch

/// How many pairs (r, c) of 0 … 7 there are with r + c < order.
std::int64_t functions(std::int64_t order) {
    std::int64_t count = 0;
    for (std::int64_t r = 0; r < side; ++r) count += std::clamp(order - r, std::int64_t{0}, side);
    return count;
}

/// H times `scale`: (R, 64)
Tensor walsh_hadamard(std::int64_t order, real scale) {
    // The rows of Hadamard's matrix (−1)^|i & j| in the order of their changes of sign.
    constexpr std::array<std::uint32_t, side> sequency{0, 4, 6, 2, 3, 7, 5, 1};
    const auto sign = [&](std::int64_t function, std::int64_t at) {
        const auto common = sequency[static_cast<std::size_t>(function)] & std::uint32_t(at);
        return std::popcount(common) % 2 == 0 ? real(1) : real(-1);
    };
    Tensor h({functions(order), size});
    real* out = h.data();
    for (std::int64_t r = 0; r < side; ++r)
        for (std::int64_t c = 0; c < side && r + c < order; ++c)
            for (std::int64_t t = 0; t < size; ++t)
                *out++ = scale * sign(r, t / side) * sign(c, t % side);
    return h;
}

/// A ragged side must be long enough to be mirrored.
const PatchGrid& mirrorable(const PatchGrid& grid, const std::string& layer) {
    for (const PatchAxis& axis : {grid.rows, grid.columns})
        require(-axis.start(0) < axis.length,
                "[{}] lbp-wht pads a side of {} tokens to {} by its mirror image, which needs more "
                "than {}. Hint: a grid with longer sides, or gradient-filter",
                layer, axis.length, axis.count * axis.patch, -axis.start(0));
    return grid;
}

/// Samples [first, first + count) of a batch, as (count, L, C).
using Part = std::function<Tensor(std::int64_t first, std::int64_t count)>;

/// Goes through a batch in parts that stay in the cache while they are cut and transformed; of a
/// convolution no more is unfolded at once.
template <class F>
void for_each_part(std::int64_t batch, const PatchGrid& grid, std::int64_t channels, F f) {
    constexpr std::int64_t numbers = 1 << 20;
    const std::int64_t most = std::max<std::int64_t>(
        1, numbers / std::max<std::int64_t>(1, grid.patches() * size * channels));
    for (std::int64_t first = 0; first < batch; first += most)
        f(first, std::min(most, batch - first));
}

class LbpWhtRule final : public PatchRule {
  public:
    LbpWhtRule(const MethodOptions& options, std::int64_t order)
        : PatchRule(options, side, fmt::format("lbp-wht {}", order)),
          sum_(walsh_hadamard(order, 1)),
          mean_(walsh_hadamard(order, real(1) / size)) {}

    std::string name() const override { return "lbp-wht"; }

  protected:
    Tensor reduce_x(const LinearInput& x, const LinearCall& call) const override {
        const Window2d* window = call.op->window();
        return coefficients(sum_, call, call.w.size(1), [&](auto first, auto count) {
            return window ? im2col(x.held().rows(first, count), *window)
                          : x.matrix().rows(first, count);
        });
    }

    Tensor reduce_g(const LinearGradient& gy, const LinearCall& call) const override {
        return coefficients(mean_, call, call.w.size(0),
                            [&](auto first, auto count) { return gy.matrix().rows(first, count); });
    }

    Tensor gx(const Tensor& g_hat, const LinearCall& call) const override {
        const PatchGrid grid = this->grid(call);
        const Window2d* window = call.op->window();
        const Tensor product = matmul(g_hat, call.w);  // (B·n,Cy)·(Cy,Cx)
        const std::int64_t channels = product.size(2), rank = sum_.size(0);
        Tensor gx(call.op->x_shape());
        for_each_part(g_hat.size(0), grid, channels, [&](auto first, auto count) {
            const Shape matrix{count, grid.tokens(), channels};
            Tensor part = gx.rows(first, count);
            Tensor tokens = window ? Tensor(matrix) : part.reshape(matrix);
            const Tensor hat = product.rows(first, count);
            copy_extra(hat, grid.extra, tokens);
            const Tensor of_patches = slice(hat, 1, grid.extra, grid.patches() * rank);
            from_patches(expand_tokens({Side::token, sum_},  // Hᵀ (ĝ W)      (64,R)·(R,Cx) a patch
                                       of_patches.reshape({-1, rank, channels})),
                         grid, tokens);
            if (!window) return;
            const PhaseScope phase("fold");
            part.copy_from(col2im(tokens, *window));
        });
        return gx;
    }

  private:
    /// H of every patch, after the tokens before the image: (B, n, C)
    Tensor coefficients(const Tensor& h, const LinearCall& call, std::int64_t channels,
                        const Part& tokens) const {
        const PatchGrid grid = mirrorable(this->grid(call), call.layer);
        const std::vector<std::int64_t> places = mirrored_tokens(grid);
        const std::int64_t batch = call.op->batch(), rank = h.size(0);
        Tensor all({batch, grid.extra + grid.patches() * rank, channels});
        for_each_part(batch, grid, channels, [&](auto first, auto count) {
            const Tensor x = tokens(first, count);
            const Tensor hat = project_tokens({Side::token, h},  // (R,64)·(64,C) a patch
                                              to_patches(x, grid, places));
            Tensor part = all.rows(first, count);
            copy_extra(x, grid.extra, part);
            for (std::int64_t b = 0; b < count; ++b)
                std::copy_n(hat.data() + b * grid.patches() * rank * channels,
                            grid.patches() * rank * channels,
                            part.data() + (b * part.size(1) + grid.extra) * channels);
        });
        return all;
    }

    /// The first rows of every sample.
    static void copy_extra(const Tensor& from, std::int64_t extra, Tensor& to) {
        const std::int64_t channels = from.size(2);
        for (std::int64_t b = 0; b < from.size(0); ++b)
            std::copy_n(from.data() + b * from.size(1) * channels, extra * channels,
                        to.data() + b * to.size(1) * channels);
    }

    Tensor sum_, mean_;  // H and H / 64
};

std::int64_t order_of(const MethodOptions& options) {
    return options.own.get<std::int64_t>(order_option());
}

}  // namespace

const Option& order_option() {
    static const Option option{"order", Integers{1, 15},
                               "Walsh-Hadamard functions (r, c) of r + c below it (15: all)",
                               std::int64_t{4}};
    return option;
}

std::shared_ptr<const BackwardRule> lbp_wht_rule(const RuleRequest& request) {
    return std::make_shared<const LbpWhtRule>(request.options, order_of(request.options));
}

Compression lbp_wht_compression(const LinearShape& layer, const MethodOptions& options) {
    const std::string text = options.own.get<std::string>(grid_option());
    const PatchGrid grid = mirrorable(patch_grid(layer, text, side), layer.name);
    const std::int64_t rank = functions(order_of(options));
    Compression compression;
    compression.form = [grid, rank](const LinearShape& shape, std::int64_t samples,
                                    const Counted& counted) {
        const Checked batch = samples, cx = shape.in_channels, cy = shape.out_channels;
        const Checked n = grid.extra + Checked(grid.patches()) * rank;
        const auto transform = [&](const Checked& channels) {  // eqs. 40, 41 and 43
            return batch * 2 * rank * channels * grid.patches() * size;
        };
        LinearCost cost;
        cost.forward = batch * 2 * shape.tokens * cx * cy;
        if (counted.gw) {
            if (!counted.shares_x) {
                cost.compress = transform(cx);
                cost.saved_bytes = batch * number_bytes * n * cx;
            }
            cost.g_w = batch * 2 * n * cx * cy;
            // Eq. 42 adds up a g_w of each function; here one product does.
            if (counted.as_published) cost.g_w += batch * rank * cx * cy;
        }
        if (counted.gx) cost.g_x = batch * 2 * n * cx * cy + transform(cx);
        if (counted.gw || counted.gx) (counted.gw ? cost.g_w : cost.g_x) += transform(cy);
        return cost;
    };
    return compression;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
