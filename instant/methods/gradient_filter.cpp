#include "instant/methods/gradient_filter.h"

#include <algorithm>

#include "instant/methods/patch_rule.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

enum class Pool { sum, mean };

/// One row for each patch, after the extra tokens: (B, L, C) -> (B, extra + p, C). One operation
/// for each token that a patch has: the additions, and a scaling (by 1 for a sum).
Tensor pooled(const Tensor& x, const PatchGrid& grid, Pool pool) {
    const std::int64_t batch = x.size(0), channels = x.size(2), patches = grid.patches();
    Tensor y = Tensor::zeros({batch, grid.extra + patches, channels});
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b) {
        const real* from = x.data() + b * x.size(1) * channels;
        real* to = y.data() + b * y.size(1) * channels;
        std::copy_n(from, grid.extra * channels, to);
        to += grid.extra * channels;
        for (std::int64_t p = 0; p < patches; ++p, to += channels) {
            std::int64_t tokens = 0;  // none in a window that lies in a convolution's padding
            grid.for_each_token(p, [&](std::int64_t token) {
                const real* row = from + token * channels;
                if (tokens++ == 0)
                    std::copy_n(row, channels, to);
                else
                    for (std::int64_t k = 0; k < channels; ++k) to[k] += row[k];
            });
            const real scale = pool == Pool::mean ? real(1) / static_cast<real>(tokens) : real(1);
            for (std::int64_t k = 0; tokens > 0 && k < channels; ++k) to[k] *= scale;
        }
    }
    meter().add(batch * channels * grid.covered());
    return y;
}

/// Each token gets what its patch has: (B, extra + p, C) -> (B, L, C)
Tensor copied(const Tensor& y, const PatchGrid& grid) {
    const std::int64_t batch = y.size(0), channels = y.size(2);
    Tensor x = Tensor::zeros({batch, grid.tokens(), channels});
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < batch; ++b) {
        const real* from = y.data() + b * y.size(1) * channels;
        real* to = x.data() + b * x.size(1) * channels;
        std::copy_n(from, grid.extra * channels, to);
        from += grid.extra * channels;
        for (std::int64_t p = 0; p < grid.patches(); ++p, from += channels)
            grid.for_each_token(
                p, [&](std::int64_t token) { std::copy_n(from, channels, to + token * channels); });
    }
    meter().add(0);
    return x;
}

/// The patches of x that belong to those of y: the same, or windows of pixels.
PatchGrid of_input(const PatchGrid& grid, const Window2d* window) {
    if (!window) return grid;
    const auto axis = [](const PatchAxis& y, const WindowAxis& x) {
        return PatchAxis{x.length, Checked(y.patch) * x.stride, y.count};
    };
    return {axis(grid.rows, window->rows), axis(grid.columns, window->columns)};
}

class GradientFilterRule final : public PatchRule {
  public:
    GradientFilterRule(const MethodOptions& options, std::int64_t patch)
        : PatchRule(options, patch, fmt::format("gradient-filter {}", patch)) {}

    std::string name() const override { return "gradient-filter"; }

  protected:
    Tensor reduce_x(const LinearInput& x, const LinearCall& call) const override {
        const Window2d* window = call.op->window();
        const PatchGrid grid = of_input(this->grid(call), window);
        return pooled(window ? pixels(x.held()) : x.matrix(), grid, Pool::sum);
    }

    Tensor reduce_g(const LinearGradient& gy, const LinearCall& call) const override {
        return pooled(gy.matrix(), grid(call), Pool::mean);
    }

    Tensor gw(const Tensor& g_hat, const Tensor& x_hat, const LinearCall& call) const override {
        const Tensor gw = matmul_sum(g_hat, x_hat);  // (Cy,B·n)·(B·n,C)
        const std::int64_t cy = gw.size(0), c = gw.size(1), taps = call.w.size(1) / c;
        return broadcast_to(gw.reshape({cy, c, 1}), {cy, c, taps}).reshape(call.w.shape());
    }

    Tensor gx(const Tensor& g_hat, const LinearCall& call) const override {
        const Window2d* window = call.op->window();
        const PatchGrid grid = of_input(this->grid(call), window);
        const bool kernel = window && window->taps() > 1;
        const Tensor w =
            kernel ? sum(call.w.reshape({call.w.size(0), -1, window->taps()}), 2) : call.w;
        const Tensor gx = copied(matmul(g_hat, w), grid);  // (B·n,Cy)·(Cy,C)
        return window ? transpose(gx, {0, 2, 1}).reshape(call.op->x_shape()) : gx;
    }

  private:
    /// (B, C, H, W) as (B, H·W, C)
    static Tensor pixels(const Tensor& x) {
        return transpose(x.reshape({x.size(0), x.size(1), x.size(2) * x.size(3)}), {0, 2, 1});
    }
};

std::int64_t patch_of(const MethodOptions& options) {
    return options.own.get<std::int64_t>(patch_option());
}

}  // namespace

const Option& patch_option() {
    static const Option option{"patch", Integers{1, 1024}, "tokens along a side of a patch",
                               std::int64_t{8}};
    return option;
}

std::shared_ptr<const BackwardRule> gradient_filter_rule(const RuleRequest& request) {
    return std::make_shared<const GradientFilterRule>(request.options, patch_of(request.options));
}

Compression gradient_filter_compression(const LinearShape& layer, const MethodOptions& options) {
    const std::string text = options.own.get<std::string>(grid_option());
    const PatchGrid of_y = patch_grid(layer, text, patch_of(options));
    const std::int64_t taps = layer.window ? layer.window->taps() : 1;
    const PatchGrid of_x = of_input(of_y, layer.window ? &*layer.window : nullptr);
    Compression compression;
    compression.form = [of_y, of_x, taps](const LinearShape& shape, std::int64_t samples,
                                          const Counted& counted) {
        const Checked batch = samples, n = of_y.extra + Checked(of_y.patches());
        const Checked cx = shape.in_channels, cy = shape.out_channels, c = cx / taps;
        const auto pool = [&](const Checked& channels, const PatchGrid& grid) {
            // Eq. 36 counts the padding too.
            const Checked whole = Checked(grid.patches()) * grid.patch_size();
            return batch * channels * (counted.as_published ? whole : Checked(grid.covered()));
        };
        LinearCost cost;
        cost.forward = batch * 2 * shape.tokens * cx * cy;
        if (counted.gw && !counted.shares_x) {
            cost.compress = pool(c, of_x);
            cost.saved_bytes = batch * number_bytes * n * c;
        }
        if (counted.gw) cost.g_w = batch * 2 * n * c * cy;
        if (counted.gx) cost.g_x = batch * 2 * n * c * cy + (taps > 1 ? cx * cy : Checked(0));
        if (counted.gw || counted.gx) (counted.gw ? cost.g_w : cost.g_x) += pool(cy, of_y);
        return cost;
    };
    return compression;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
