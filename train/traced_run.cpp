#include "train/traced_run.h"

#include <cmath>

#include "train/trainer.h"

namespace slimgrad {

TracedRun::TracedRun(const TrainConfig& config)
    : config_(config), task_(open_task(config_)), steps_(config_, *task_) {
    if (!config_.from.empty()) task_->load(steps_.model());
}

double TracedRun::step(std::int64_t step, TimelineRecorder* recorder) {
    const auto between = [] {};
    if (steps_.calibrates(step)) steps_.calibrate(step, between);
    if (steps_.chooses_bits(step)) steps_.choose_bits(step, between);
    if (steps_.renews(step)) steps_.renew();
    steps_.watch(step);
    const Batch batch = steps_.data().batch(step);
    require_finite(batch, step, config_.data);
    TapeOptions options = steps_.tape_options(step);
    options.observer = recorder;
    if (recorder) recorder->start();
    Tape tape(options);
    const Var loss = steps_.loss_of(tape, batch);
    if (recorder) recorder->forward_ended();
    const double value = loss.value().item();
    require(std::isfinite(value), "[trace] step {}: the loss is {}. Hint: a lower --lr (now {})",
            step, value, config_.lr);
    tape.backward(loss);
    if (recorder)
        recorder->update([&] { steps_.update(step); });
    else
        steps_.update(step);
    steps_.calibrator().take_sketch_records();
    return value;
}

}  // namespace slimgrad
