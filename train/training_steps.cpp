#include "train/training_steps.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "instant/methods/gact.h"
#include "nn/losses.h"
#include "optim/clip.h"
#include "tensor/meter.h"

namespace slimgrad {
namespace {

/// Steps that train and calibrate are exact until the first subspaces are made.
void require_compressed_steps(const TrainConfig& config, std::int64_t total) {
    if (config.calibrate == "paper" || !calibrated_slots(config).any()) return;
    require(total > config.calibrate_batches,
            "[train] calibrate {} leaves the first {} steps exact (calibrate_batches), and the run "
            "has {}",
            config.calibrate, config.calibrate_batches, total);
}

/// Every so many steps, or before the first one alone.
bool is_due(std::int64_t step, std::int64_t every) {
    return every > 0 ? step % every == 0 : step == 0;
}

}  // namespace

TrainingSteps::TrainingSteps(const TrainConfig& config, const Task& task)
    : config_(config),
      train_(task.train()),
      model_(model_to_train(task, config_)),
      calibrator_(*model_, config_.method_options()),
      optimizer_(make_optimizer(*model_, config_.optimizer_options())),
      total_(config_.steps > 0 ? config_.steps : config_.epochs * train_.steps),
      schedule_(config_.schedule_options(total_)),
      tape_(slimgrad::tape_options(config_.method_options())) {
    require_compressed_steps(config_, total_);
    if (automatic_bits(config_)) tape_.codec = codec_ = gact_codec(config_);
    optimizer_->set_projection(make_projection(*model_, config_.method_options()));
}

TapeOptions TrainingSteps::tape_options(std::int64_t step) const {
    TapeOptions options = tape_;
    options.seed = config_.seed;
    options.step = static_cast<std::uint64_t>(step);
    return options;
}

Var TrainingSteps::loss_of(Tape& tape, const Batch& batch) {
    return cross_entropy(logits(*model_, tape, batch), batch.labels,
                         {.label_smoothing = config_.label_smoothing});
}

/// A pass that trains nothing: no running statistic moves. `share`: of the batch's loss.
void TrainingSteps::rehearse(const Batch& batch, TapeOptions options, double share) {
    options.update_statistics = false;
    Tape tape(options);
    const Var loss = loss_of(tape, batch);
    tape.backward(loss, Tensor::full(loss.shape(), static_cast<real>(share)));
}

bool TrainingSteps::calibrates(std::int64_t step) const {
    return calibrator_.needed() && config_.calibrate == "paper" &&
           is_due(step, config_.calibrate_every);
}

// The next batches are read ahead and not consumed; no mask, order or running statistic moves, so
// that the run goes on as if nothing had happened.
void TrainingSteps::calibrate(std::int64_t step, const Between& between) {
    calibrator_.calibrate([&] {
        for (std::int64_t i = 0; i < config_.calibrate_batches; ++i) {
            const Batch batch = train_.batch(step + i);
            const std::int64_t parts = std::min(config_.calibrate_split, batch.size());
            for (std::int64_t part = 0; part < parts; ++part) {
                between();
                const std::int64_t begin = part * batch.size() / parts;
                const std::int64_t count = (part + 1) * batch.size() / parts - begin;
                TapeOptions options = tape_options(step + i);
                options.first_sample = begin;
                rehearse(batch.part(begin, count), options,
                         static_cast<double>(count) / static_cast<double>(batch.size()));
                zero_grad(*model_);
            }
        }
    });
}

bool TrainingSteps::chooses_bits(std::int64_t step) const {
    return codec_ && is_due(step, config_.own.get<std::int64_t>(adapt_every_option()));
}

namespace {

/// What rehearsals change of sketches is put back, however they end.
class SketchesAsTheyWere {
  public:
    explicit SketchesAsTheyWere(Calibrator& calibrator)
        : calibrator_(calibrator), ranks_(calibrator.sketch_ranks()) {}
    ~SketchesAsTheyWere() {
        calibrator_.set_sketch_ranks(ranks_);
        calibrator_.take_sketch_records();
    }
    SketchesAsTheyWere(const SketchesAsTheyWere&) = delete;
    SketchesAsTheyWere& operator=(const SketchesAsTheyWere&) = delete;

  private:
    Calibrator& calibrator_;
    decltype(std::declval<Calibrator&>().sketch_ranks()) ranks_;
};

}  // namespace

// Nothing of the run changes but the bits.
std::vector<Sensitivity> TrainingSteps::choose_bits(std::int64_t step, const Between& between) {
    calibrator_.watch(Calibrator::Watch::nothing);
    const SketchesAsTheyWere sketches(calibrator_);
    const PhaseScope phase("calibrate", true);
    const Batch batch = train_.batch(step);
    const Rehearsal once = [&](const std::shared_ptr<const Codec>& codec, TapeObserver* observer) {
        between();
        TapeOptions options = tape_options(step);
        options.codec = codec;
        options.observer = observer;
        rehearse(batch, options, 1);
    };
    const bool passes = config_.own.get<std::string>(sensitivity_option()) == "passes";
    std::vector<Sensitivity> values = passes ? sensitivities_by_passes(codec_, *model_, once)
                                             : sensitivities_by_calls(codec_, *model_, once);
    set_bits(allocate_bits(values, *automatic_bits(config_)));
    return values;
}

const std::map<std::string, int>& TrainingSteps::bits() const {
    static const std::map<std::string, int> none;
    return codec_ ? codec_->bits() : none;
}

void TrainingSteps::set_bits(std::map<std::string, int> bits) {
    if (codec_) codec_->set_bits(std::move(bits));
}

/// Steps since the last one that was not watched whole, where training steps calibrate.
std::int64_t TrainingSteps::since_exact(std::int64_t step) const {
    const bool again = config_.calibrate != "stream" && config_.calibrate_every > 0;
    return again ? step % config_.calibrate_every : step;
}

bool TrainingSteps::renews(std::int64_t step) const {
    if (config_.calibrate == "paper" || !calibrator_.needed()) return false;
    const std::int64_t since = since_exact(step), batches = config_.calibrate_batches;
    return since == batches || (config_.calibrate == "stream" && since > batches &&
                                since % config_.calibrate_every == 0);
}

void TrainingSteps::renew() {
    calibrator_.renew(config_.calibrate == "stream" ? config_.calibrate_keep : 0);
}

// What to do is a function of the step, so a resumed run does the same.
void TrainingSteps::watch(std::int64_t step) {
    using Watch = Calibrator::Watch;
    if (config_.calibrate == "paper" || !calibrator_.needed()) return;
    const std::int64_t batches = config_.calibrate_batches;
    if (since_exact(step) < batches)
        calibrator_.watch(Watch::exactly);
    else if (config_.calibrate == "stream")
        calibrator_.watch(Watch::share,
                          {.samples = batches * config_.batch, .steps = config_.calibrate_every});
    else
        calibrator_.watch(Watch::nothing);
}

double TrainingSteps::update(std::int64_t step) {
    double norm = 0;
    if (config_.clip > 0) {
        norm = clip_grad_norm(*model_, config_.clip);
        require(std::isfinite(norm),
                "[train] step {}: the norm of the gradients is {}. Hint: a lower --lr (now {})",
                step, norm, config_.lr);
    }
    optimizer_->set_lr(config_.lr * schedule_.factor(step));
    optimizer_->step();
    zero_grad(*model_);
    return norm;
}

}  // namespace slimgrad
