#include "train/training_loop.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/prefetcher.h"
#include "instant/codec/automatic_bits.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/gact.h"
#include "nn/losses.h"
#include "nn/low_rank_adapter.h"
#include "optim/clip.h"
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

std::int64_t total_steps(const TrainConfig& config, const Split& train) {
    return config.steps > 0 ? config.steps : config.epochs * train.steps;
}

/// Steps that train and calibrate are exact until the first subspaces are made.
void require_compressed_steps(const TrainConfig& config, std::int64_t total) {
    if (config.calibrate == "paper" || !calibrated_slots(config).any()) return;
    require(total > config.calibrate_batches,
            "[train] calibrate {} leaves the first {} steps exact (calibrate_batches), and the run "
            "has {}",
            config.calibrate, config.calibrate_batches, total);
}

}  // namespace

void require_possible(const TrainConfig& config) {
    const std::unique_ptr<Task> task = open_task(config);
    require_compressed_steps(config, total_steps(config, task->train()));
    const std::unique_ptr<Module> model = model_to_train(*task, config);
    require_applicable(config.method_options(), linear_shapes(*model, task->train().batch(0)));
    make_projection(*model, config.method_options());
}

TrainingLoop::TrainingLoop(RunDirectory run, TrainConfig config, std::unique_ptr<Task> task,
                           TrainerOptions options)
    : config_(std::move(config)),
      options_(std::move(options)),
      run_(std::move(run)),
      task_(std::move(task)),
      train_(task_->train()),
      test_(task_->test()),
      model_(model_to_train(*task_, config_)),
      calibrator_(*model_, config_.method_options()),
      optimizer_(make_optimizer(*model_, config_.optimizer_options())),
      total_(total_steps(config_, train_)),
      schedule_(config_.schedule_options(total_)),
      shapes_(linear_shapes(*model_, train_.batch(0))),
      tape_(slimgrad::tape_options(config_.method_options())) {
    if (automatic_bits(config_)) tape_.codec = codec_ = gact_codec(config_);
    require_compressed_steps(config_, total_);
    optimizer_->set_projection(make_projection(*model_, config_.method_options()));
    require_applicable(config_.method_options(), shapes_);
    if (!run_.note().empty()) warnings_.push_back(run_.note());
    if (has_adapters(*model_)) notes_.push_back(trained_share(*model_, config_.method));
}

void TrainingLoop::begin() {
    if (!config_.from.empty()) load();
    run_.begin(to_json(config_),
               [&](const std::filesystem::path& directory) { task_->save(directory); });
}

void TrainingLoop::load() {
    m_.loaded = task_->load(*model_);
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
    if (codec_) codec_->set_bits(m_.bits);
    require(step_ <= total_, "[checkpoint] '{}' is damaged: it is of step {} of {}",
            checkpoint.string(), step_, total_);
    if (!run_.cut_metrics(state.metrics_bytes))
        warnings_.push_back(fmt::format(
            "metrics.jsonl has become shorter: lines before step {} are missing from it", step_));
}

RunState TrainingLoop::state() {
    return {.config = config_,
            .data = task_->digests(),
            .model = *model_,
            .optimizer = *optimizer_,
            .calibrator = calibrator_,
            .measurements = m_};
}

TapeOptions TrainingLoop::tape_options(std::int64_t step) const {
    TapeOptions options = tape_;
    options.seed = config_.seed;
    options.step = static_cast<std::uint64_t>(step);
    return options;
}

Var TrainingLoop::loss_of(Tape& tape, const Batch& batch) {
    return cross_entropy(logits(*model_, tape, batch), batch.labels,
                         {.label_smoothing = config_.label_smoothing});
}

bool TrainingLoop::calibration_due() const {
    const std::int64_t every = config_.calibrate_every;
    return calibrator_.needed() && config_.calibrate == "paper" &&
           (every > 0 ? step_ % every == 0 : step_ == 0);
}

