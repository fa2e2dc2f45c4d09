#include "train/training_loop.h"

#include <cmath>
#include <utility>

#include "data/prefetcher.h"
#include "instant/cost/cost_model.h"
#include "nn/low_rank_adapter.h"
#include "tensor/allocator.h"
#include "tensor/blas.h"
#include "tensor/ledger.h"
#include "train/evaluate.h"
#include "train/process.h"
#include "train/rank_history.h"
#include "train/summary.h"
#include "train/weights.h"

namespace slimgrad {
namespace {

/// Thrown where the run is asked to stop, caught where it saves. No error.
struct Stopped {};

/// How much of a model with adapters trains.
std::string trained_share(Module& model, const std::string& method) {
    std::int64_t trained = 0, all = 0, adapted = 0;
    for (const Parameter* parameter : parameters(model)) {
        all += parameter->value.numel();
        if (parameter->requires_grad) trained += parameter->value.numel();
    }
    for (const LinearMap* layer : linear_maps(model)) adapted += int{layer->adapted()};
    return fmt::format("{}: {} linear layers have an adapter; {} of {} parameters train", method,
                       adapted, trained, all);
}

/// Throws for tokens that the method cannot take. What is calibrated takes any, and has no ranks
/// yet.
void require_applicable(const MethodOptions& options, const std::vector<LinearShape>& shapes) {
    const Method& method = find_method(options.method);
    if (method.closed_form && !calibrated_slots(options).any()) compressions_of(shapes, options);
}

}  // namespace

void require_possible(const TrainConfig& config) {
    const std::unique_ptr<Task> task = open_task(config);
    TrainingSteps steps(config, *task);
    require_applicable(config.method_options(),
                       linear_shapes(steps.model(), steps.data().batch(0)));
}

TrainingLoop::TrainingLoop(RunDirectory run, TrainConfig config, std::unique_ptr<Task> task,
                           TrainerOptions options)
    : config_(std::move(config)),
      options_(std::move(options)),
      run_(std::move(run)),
      task_(std::move(task)),
      steps_(config_, *task_),
      test_(task_->test()),
      shapes_(linear_shapes(steps_.model(), steps_.data().batch(0))) {
    require_applicable(config_.method_options(), shapes_);
    if (!run_.note().empty()) warnings_.push_back(run_.note());
    if (has_adapters(steps_.model()))
        notes_.push_back(trained_share(steps_.model(), config_.method));
}

void TrainingLoop::begin() {
    if (!config_.from.empty()) load();
    run_.begin(to_json(config_),
               [&](const std::filesystem::path& directory) { task_->save(directory); });
}

void TrainingLoop::load() {
    m_.loaded = task_->load(steps_.model());
    notes_.push_back(fmt::format("{}: {}", config_.from, to_string(m_.loaded)));
}

void TrainingLoop::resume() {
    const std::filesystem::path checkpoint = run_.file(checkpoint_file);
    std::error_code none;
    if (!std::filesystem::exists(checkpoint, none)) {
        // It died before its first checkpoint: the same configuration leads to the same bits.
        if (!config_.from.empty()) load();
        run_.cut_metrics(0);
        notes_.emplace_back("there is no checkpoint yet: from the beginning");
        return;
    }
    RunState state = this->state();
    load_checkpoint(checkpoint, state);
    step_ = state.step;
    steps_.set_bits(m_.bits);
    require(step_ <= steps_.total(), "[checkpoint] '{}' is damaged: it is of step {} of {}",
            checkpoint.string(), step_, steps_.total());
    if (!run_.cut_metrics(state.metrics_bytes))
        warnings_.push_back(fmt::format(
            "metrics.jsonl has become shorter: lines before step {} are missing from it", step_));
}

RunState TrainingLoop::state() {
    return {.config = config_,
            .data = task_->digests(),
            .model = steps_.model(),
            .optimizer = steps_.optimizer(),
            .calibrator = steps_.calibrator(),
            .measurements = m_};
}

/// Whether an epoch, or the run, was trained to its end and not evaluated yet.
bool TrainingLoop::epoch_due() const {
    return m_.epoch_steps > 0 && (step_ % steps_.data().steps == 0 || step_ == steps_.total());
}

void TrainingLoop::look_for_stop(std::int64_t step) const {
    if (options_.stop && options_.stop(step)) throw Stopped{};
}

/// Work that a stop may break off. On resuming all of it is done again, so what it counted until
/// then is dropped.
template <class Work>
void TrainingLoop::whole_or_not_at_all(const Work& work) {
    m_.take_flops();
    try {
        work();
    } catch (...) {
        meter().reset();
        throw;
    }
}

template <class Work>
void TrainingLoop::calibrate(Progress& progress, const Work& work) {
    const Timer timer(m_, "calibrate");
    try {
        whole_or_not_at_all(work);
    } catch (const Error& error) {
        fail("[train] step {}: {}", step_, error.what());
    }
    const std::vector<LayerRanks> ranks = steps_.calibrator().ranks();
    m_.take_ranks(ranks);
    run_.append_metrics(calibration_line(step_, ranks));
    if (const std::string text = left_vanilla_message(step_, ranks); !text.empty())
        progress.line(text);
}

void TrainingLoop::choose_bits(Progress& progress) {
    const Timer timer(m_, "calibrate");
    std::vector<Sensitivity> values;
    whole_or_not_at_all([&] { values = steps_.choose_bits(step_, [&] { look_for_stop(step_); }); });
    m_.bits = steps_.bits();
    ++m_.bit_choices;
    run_.append_metrics(bits_line(step_, values, m_.bits));
    progress.line(bits_text(step_, values, m_.bits));
}

/// What comes before a step: whatever the method wants to know of the run.
void TrainingLoop::prepare(Progress& progress) {
    // A run that was stopped between a calibration and its step does not calibrate again.
    if (steps_.calibrates(step_) && m_.calibrated != step_) {
        calibrate(progress, [&] { steps_.calibrate(step_, [&] { look_for_stop(step_); }); });
        m_.calibrated = step_;
    }
    if (steps_.chooses_bits(step_)) choose_bits(progress);
    if (steps_.renews(step_)) calibrate(progress, [&] { steps_.renew(); });
    steps_.watch(step_);
}

double TrainingLoop::train_step(const Batch& batch) {
    Tape tape(steps_.tape_options(step_));
    Var loss;
    {
        const Timer timer(m_, "forward");
        loss = steps_.loss_of(tape, batch);
    }
    m_.take_saved(batch.size());
    m_.take_tokens(batch.tokens);
    const double value = loss.value().item();
    require(std::isfinite(value),
            "[train] step {}: the loss is {}. Hint: a lower --lr (now {}), --clip 1, or --warmup",
            step_, value, config_.lr);
    {
        const Timer timer(m_, "backward");
        tape.backward(loss);
    }
    const Timer timer(m_, "optimizer");
    grad_norm_ = steps_.update(step_);
    return value;
}

/// Where a method makes sketches: every so many steps, and in the last, what each layer's did
/// since.
void TrainingLoop::take_sketches() {
    constexpr std::int64_t every = 50;
    for (const auto& [layer, record] : steps_.calibrator().take_sketch_records()) {
        m_.sketches[layer] += record;
        m_.new_sketches[layer] += record;
    }
    const bool due = (step_ + 1) % every == 0 || step_ + 1 == steps_.total();
    if (m_.new_sketches.empty() || !due) return;
    run_.append_metrics(sketch_line(step_, std::exchange(m_.new_sketches, {})));
}

void TrainingLoop::log(const Batch& batch, double loss) {
    nlohmann::json line{{"type", "step"},
                        {"step", step_},
                        {"epoch", step_ / steps_.data().steps + 1},
                        {"loss", loss},
                        {"lr", steps_.optimizer().lr()},
                        {"batch", fmt::format("{:016x}", digest(batch))}};
    if (config_.clip > 0) line["grad_norm"] = grad_norm_;
    run_.append_metrics(line);
}

void TrainingLoop::end_epoch(Progress& progress) {
    Evaluation evaluation;
    {
        const Timer timer(m_, "evaluate");
        const auto stop = [&] { look_for_stop(step_ - 1); };  // the step before belongs to it
        try {
            whole_or_not_at_all(
                [&] { evaluation = evaluate(steps_.model(), test_, task_->metrics(), stop); });
        } catch (const LossNotFinite& error) {
            fail("[train] step {}: {}. Hint: a lower --lr (now {})", step_, error.what(),
                 config_.lr);
        } catch (const Error& error) {
            save();  // what was trained is not lost: resuming evaluates again
            fail("[train] step {}, evaluation: {}", step_, error.what());
        }
    }
    const double train_loss = m_.epoch_loss / static_cast<double>(m_.epoch_steps);
    m_.evaluations.push_back(evaluation);
    m_.train_losses.push_back(train_loss);
    m_.epoch_loss = 0;
    m_.epoch_steps = 0;
    const auto epoch = std::ssize(m_.evaluations);
    nlohmann::json line{{"type", "epoch"},         {"epoch", epoch},
                        {"step", step_},           {"train_loss", train_loss},
                        {"loss", evaluation.loss}, {"seconds", m_.seconds}};
    for (const auto& [metric, score] : evaluation.scores) line[metric] = score;
    run_.append_metrics(line);
    take_passed_over();
    if (!m_.passed_over.empty()) progress.warn(passed_over_note(m_.passed_over));
    progress.line(fmt::format("epoch {}/{}  train loss {:.4f}  test loss {:.4f}  {}", epoch,
                              (steps_.total() + steps_.data().steps - 1) / steps_.data().steps,
                              train_loss, evaluation.loss,
                              to_string(evaluation.scores, task_->metrics())));
}

void TrainingLoop::take_passed_over() { m_.passed_over.merge(task_->passed_over()); }

void TrainingLoop::save() {
    const Timer timer(m_, "save");
    take_passed_over();
    m_.take_flops();
    m_.take_peaks();
    RunState state = this->state();
    state.step = step_;
    // First what the checkpoint counts on.
    state.metrics_bytes = run_.sync_metrics();
    save_checkpoint(run_.file(checkpoint_file), state);
}

void TrainingLoop::introduce(Progress& progress) const {
    for (const std::string& warning : warnings_) progress.warn(warning);
    for (const std::string& note : notes_) progress.line(note);
    for (const std::string& note : task_->notes()) progress.line(note);
    for (const auto& [split, note] :
         {std::pair{"training", steps_.data().note}, {"test", test_.note}})
        if (!note.empty()) progress.line(fmt::format("{}: {}", split, note));
    progress.line(
        fmt::format("majority class: {}", to_string(task_->baseline(), task_->metrics())));
    progress.line(fmt::format("steps {} to {}, {} threads, {} kernels", step_, steps_.total(),
                              threads(), blas().kernels));
}

void TrainingLoop::train(Progress& progress) {
    Prefetcher batches = steps_.data().ahead(step_, steps_.total());
    for (;;) {
        if (epoch_due()) {
            end_epoch(progress);
            save();
        }
        if (step_ >= steps_.total()) return;
        look_for_stop(step_);
        prepare(progress);
        Batch batch;
        {
            const Timer timer(m_, "data");
            batch = batches.next();
            require_finite(batch, step_, config_.data);
        }
        const double loss = train_step(batch);
        take_sketches();
        m_.epoch_loss += loss;
        ++m_.epoch_steps;
        if (step_ % config_.log_every == 0) log(batch, loss);
        ++step_;
        progress.step(step_, loss);
        if (config_.checkpoint_every > 0 && step_ % config_.checkpoint_every == 0 && !epoch_due())
            save();
    }
}

void TrainingLoop::finish() {
    m_.take_flops();
    m_.take_peaks();
    if (has_adapters(steps_.model())) save_adapters(run_.file(adapter_file), steps_.model());
    save_weights(run_.file("model.safetensors"), steps_.model());
    summary_ =
        make_summary(config_, m_, step_, shapes_, steps_.calibrator().ranks(), task_->baseline());
    if (!m_.passed_over.empty()) summary_["passed_over"] = passed_over_note(m_.passed_over);
    run_.write_json("summary.json", summary_);
    run_.finish();
}

bool TrainingLoop::run() {
    Progress progress(fmt::format("{} {} seed {}", config_.model, config_.method, config_.seed),
                      step_, steps_.total(), options_.quiet);
    introduce(progress);
    meter().reset();
    // The peaks are to be those of training, not of what was read and built before.
    ledger().reset_peaks();
    allocator::trim();
    reset_peak_rss();
    try {
        train(progress);
    } catch (const Stopped&) {
        save();
        return false;
    }
    finish();
    return true;
}

}  // namespace slimgrad
