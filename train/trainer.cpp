#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/prefetcher.h"
#include "instant/trace.h"
#include "nn/losses.h"
#include "optim/clip.h"
#include "tensor/allocator.h"
#include "tensor/blas.h"
#include "tensor/ledger.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/process.h"
#include "train/progress.h"
#include "train/rank_history.h"
#include "train/run_directory.h"
#include "train/summary.h"
#include "train/task.h"
#include "train/weights.h"

namespace slimgrad {

void require_finite(const Batch& batch, std::int64_t step, const std::string& data) {
    if (!batch.x.defined()) return;  // tokens are integers
    const auto values = batch.x.values();
    const auto bad =
        std::ranges::find_if_not(values, [](real value) { return std::isfinite(value); });
    if (bad == values.end()) return;
    const std::int64_t sample = (bad - values.begin()) / (batch.x.numel() / batch.size());
    fail("[train] step {}: sample {} of data set {} holds the value {}. Hint: check its file", step,
         batch.indices.at(static_cast<std::size_t>(sample)), data, *bad);
}

namespace {

/// The linear maps that a training step executes.
std::vector<LinearShape> trace(Module& model, const Split& data) {
    const Batch batch = data.batch(0);
    return trace_linear_maps(model, [&] {
        Tape tape({.update_statistics = false});
        logits(model, tape, batch.part(0, std::min<std::int64_t>(batch.size(), 2)));
    });
}

TrainConfig checked(TrainConfig config) {
    validate(config);
    config = resolved(std::move(config));
    if (config.threads == 0) config.threads = threads();
    // A run may be resumed from another directory.
    for (std::string* place : {&config.data_dir, &config.from, &config.vocab})
        if (!place->empty()) *place = std::filesystem::absolute(*place).lexically_normal().string();
    set_threads(static_cast<int>(config.threads));
    return config;
}

TrainConfig config_of(const RunDirectory& run) {
    const auto file = run.file("config.json");
    TrainConfig config = config_from_json(read_json(file), file.string());
    config.out = run.path().string();
    return checked(std::move(config));
}

}  // namespace

class Trainer::Loop {
  public:
    Loop(RunDirectory run, TrainConfig config, std::unique_ptr<Task> task, TrainerOptions options)
        : config_(std::move(config)),
          options_(std::move(options)),
          run_(std::move(run)),
          task_(std::move(task)),
          train_(task_->train()),
          test_(task_->test()),
          model_(task_->model()),
          calibrator_(*model_, config_.method_options()),
          optimizer_(make_optimizer(*model_, config_.optimizer_options())),
          total_(config_.steps > 0 ? config_.steps : config_.epochs * train_.steps),
          schedule_(config_.schedule_options(total_)),
          shapes_(trace(*model_, train_)) {}

    void begin() {
        if (!config_.from.empty()) m_.loaded = task_->load(*model_);
        run_.begin(to_json(config_));
        task_->save(run_.path());
    }

    void resume() {
        RunState state = this->state();
        load_checkpoint(run_.file(checkpoint_file), state);
        step_ = state.step;
        run_.truncate_metrics(state.metrics_bytes);
    }

    bool run();

    const RunDirectory& directory() const { return run_; }
    const nlohmann::json& summary() const { return summary_; }

  private:
    RunState state() {
        return {.model = *model_,
                .optimizer = *optimizer_,
                .calibrator = calibrator_,
                .measurements = m_};
    }
    TapeOptions tape_options(std::int64_t step) const {
        return {.seed = config_.seed, .step = static_cast<std::uint64_t>(step)};
    }
    Var loss_of(Tape& tape, const Batch& batch) {
        return cross_entropy(logits(*model_, tape, batch), batch.labels,
                             {.label_smoothing = config_.label_smoothing});
    }
    bool calibration_due() const {
        const std::int64_t every = config_.calibrate_every;
        return calibrator_.needed() && (every > 0 ? step_ % every == 0 : step_ == 0);
    }
    std::int64_t epoch_of(std::int64_t step) const { return step / train_.steps; }

    void introduce(Progress& progress) const;
    void calibrate(Progress& progress);
    double train_step(const Batch& batch);
    void end_epoch(Progress& progress);
    void save();

