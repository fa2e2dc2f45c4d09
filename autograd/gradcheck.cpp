#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

double largest(const Tensor& x) {
    double peak = 0;
    for (const real value : x.values()) peak = std::max(peak, std::abs(static_cast<double>(value)));
    return peak;
}

std::string index_of(std::int64_t element, const Shape& shape) {
    Shape index(shape.size());
    for (std::size_t axis = shape.size(); axis-- > 0; element /= shape[axis])
        index[axis] = element % shape[axis];
    return to_string(index);
}

class Checker {
  public:
    Checker(const std::string& layer, const TapeFunction& f, const std::vector<Tensor>& inputs,
            const GradcheckOptions& options)
        : layer_(layer), f_(f), options_(options) {
        options_.tape.update_statistics = false;
        for (const Tensor& input : inputs) inputs_.push_back(input.clone());
    }

    GradcheckReport run(const std::vector<NamedParameter>& parameters) {
        for (const NamedParameter& p : parameters) p.parameter->grad = {};
        std::vector<Tensor> gradients = differentiate();
        std::vector<Target> targets;
        for (std::size_t i = 0; i < inputs_.size(); ++i)
            targets.push_back({fmt::format("input {}", i), inputs_[i], gradients[i]});
        for (const NamedParameter& p : parameters) {
            if (!p.parameter->requires_grad) continue;
            const Grad grad = std::exchange(p.parameter->grad, {});
            const Tensor& value = p.parameter->value;
            targets.push_back({fmt::format("parameter '{}'", p.name), value,
                               grad.defined() ? grad.dense() : Tensor::zeros(value.shape())});
        }
        for (const Target& target : targets) {
            require(target.gradient.shape() == target.value.shape(),
                    "[gradcheck] {}: the gradient of {} has shape {}, expected {}", layer_,
                    target.name, shown(target.gradient.shape()), shown(target.value.shape()));
            scale_ = std::max(scale_, largest(target.gradient));
        }
        for (const Target& target : targets) check(target);
        const auto all = static_cast<double>(report_.checked + report_.skipped);
        require(static_cast<double>(report_.skipped) <= options_.max_skipped * all,
                "[gradcheck] {}: {} of {} elements lie at a kink. Hint: choose inputs away from it",
                layer_, report_.skipped, report_.checked + report_.skipped);
        return report_;
    }

  private:
    struct Target {
        std::string name;
        Tensor value, gradient;
    };
    struct Difference {
        double central, gap;  // gap: how far the one-sided differences are apart
    };

    Tensor evaluate() const {
        TapeOptions options = options_.tape;
        options.recording = false;
        Tape tape(options);
        std::vector<Var> vars;
        for (const Tensor& input : inputs_) vars.push_back(tape.constant(input.clone()));
        return f_(tape, vars).value();
    }

    /// The analytic gradients of the inputs; those of parameters are left in them.
    std::vector<Tensor> differentiate() {
        Tape tape(options_.tape);
        std::vector<Var> vars;
        for (const Tensor& input : inputs_) vars.push_back(tape.input(input.clone()));
        const Var y = f_(tape, vars);
        Stream stream(options_.seed, "gradcheck");
        projection_ = normal(y.shape(), 0, 1, stream);
        output_ = y.value().clone();
        tape.backward(y, projection_);
        std::vector<Tensor> gradients;
        for (const Var& var : vars) gradients.push_back(tape.gradient(var));
        return gradients;
    }

    /// Σ r (a - b): differences first, so that large outputs do not drown small changes.
    double project(const Tensor& a, const Tensor& b) const {
        double total = 0;
        for (std::int64_t i = 0; i < a.numel(); ++i)
            total += static_cast<double>(projection_.data()[i]) *
                     (static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]));
        return total;
    }

    Difference differences(real& element, double step) const {
        const real x = element;
        element = static_cast<real>(x + step);
        const double up = static_cast<double>(element) - x;
        const Tensor above = evaluate();
        element = static_cast<real>(x - step);
        const double down = x - static_cast<double>(element);
        const Tensor below = evaluate();
        element = x;
        return {project(above, below) / (up + down),
                std::abs(project(above, output_) / up - project(output_, below) / down)};
    }

    void check(Target target) {
        const double floor = std::max(1e-3 * scale_, 1e-4 * largest(output_));
        for (const std::int64_t i : elements(target.value.numel())) {
            real& element = target.value.data()[i];
            const double analytic = target.gradient.data()[i];
            const auto error = [&](double numeric) {
                return std::abs(analytic - numeric) /
                       std::max({std::abs(analytic), std::abs(numeric), floor, 1e-300});
            };
            const double step = options_.step * std::max(1.0, std::abs(double(element)));
            const Difference first = differences(element, step);
            double best = error(first.central);
            Difference last = first;
            // A kink within the step spoils it; a shorter step may pass beside the kink.
            for (int k = 1; k <= 2 && !(best <= options_.tolerance); ++k) {
                last = differences(element, step / (k == 1 ? 8 : 64));
                if (error(last.central) <= options_.tolerance) best = error(last.central);
            }
            if (!(best <= options_.tolerance)) {
                const bool kink = last.gap > first.gap / 4 &&
                                  std::abs(analytic - first.central) <= first.gap * 0.51;
                require(kink,
                        "[gradcheck] {}: the gradient of {} at {} is {:.9g}, finite differences "
                        "give {:.9g}: relative error {:.3g} (tolerance {:.3g})",
                        layer_, target.name, index_of(i, target.value.shape()), analytic,
                        first.central, best, options_.tolerance);
                ++report_.skipped;
                continue;
            }
            ++report_.checked;
            report_.max_error = std::max(report_.max_error, best);
        }
    }

    std::vector<std::int64_t> elements(std::int64_t n) const {
        Stream stream(options_.seed, "gradcheck elements");
        std::vector<std::int64_t> order = stream.permutation(n);
        if (options_.max_elements > 0 && n > options_.max_elements)
            order.resize(static_cast<std::size_t>(options_.max_elements));
        std::ranges::sort(order);
        return order;
    }

    std::string layer_;
    const TapeFunction& f_;
    GradcheckOptions options_;
    std::vector<Tensor> inputs_;
    Tensor projection_, output_;
    double scale_ = 0;
    GradcheckReport report_;
};

}  // namespace

GradcheckReport gradcheck(const std::string& layer, const TapeFunction& f,
                          const std::vector<Tensor>& inputs,
                          const std::vector<NamedParameter>& parameters,
                          const GradcheckOptions& options) {
    return Checker(layer, f, inputs, options).run(parameters);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
