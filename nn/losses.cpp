#include "nn/losses.h"

#include <algorithm>
#include <cmath>

#include "nn/indices.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// loss = Σ_s Σ_c -t_sc log p_sc / n,  p_s = softmax(x_s),  t_s = (1 - ε) onehot(label_s) + ε / C,
// over the n samples that are not ignored
//   g_x = g (p - t) / n, and 0 for ignored samples
// Keeps p and the labels.
class CrossEntropyFunction final : public Function {
  public:
    CrossEntropyFunction(std::shared_ptr<const Indices> labels, CrossEntropyOptions options,
                         std::int64_t kept)
        : labels_(std::move(labels)), options_(options), kept_(kept) {}
    std::string name() const override { return "cross_entropy"; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor& x = in[0];
        const Tensor p = softmax(x);
        const std::int64_t classes = x.size(-1);
        const auto labels = labels_->values();
        const double smoothing = options_.label_smoothing;
        double loss = 0;
        for (std::size_t s = 0; s < labels.size(); ++s) {
            if (labels[s] == options_.ignore_index) continue;
            const real* row = x.data() + static_cast<std::int64_t>(s) * classes;
            // log p = x - max - log Σ e^(x - max): no overflow, no logarithm of a rounded 0
            const double peak = *std::max_element(row, row + classes);
            double total = 0, sum_x = 0;
            for (std::int64_t c = 0; c < classes; ++c) {
                total += std::exp(row[c] - peak);
                if (smoothing > 0) sum_x += row[c];
            }
            const double log_total = peak + std::log(total);
            loss += (1 - smoothing) * (log_total - row[labels[s]]);
            if (smoothing > 0)
                loss += smoothing * (log_total - sum_x / static_cast<double>(classes));
        }
        meter().add((smoothing > 0 ? 5 : 4) * x.numel());
        saved.keep(Keep::activation, "p", p);
        saved.keep("labels", labels_);
        return Tensor::scalar(static_cast<real>(loss / static_cast<double>(kept_)));
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor p = saved.tensor("p");
        const auto labels = saved.as<Indices>("labels").values();
        const std::int64_t classes = p.size(-1);
        const real factor = gy.item() / static_cast<real>(kept_);
        const auto spread =
            static_cast<real>(options_.label_smoothing / static_cast<double>(classes));
        const auto peak = static_cast<real>(1 - options_.label_smoothing);
        Tensor gx = Tensor::zeros(p.shape());
        for (std::size_t s = 0; s < labels.size(); ++s) {
            if (labels[s] == options_.ignore_index) continue;
            const std::int64_t offset = static_cast<std::int64_t>(s) * classes;
            const real* from = p.data() + offset;
            real* to = gx.data() + offset;
            for (std::int64_t c = 0; c < classes; ++c) to[c] = factor * (from[c] - spread);
            to[labels[s]] -= factor * peak;
        }
        meter().add(2 * gx.numel() + 2 * static_cast<std::int64_t>(labels.size()));
        return {gx};
    }

  private:
    std::shared_ptr<const Indices> labels_;
    CrossEntropyOptions options_;
    std::int64_t kept_;
};

// loss = Σ (x - t)² / n
//   g_x = 2 g (x - t) / n        g_t = -g_x
// Keeps the difference alone.
class MseFunction final : public Function {
  public:
    std::string name() const override { return "mse"; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor difference = in[0] - in[1];
        saved.keep(Keep::activation, "difference", difference);
        return Tensor::scalar(
            static_cast<real>(sum_squares(difference) / static_cast<double>(difference.numel())));
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor difference = saved.tensor("difference");
        const real factor = 2 * gy.item() / static_cast<real>(difference.numel());
        std::vector<Grad> grads(2);
        if (saved.needs(0)) grads[0] = difference * factor;
        if (saved.needs(1)) grads[1] = difference * -factor;
        return grads;
    }
};

}  // namespace

Var cross_entropy(const Var& logits, std::span<const std::int32_t> labels,
                  const CrossEntropyOptions& options) {
    require(logits.value().ndim() >= 2, "[cross_entropy] expected logits (N, C), got {}",
            shown(logits.shape()));
    const std::int64_t classes = logits.size(-1);
    const std::int64_t rows = classes > 0 ? logits.value().numel() / classes : 0;
    require(rows == static_cast<std::int64_t>(labels.size()),
            "[cross_entropy] expected one label for each of the {} rows of {}, got {}", rows,
            shown(logits.shape()), labels.size());
    require(options.label_smoothing >= 0 && options.label_smoothing <= 1,
            "[cross_entropy] label_smoothing must be from 0 to 1, got {}", options.label_smoothing);
    std::int64_t kept = 0;
    for (std::size_t s = 0; s < labels.size(); ++s) {
        if (labels[s] == options.ignore_index) continue;
        require(labels[s] >= 0 && labels[s] < classes,
                "[cross_entropy] the label of sample {} is {}, expected 0 to {}", s, labels[s],
                classes - 1);
        ++kept;
    }
    require(kept > 0, "[cross_entropy] none of the {} labels counts", labels.size());
    return logits.tape().apply(
        std::make_shared<CrossEntropyFunction>(std::make_shared<Indices>(labels), options, kept),
        {logits});
}

Var mse(const Var& x, const Var& target) {
    require(x.shape() == target.shape() && x.value().numel() > 0,
            "[mse] expected two equal, non-empty shapes, got {} and {}", shown(x.shape()),
            shown(target.shape()));
    return x.tape().apply(std::make_shared<MseFunction>(), {x, target});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