    TrainConfig config_;
    TrainerOptions options_;
    RunDirectory run_;
    std::unique_ptr<Task> task_;
    Split train_, test_;
    std::unique_ptr<Module> model_;
    Calibrator calibrator_;
    std::unique_ptr<Optimizer> optimizer_;
    std::int64_t total_;
    Schedule schedule_;
    std::vector<LinearShape> shapes_;
    Measurements m_;
    std::int64_t step_ = 0;
    double grad_norm_ = 0;
    nlohmann::json summary_;
};

// The next batches are read ahead and not consumed; no mask, order or running statistic moves, so
// that the run goes on as if nothing had happened.
void Trainer::Loop::calibrate(Progress& progress) {
    const Timer timer(m_, "calibrate");
    const auto run_batches = [&] {
        for (std::int64_t i = 0; i < config_.calibrate_batches; ++i) {
            const Batch batch = train_.batch(step_ + i);
            const std::int64_t parts = std::min(config_.calibrate_split, batch.size());
            for (std::int64_t part = 0; part < parts; ++part) {
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
    };
    try {
        calibrator_.calibrate(run_batches);
    } catch (const Error& error) {
        fail("[train] step {}: {}", step_, error.what());
    }
    const std::vector<LayerRanks> ranks = calibrator_.ranks();
    m_.take_ranks(ranks);
    run_.append_metrics(calibration_line(step_, ranks));
    if (const std::string text = left_vanilla_message(step_, ranks); !text.empty())
        progress.line(text);
}

double Trainer::Loop::train_step(const Batch& batch) {
    Tape tape(tape_options(step_));
    Var loss;
    {
        const Timer timer(m_, "forward");
        loss = loss_of(tape, batch);
    }
    m_.take_saved(batch.size());
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

void Trainer::Loop::end_epoch(Progress& progress) {
    Evaluation evaluation;
    {
        const Timer timer(m_, "evaluate");
        try {
            evaluation = evaluate(*model_, test_, task_->metrics());
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

void Trainer::Loop::save() {
    const Timer timer(m_, "save");
    m_.take_flops();
    m_.take_peaks();
    RunState state = this->state();
    state.step = step_;
    state.metrics_bytes = run_.metrics_bytes();
    save_checkpoint(run_.file(checkpoint_file), state);
}

void Trainer::Loop::introduce(Progress& progress) const {
    if (!config_.from.empty() && step_ == 0)
        progress.line(fmt::format("{}: {}", config_.from, to_string(m_.loaded)));
    for (const std::string& note : task_->notes()) progress.line(note);
    for (const auto& [split, note] : {std::pair{"training", train_.note}, {"test", test_.note}})
        if (!note.empty()) progress.line(fmt::format("{}: {}", split, note));
    progress.line(
        fmt::format("majority class: {}", to_string(task_->baseline(), task_->metrics())));
    progress.line(fmt::format("steps {} to {}, {} threads, {} kernels", step_, total_, threads(),
                              blas().kernels));
}

bool Trainer::Loop::run() {
    Progress progress(fmt::format("{} {} seed {}", config_.model, config_.method, config_.seed),
                      step_, total_, options_.quiet);
    introduce(progress);
    meter().reset();
    // The peaks are to be those of training, not of what was read and built before.
    ledger().reset_peaks();
    allocator::trim();
    reset_peak_rss();
    Prefetcher batches(train_.batch, step_, total_);
    while (step_ < total_) {
        if (options_.stop && options_.stop(step_)) {
            save();
            return false;
        }
        if (calibration_due()) calibrate(progress);
        Batch batch;
        {
            const Timer timer(m_, "data");
            batch = batches.next();
            require_finite(batch, step_, config_.data);
        }
        const double loss = train_step(batch);
        m_.epoch_loss += loss;
        ++m_.epoch_steps;
        if (step_ % config_.log_every == 0) {
            nlohmann::json line{{"type", "step"},
                                {"step", step_},
                                {"epoch", epoch_of(step_) + 1},
                                {"loss", loss},
                                {"lr", optimizer_->lr()},
                                {"batch", fmt::format("{:016x}", digest(batch))}};
            if (config_.clip > 0) line["grad_norm"] = grad_norm_;
            run_.append_metrics(line);
        }
        ++step_;
        progress.step(step_, loss);
        const bool epoch_ends = step_ % train_.steps == 0 || step_ == total_;
        if (epoch_ends) end_epoch(progress);
        if (epoch_ends || (config_.checkpoint_every > 0 && step_ % config_.checkpoint_every == 0))
            save();
    }
    m_.take_flops();
    m_.take_peaks();
    save_weights(run_.file("model.safetensors"), *model_);
    summary_ = make_summary(config_, m_, step_, shapes_, calibrator_.ranks(), task_->baseline());
    run_.write_json("summary.json", summary_);
    return true;
}

Trainer::Trainer(TrainConfig config, TrainerOptions options) {
    config = checked(std::move(config));
    std::error_code none;
    require(config.from.empty() || !std::filesystem::equivalent(config.from, config.out, none),
            "[config] expected another directory as out than the '{}' that the run begins from",
            config.from);
    RunDirectory run = RunDirectory::create(config.out, options.overwrite);
    const std::filesystem::path path = run.path();
    try {
        auto task = open_task(config);
        loop_ = std::make_unique<Loop>(std::move(run), std::move(config), std::move(task),
                                       std::move(options));
        loop_->begin();
    } catch (...) {
        RunDirectory::discard(path);
        throw;
    }
}

Trainer::Trainer(const std::filesystem::path& path, TrainerOptions options) {
    RunDirectory run = RunDirectory::open(path);
    TrainConfig config = config_of(run);
    auto task = open_task(config, path);
    loop_ = std::make_unique<Loop>(std::move(run), std::move(config), std::move(task),
                                   std::move(options));
    loop_->resume();
}

Trainer::~Trainer() = default;

bool Trainer::run() { return loop_->run(); }
const std::filesystem::path& Trainer::directory() const { return loop_->directory().path(); }
const nlohmann::json& Trainer::summary() const { return loop_->summary(); }

}  // namespace slimgrad
