#include "train/evaluate.h"

#include <algorithm>

#include "data/loader.h"
#include "data/prefetcher.h"
#include "nn/losses.h"
#include "tensor/meter.h"

namespace slimgrad {
namespace {

std::int64_t count_correct(const Tensor& logits, const std::vector<std::int32_t>& labels) {
    std::int64_t correct = 0;
    const std::int64_t classes = logits.size(-1);
    const real* row = logits.data();
    for (const std::int32_t label : labels) {
        correct += std::max_element(row, row + classes) - row == label;
        row += classes;
    }
    return correct;
}

}  // namespace

Evaluation evaluate(Module& model, std::shared_ptr<const ImageData> data, std::int64_t batch_size) {
    const PhaseScope phase("evaluate", true);
    const Loader loader(std::move(data),
                        {.batch_size = batch_size, .shuffle = false, .drop_last = false});
    Prefetcher batches(loader, 0, loader.steps_per_epoch());
    Evaluation result;
    std::int64_t correct = 0;
    for (std::int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
        const Batch batch = batches.next();
        Tape tape({.training = false, .recording = false});
        const Var logits = model.forward(tape.constant(batch.x));
        result.loss += static_cast<double>(cross_entropy(logits, batch.labels).value().item()) *
                       static_cast<double>(batch.size());
        correct += count_correct(logits.value(), batch.labels);
        result.samples += batch.size();
    }
    result.loss /= static_cast<double>(result.samples);
    result.accuracy = static_cast<double>(correct) / static_cast<double>(result.samples);
    return result;
}

}  // namespace slimgrad
