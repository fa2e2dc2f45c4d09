#include "nn/conv2d.h"

#include "nn/init.h"
#include "nn/projected_conv2d.h"
#include "tensor/kernels/convolution.h"
#include "tensor/ops.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

// y = unfold(x) Wᵀ + b, with L = H'·W' tokens of Cx = C·kh·kw channels
//   g_w = Σ_b g_bᵀ unfold(x_b)      g_x = fold(g W)      g_b = Σ g over samples and positions
// Three functions compute it. UnfoldedConv2d hands the unfolded matrix to a rule: every method
// works there. The other two do what common rules would do, without ever holding the unfolded
// batch: ExactConv2d the exact rule, also for groups, and projected_conv2d.h those that project. An
// exact slot keeps the raw x in all three.

class Conv2dFunction : public Function {
  public:
    Conv2dFunction(std::string name, const Window2d& window)
        : name_(std::move(name)), window_(window) {}
    std::string name() const override { return name_; }

  protected:
    static Needs needed(const Saved& saved) {
        return {saved.needs(0), saved.needs(1), saved.inputs() == 3 && saved.needs(2)};
    }

    std::string name_;
    Window2d window_;
};

/// What a basis expands to, (Cy, Cx), as filters (Cy, C, kh, kw).
class FilterBasis final : public Basis {
  public:
    FilterBasis(std::shared_ptr<const Basis> matrix, Shape filters)
        : matrix_(std::move(matrix)), filters_(std::move(filters)) {}
    Tensor expand(const Tensor& compressed) const override {
        return matrix_->expand(compressed).reshape(filters_);
    }

  private:
    std::shared_ptr<const Basis> matrix_;
    Shape filters_;
};

class UnfoldedConv2d final : public Conv2dFunction {
  public:
    UnfoldedConv2d(std::string name, const Window2d& window,
                   std::shared_ptr<const BackwardRule> rule)
        : Conv2dFunction(std::move(name), window), rule_(std::move(rule)) {}

    // inputs: x (B, C, H, W), W (Cy, C, kh, kw) and, if there is one, b (Cy,)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor &x = in[0], &w = in[1];
        const LinearInput tokens(
            x, [window = window_](const Tensor& held) { return im2col(held, window); });
        saved.keep(Keep::exact, "w", w);
        // (B, L, Cy)
        Tensor y = forward_by(*rule_, name_, tokens, matrix(w), saved, needed(saved));
        if (in.size() == 3) {
            const PhaseScope phase("bias");
            add_row_in_place(y, in[2]);
        }
        return transpose(y, {0, 2, 1})
            .reshape({x.size(0), w.size(0), window_.rows.positions(), window_.columns.positions()});
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor w = saved.tensor("w");
        const Tensor g =
            transpose(gy.reshape({gy.size(0), gy.size(1), window_.positions()}), {0, 2, 1});
        const Needs needs = needed(saved);
        auto [gx, gw, gb] = backward_by(*rule_, name_, g, matrix(w), saved, needs);
        if (gx.defined()) {
            const PhaseScope phase("fold");
            gx = col2im(gx, window_);
        }
        if (gw.basis)
            gw.basis = std::make_shared<FilterBasis>(gw.basis, w.shape());
        else if (gw.defined())
            gw.value = gw.value.reshape(w.shape());
        std::vector<Grad> grads{gx, gw};
        if (needs.gb && !gb.defined()) {
            const PhaseScope phase("g_b");
            gb = sum_tokens(g);
        }
        if (saved.inputs() == 3) grads.emplace_back(gb);
        return grads;
    }

  private:
    static Tensor matrix(const Tensor& w) { return w.reshape({w.size(0), -1}); }  // (Cy, Cx)

    std::shared_ptr<const BackwardRule> rule_;
};

class ExactConv2d final : public Conv2dFunction {
  public:
    ExactConv2d(std::string name, const Window2d& window, std::int64_t groups)
        : Conv2dFunction(std::move(name), window), groups_(groups) {}

