#include "instant/lab/gradient_study.h"

#include <cmath>
#include <map>

#include "nn/linear_map.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

using Watch = std::function<void(const LinearGradient& gy, const Saved& saved,
                                 const LinearCall& call, const LinearGrads& grads)>;

/// Does what another rule does, and lets someone watch its backward.
class WatchedRule final : public BackwardRule {
  public:
    WatchedRule(std::shared_ptr<const BackwardRule> rule, Watch watch)
        : rule_(std::move(rule)), watch_(std::move(watch)) {}
    std::string name() const override { return rule_->name(); }
    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        return rule_->forward(x, saved, call);
    }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        rule_->save(x, saved, call);
    }
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        LinearGrads grads = backward_by(*rule_, gy.value(), saved, call);
        watch_(gy, saved, call, grads);
        return grads;
    }

  private:
    std::shared_ptr<const BackwardRule> rule_;
    Watch watch_;
};

std::shared_ptr<const BackwardRule> watched(std::shared_ptr<const BackwardRule> rule, Watch watch) {
    return std::make_shared<const WatchedRule>(std::move(rule), std::move(watch));
}

void compare(LayerError& error, const LinearGrads& approximate, const LinearGrads& exact) {
    if (exact.gx.defined()) error.gx.add(approximate.gx, exact.gx);
    if (exact.gw.defined()) error.gw.add(approximate.gw.dense(), exact.gw.dense());
}

/// An entry for every linear map, in order of visit, and where to find it.
struct Errors {
    explicit Errors(Module& model) {
        for (LinearMap* layer : linear_maps(model)) {
            index[layer] = all.size();
            all.push_back({layer->path(), {}, {}});
        }
    }
    LayerError& of(LinearMap& layer) { return all[index.at(&layer)]; }

    std::vector<LayerError> all;
    std::map<const LinearMap*, std::size_t> index;
};

}  // namespace

void watch_exact_backward(Module& model, const std::function<void()>& run,
                          const std::function<void(const ExactBackward&)>& see) {
    const RuleSwap swap(model, [&](LinearMap& layer) {
        return watched(
            ExactRule::instance(),
            [&see, &layer, own = layer.rule()](const LinearGradient& gy, const Saved& saved,
                                               const LinearCall& call, const LinearGrads& grads) {
                see({layer, *own, gy, saved, call, grads});
            });
    });
    run();
    zero_grad(model);
}

LinearGrads made_by(const BackwardRule& rule, const ExactBackward& exact, const LinearCall& call,
                    const Codec* codec) {
    Saved kept({call.needs.gx, call.needs.gw}, {.codec = codec,
                                                .as = {.layer = call.layer,
                                                       .seed = call.seed,
                                                       .step = call.step,
                                                       .first_sample = call.first_sample}});
    if (call.needs.gw) rule.save({call.op, exact.saved.tensor("x")}, kept, call);
    return backward_by(rule, exact.gy.value(), kept, call);
}

void observe_gradients(Module& model, const std::function<void()>& run, const SeeGradient& see) {
    watch_exact_backward(model, run, [&](const ExactBackward& exact) {
        if (exact.call.needs.gx) see(exact.layer, exact.gy.matrix(), exact.call.w);
    });
}

void GradientError::multiply(int exponent) {
    for (double* sum : {&difference_, &approximate_, &exact_, &product_})
        *sum = std::ldexp(*sum, exponent);
}

void GradientError::add(const Tensor& of_rule, const Tensor& of_exact) {
    multiply(scale_.include(of_exact));
    multiply(scale_.include(of_rule));
    const Tensor approximate = scale_.apply(of_rule), exact = scale_.apply(of_exact);
    difference_ += sum_squares(approximate - exact);
    approximate_ += sum_squares(approximate);
    exact_ += sum_squares(exact);
    const auto a = approximate.values(), e = exact.values();
    for (std::size_t i = 0; i < a.size(); ++i) product_ += static_cast<double>(a[i]) * e[i];
    ++count_;
}

void GradientError::add(const GradientError& measured) {
    multiply(scale_.include(measured.scale_));
    GradientError other = measured;
    other.multiply(2 * (other.scale_.exponent() - scale_.exponent()));
    difference_ += other.difference_;
    approximate_ += other.approximate_;
    exact_ += other.exact_;
    product_ += other.product_;
    count_ += other.count_;
}

double GradientError::relative() const { return std::sqrt(difference_ / exact_); }
double GradientError::cosine() const { return product_ / std::sqrt(approximate_ * exact_); }

std::vector<LayerError> local_errors(Module& model, const std::function<void()>& run) {
    Errors errors(model);
    watch_exact_backward(model, run, [&](const ExactBackward& exact) {
        compare(errors.of(exact.layer), made_by(exact.own, exact, exact.call), exact.grads);
    });
    return errors.all;
}

std::vector<LayerError> accumulated_errors(Module& model, const std::function<void()>& run) {
    // A layer may run several times in one graph: its calls come in the same order both times.
    std::map<const LinearMap*, std::vector<LinearGrads>> exact;
    std::map<const LinearMap*, std::size_t> calls;
    {
        const RuleSwap swap(model, [&](LinearMap& layer) {
            return watched(ExactRule::instance(),
                           [&](const LinearGradient&, const Saved&, const LinearCall&,
                               const LinearGrads& grads) { exact[&layer].push_back(grads); });
        });
        run();
        zero_grad(model);
    }
    Errors errors(model);
    const RuleSwap swap(model, [&](LinearMap& layer) {
        return watched(layer.rule(), [&](const LinearGradient&, const Saved&, const LinearCall&,
                                         const LinearGrads& grads) {
            const std::vector<LinearGrads>& all = exact[&layer];
            const std::size_t call = calls[&layer]++;
            require(call < all.size(), "[{}] the second run called the layer more often, {} times",
                    layer.path(), call + 1);
            compare(errors.of(layer), grads, all[call]);
        });
    });
    run();
    zero_grad(model);
    return errors.all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