/// Whether an epoch, or the run, was trained to its end and not evaluated yet.
bool TrainingLoop::epoch_due() const {
    return m_.epoch_steps > 0 && (step_ % train_.steps == 0 || step_ == total_);
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
    } catch (const Stopped&) {
        meter().reset();
        throw;
    }
}

// The next batches are read ahead and not consumed; no mask, order or running statistic moves, so
// that the run goes on as if nothing had happened.
void TrainingLoop::calibration_batches() {
    for (std::int64_t i = 0; i < config_.calibrate_batches; ++i) {
        const Batch batch = train_.batch(step_ + i);
        const std::int64_t parts = std::min(config_.calibrate_split, batch.size());
        for (std::int64_t part = 0; part < parts; ++part) {
            look_for_stop(step_);
            const std::int64_t begin = part * batch.size() / parts;
            const std::int64_t count = (part + 1) * batch.size() / parts - begin;
            TapeOptions options = tape_options(step_ + i);
            options.update_statistics = false;
            options.first_sample = begin;
            Tape tape(options);
            const Var loss = loss_of(tape, batch.part(begin, count));
            const double share = static_cast<double>(count) / static_cast<double>(batch.size());
            tape.backward(loss, Tensor::full(loss.shape(), static_cast<real>(share)));
            zero_grad(*model_);
        }
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
    const std::vector<LayerRanks> ranks = calibrator_.ranks();
    m_.take_ranks(ranks);
    run_.append_metrics(calibration_line(step_, ranks));
    if (const std::string text = left_vanilla_message(step_, ranks); !text.empty())
        progress.line(text);
}

// Calibration by steps that train: they are watched, a share of each or the exact ones, and nothing
// runs for calibration alone. What to do is a function of the step, so a resumed run does the same.
void TrainingLoop::watch(Progress& progress) {
    using Watch = Calibrator::Watch;
    if (config_.calibrate == "paper" || !calibrator_.needed()) return;
    const bool stream = config_.calibrate == "stream";
    const std::int64_t every = config_.calibrate_every, batches = config_.calibrate_batches;
    const std::int64_t since = stream || every == 0 ? step_ : step_ % every;
    const bool due = since == batches || (stream && since > batches && since % every == 0);
    if (due) calibrate(progress, [&] { calibrator_.renew(stream ? config_.calibrate_keep : 0); });
    if (since < batches)
        calibrator_.watch(Watch::exactly);
    else if (stream)
        calibrator_.watch(Watch::share, {.samples = batches * config_.batch, .steps = every});
    else
        calibrator_.watch(Watch::nothing);
}

bool TrainingLoop::bits_due() const {
    if (!automatic_bits(config_)) return false;
    const auto every = config_.own.get<std::int64_t>(adapt_every_option());
    return every > 0 ? step_ % every == 0 : step_ == 0;
}

// Rehearses the step that comes, and changes nothing of the run but the bits.
void TrainingLoop::choose_bits(Progress& progress) {
    const Timer timer(m_, "calibrate");
    calibrator_.watch(Calibrator::Watch::nothing);
    const auto ranks = calibrator_.sketch_ranks();
    std::vector<Sensitivity> values;
    whole_or_not_at_all([&] {
        const PhaseScope phase("calibrate", true);
        const Batch batch = train_.batch(step_);
        const auto rehearse = [&](const std::shared_ptr<const Codec>& codec,
                                  TapeObserver* observer) {
            look_for_stop(step_);
            TapeOptions options = tape_options(step_);
            options.update_statistics = false;
            options.codec = codec;
            options.observer = observer;
            Tape tape(options);
            tape.backward(loss_of(tape, batch));
        };
        const bool passes = config_.own.get<std::string>(sensitivity_option()) == "passes";
        values = passes ? sensitivities_by_passes(codec_, *model_, rehearse)
                        : sensitivities_by_calls(codec_, *model_, rehearse);
    });
    calibrator_.set_sketch_ranks(ranks);
    calibrator_.take_sketch_records();
    m_.bits = allocate_bits(values, *automatic_bits(config_));
    ++m_.bit_choices;
    codec_->set_bits(m_.bits);
    run_.append_metrics(bits_line(step_, values, m_.bits));
    progress.line(bits_text(step_, values, m_.bits));
}

double TrainingLoop::train_step(const Batch& batch) {
    Tape tape(tape_options(step_));
    Var loss;
    {
        const Timer timer(m_, "forward");
        loss = loss_of(tape, batch);
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
    if (config_.clip > 0) {
        grad_norm_ = clip_grad_norm(*model_, config_.clip);
        require(std::isfinite(grad_norm_),
                "[train] step {}: the norm of the gradients is {}. Hint: a lower --lr (now {})",
                step_, grad_norm_, config_.lr);
    }
    optimizer_->set_lr(config_.lr * schedule_.factor(step_));
    optimizer_->step();
    zero_grad(*model_);
    return value;
}

/// Where a method makes sketches: every so many steps, and in the last, what each layer's did
/// since.
void TrainingLoop::take_sketches() {
    constexpr std::int64_t every = 50;
    for (const auto& [layer, record] : calibrator_.take_sketch_records()) {
        m_.sketches[layer] += record;
        m_.new_sketches[layer] += record;
    }
    const bool due = (step_ + 1) % every == 0 || step_ + 1 == total_;
    if (m_.new_sketches.empty() || !due) return;
    run_.append_metrics(sketch_line(step_, std::exchange(m_.new_sketches, {})));
}

void TrainingLoop::log(const Batch& batch, double loss) {
    nlohmann::json line{{"type", "step"},
                        {"step", step_},
                        {"epoch", step_ / train_.steps + 1},
                        {"loss", loss},
                        {"lr", optimizer_->lr()},
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
                [&] { evaluation = evaluate(*model_, test_, task_->metrics(), stop); });
        } catch (const Error& error) {
            fail("[train] step {}: {}. Hint: a lower --lr (now {})", step_, error.what(),
                 config_.lr);
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
    progress.line(fmt::format("epoch {}/{}  train loss {:.4f}  test loss {:.4f}  {}", epoch,
                              (total_ + train_.steps - 1) / train_.steps, train_loss,
                              evaluation.loss, to_string(evaluation.scores, task_->metrics())));
}

void TrainingLoop::save() {
    const Timer timer(m_, "save");
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
    for (const auto& [split, note] : {std::pair{"training", train_.note}, {"test", test_.note}})
        if (!note.empty()) progress.line(fmt::format("{}: {}", split, note));
    progress.line(
        fmt::format("majority class: {}", to_string(task_->baseline(), task_->metrics())));
    progress.line(fmt::format("steps {} to {}, {} threads, {} kernels", step_, total_, threads(),
                              blas().kernels));
}

void TrainingLoop::train(Progress& progress) {
    Prefetcher batches(train_.batch, step_, total_);
    for (;;) {
        if (epoch_due()) {
            end_epoch(progress);
            save();
        }
        if (step_ >= total_) return;
        look_for_stop(step_);
        if (calibration_due())
            calibrate(progress, [&] { calibrator_.calibrate([&] { calibration_batches(); }); });
        if (bits_due()) choose_bits(progress);
        watch(progress);
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
    if (has_adapters(*model_)) save_adapters(run_.file(adapter_file), *model_);
    save_weights(run_.file("model.safetensors"), *model_);
    summary_ = make_summary(config_, m_, step_, shapes_, calibrator_.ranks(), task_->baseline());
    run_.write_json("summary.json", summary_);
    run_.finish();
}

bool TrainingLoop::run() {
    Progress progress(fmt::format("{} {} seed {}", config_.model, config_.method, config_.seed),
                      step_, total_, options_.quiet);
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