    // inputs: x (B, C, H, W), W (Cy, C/groups, kh, kw) and, if there is one, b (Cy,)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor &x = in[0], &w = in[1];
        saved.keep(Keep::exact, "w", w);
        if (needed(saved).gw) saved.keep(Keep::activation, "x", x);
        Tensor y = conv_forward(x, w, window_, groups_);
        if (in.size() == 3) {
            const PhaseScope phase("bias");
            add_channels_in_place(y, in[2]);
        }
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor w = saved.tensor("w");
        std::vector<Grad> grads(saved.inputs());
        if (needed(saved).gw) {
            const PhaseScope phase("g_w");
            grads[1] = conv_gw(gy, saved.tensor("x"), w.shape(), window_, groups_);
        }
        if (needed(saved).gx) {
            const PhaseScope phase("g_x");
            grads[0] = conv_gx(gy, w, window_, groups_);
        }
        if (saved.inputs() == 3 && saved.needs(2)) {
            const PhaseScope phase("g_b");
            grads[2] = sum_channels(gy);
        }
        return grads;
    }

  private:
    std::int64_t groups_;
};

}  // namespace

Window2d make_window(const std::string& layer, std::int64_t height, std::int64_t width, Pair kernel,
                     Pair stride, Pair padding, Pair dilation) {
    const Window2d window{
        {height, kernel.rows, stride.rows, padding.rows, dilation.rows},
        {width, kernel.columns, stride.columns, padding.columns, dilation.columns}};
    require(window.positions() > 0,
            "[{}] a kernel of {}x{} with dilation {}x{} does not fit into an image of {}x{} with "
            "padding {}x{}",
            layer, kernel.rows, kernel.columns, dilation.rows, dilation.columns, height, width,
            padding.rows, padding.columns);
    return window;
}

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, const Conv2dOptions& options,
               Stream& stream)
    : options_(options) {
    const auto at_least = [](Pair pair, std::int64_t least) {
        return pair.rows >= least && pair.columns >= least;
    };
    require(in_channels > 0 && out_channels > 0 && at_least(options.kernel, 1) &&
                at_least(options.stride, 1) && at_least(options.dilation, 1) &&
                at_least(options.padding, 0),
            "[conv2d] channels, kernel, stride and dilation must be at least 1 and padding at "
            "least 0");
    require(options.groups > 0 && in_channels % options.groups == 0 &&
                out_channels % options.groups == 0,
            "[conv2d] {} groups must divide {} input channels and {} output channels",
            options.groups, in_channels, out_channels);
    const Shape& shape = weight_shape_ = {out_channels, in_channels / options.groups,
                                          options.kernel.rows, options.kernel.columns};
    const std::int64_t fan_in = numel({shape.begin() + 1, shape.end()});
    weight_ = Parameter(kaiming_uniform(shape, fan_in, stream));
    if (options.bias) bias_ = Parameter(kaiming_uniform({out_channels}, fan_in, stream));
    set_compressible(options.groups == 1);
}

Var Conv2d::forward(const Var& x) {
    require_shape(path(), "a weight", weight_.value, weight_shape_);
    if (options_.bias) require_shape(path(), "a bias", bias_.value, {weight_shape_[0]});
    const std::int64_t channels = weight_shape_[1] * options_.groups;
    require(x.value().ndim() == 4 && x.size(1) == channels,
            "[{}] expected images (batch, {}, height, width), got {}", path(), channels,
            shown(x.shape()));
    const Window2d window = make_window(path(), x.size(2), x.size(3), options_.kernel,
                                        options_.stride, options_.padding, options_.dilation);
    Tape& tape = x.tape();
    std::vector<Var> inputs{x, tape.parameter(weight_)};
    if (options_.bias) inputs.push_back(tape.parameter(bias_));
    const std::shared_ptr<const BackwardRule>& rule = rule_on(tape);
    if (options_.groups > 1 || std::dynamic_pointer_cast<const ExactRule>(rule))
        return tape.apply(std::make_shared<ExactConv2d>(path(), window, options_.groups), inputs);
    if (auto subspaces = rule->subspaces())
        return tape.apply(projected_conv2d(path(), window, std::move(*subspaces)), inputs);
    return tape.apply(std::make_shared<UnfoldedConv2d>(path(), window, rule), inputs);
}

void Conv2d::visit(Visitor& visitor) {
    visitor.parameter("weight", weight_);
    if (bias()) visitor.parameter("bias", bias_);
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
