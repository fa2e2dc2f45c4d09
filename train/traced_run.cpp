#include "train/traced_run.h"

#include <algorithm>
#include <cmath>

#include "instant/codec/automatic_bits.h"
#include "nn/losses.h"
#include "optim/clip.h"
#include "tensor/meter.h"
#include "train/trainer.h"

namespace slimgrad {

TracedRun::TracedRun(const TrainConfig& config)
    : config_(config),
      task_(open_task(config_)),
      train_(task_->train()),
      model_(model_to_train(*task_, config_)),
      calibrator_(*model_, config_.method_options()),
      optimizer_(make_optimizer(*model_, config_.optimizer_options())),
      schedule_(config_.schedule_options(config_.steps > 0 ? config_.steps
                                                           : config_.epochs * train_.steps)),
      tape_(slimgrad::tape_options(config_.method_options())) {
    if (automatic_bits(config_)) tape_.codec = codec_ = gact_codec(config_);
    optimizer_->set_projection(make_projection(*model_, config_.method_options()));
    if (!config_.from.empty()) task_->load(*model_);
}

TapeOptions TracedRun::tape_options(std::int64_t step) const {
    TapeOptions options = tape_;
    options.seed = config_.seed;
    options.step = static_cast<std::uint64_t>(step);
    return options;
}

Var TracedRun::loss_of(Tape& tape, const Batch& batch) const {
    return cross_entropy(logits(*model_, tape, batch), batch.labels,
                         {.label_smoothing = config_.label_smoothing});
}

/// Forward and backward that leave nothing behind but what an observer has seen.
void TracedRun::rehearse(std::int64_t step, const Batch& batch, TapeOptions options,
                         double share) const {
    options.update_statistics = false;
    options.step = static_cast<std::uint64_t>(step);
    Tape tape(options);
    const Var loss = loss_of(tape, batch);
    tape.backward(loss, Tensor::full(loss.shape(), static_cast<real>(share)));
}

// As in training: the batches from here on, read ahead.
void TracedRun::calibrate(std::int64_t step) {
    const std::int64_t every = config_.calibrate_every;
    const bool due = every > 0 ? step % every == 0 : step == 0;
    if (!due || !calibrator_.needed() || config_.calibrate != "paper") return;
    calibrator_.calibrate([&] {
        for (std::int64_t i = 0; i < config_.calibrate_batches; ++i) {
            const Batch batch = train_.batch(step + i);
            const std::int64_t parts = std::min(config_.calibrate_split, batch.size());
            for (std::int64_t part = 0; part < parts; ++part) {
                const std::int64_t begin = part * batch.size() / parts;
                const std::int64_t count = (part + 1) * batch.size() / parts - begin;
                TapeOptions options = tape_options(step + i);
                options.first_sample = begin;
                rehearse(step + i, batch.part(begin, count), options,
                         static_cast<double>(count) / static_cast<double>(batch.size()));
                zero_grad(*model_);
            }
        }
    });
}

/// Where training steps calibrate themselves.
void TracedRun::watch(std::int64_t step) {
    using Watch = Calibrator::Watch;
    if (config_.calibrate == "paper" || !calibrator_.needed()) return;
    const bool stream = config_.calibrate == "stream";
    const std::int64_t every = config_.calibrate_every, batches = config_.calibrate_batches;
    const std::int64_t since = stream || every == 0 ? step : step % every;
    if (since == batches || (stream && since > batches && since % every == 0))
        calibrator_.renew(stream ? config_.calibrate_keep : 0);
    if (since < batches)
        calibrator_.watch(Watch::exactly);
    else if (stream)
        calibrator_.watch(Watch::share, {.samples = batches * config_.batch, .steps = every});
    else
        calibrator_.watch(Watch::nothing);
}

/// Where the bits of a codec follow from what values matter to the gradient.
void TracedRun::choose_bits(std::int64_t step) {
    const std::optional<double> average = automatic_bits(config_);
    if (!average) return;
    const auto every = config_.own.get<std::int64_t>(adapt_every_option());
    if (every > 0 ? step % every != 0 : step != 0) return;
    calibrator_.watch(Calibrator::Watch::nothing);
    const auto ranks = calibrator_.sketch_ranks();
    const Batch batch = train_.batch(step);
    const auto once = [&](const std::shared_ptr<const Codec>& codec, TapeObserver* observer) {
        TapeOptions options = tape_options(step);
        options.codec = codec;
        options.observer = observer;
        rehearse(step, batch, options, 1);
    };
    const PhaseScope phase("calibrate", true);
    const bool passes = config_.own.get<std::string>(sensitivity_option()) == "passes";
    const std::vector<Sensitivity> values = passes ? sensitivities_by_passes(codec_, *model_, once)
                                                   : sensitivities_by_calls(codec_, *model_, once);
    calibrator_.set_sketch_ranks(ranks);
    codec_->set_bits(allocate_bits(values, *average));
}

void TracedRun::update(std::int64_t step) {
    if (config_.clip > 0) clip_grad_norm(*model_, config_.clip);
    optimizer_->set_lr(config_.lr * schedule_.factor(step));
    optimizer_->step();
    zero_grad(*model_);
}

double TracedRun::step(std::int64_t step, TimelineRecorder* recorder) {
    calibrate(step);
    choose_bits(step);
    watch(step);
    const Batch batch = train_.batch(step);
    require_finite(batch, step, config_.data);
    TapeOptions options = tape_options(step);
    options.observer = recorder;
    if (recorder) recorder->start();
    Tape tape(options);
    const Var loss = loss_of(tape, batch);
    if (recorder) recorder->forward_ended();
    const double value = loss.value().item();
    require(std::isfinite(value), "[trace] step {}: the loss is {}. Hint: a lower --lr (now {})",
            step, value, config_.lr);
    tape.backward(loss);
    if (recorder)
        recorder->update([&] { update(step); });
    else
        update(step);
    calibrator_.take_sketch_records();
    return value;
}

}  // namespace slimgrad
