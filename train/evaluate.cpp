#include "train/evaluate.h"

#include <algorithm>
#include <cmath>

#include "data/metrics.h"
#include "nn/losses.h"
#include "tensor/meter.h"

namespace slimgrad {
namespace {

/// Appends the class of the largest logit of each sample.
void append_predictions(const Tensor& logits, std::vector<std::int32_t>& predictions) {
    const std::int64_t classes = logits.size(-1);
    const real* const end = logits.data() + logits.numel();
    for (const real* row = logits.data(); row < end; row += classes)
        predictions.push_back(
            static_cast<std::int32_t>(std::max_element(row, row + classes) - row));
}

}  // namespace

Evaluation evaluate(Module& model, const Split& split, const std::vector<std::string>& metrics,
                    const std::function<void()>& before_each) {
    const PhaseScope phase("evaluate", true);
    Prefetcher batches = split.ahead(0, split.steps);
    Evaluation result;
    std::vector<std::int32_t> predictions, labels;
    for (std::int64_t step = 0; step < split.steps; ++step) {
        before_each();
        const Batch batch = batches.next();
        Tape tape({.training = false, .recording = false});
        const Var y = logits(model, tape, batch);
        result.loss += static_cast<double>(cross_entropy(y, batch.labels).value().item()) *
                       static_cast<double>(batch.size());
        append_predictions(y.value(), predictions);
        labels.insert(labels.end(), batch.labels.begin(), batch.labels.end());
    }
    result.samples = std::ssize(labels);
    result.loss /= static_cast<double>(result.samples);
    if (!std::isfinite(result.loss))
        throw LossNotFinite(fmt::format("the loss on the test set is {}", result.loss));
    for (const std::string& name : metrics) result.scores[name] = metric(name, predictions, labels);
    return result;
}

}  // namespace slimgrad
