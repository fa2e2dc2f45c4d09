#include "train/probe.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/linear_map.h"
#include "nn/losses.h"
#include "optim/clip.h"
#include "tensor/blas.h"
#include "train/checkpoint.h"
#include "train/run_directory.h"
#include "train/weights.h"

namespace slimgrad {
namespace {

TrainConfig config_of(const std::filesystem::path& run, std::int64_t threads) {
    std::error_code error;
    const bool exists = std::filesystem::exists(config_file(run), error);
    require(exists, "[snr] '{}' holds no run: {}", run.string(),
            error ? error.message() : "it has no config.json");
    TrainConfig config = read_config(run);
    config.out = run.string();
    if (threads > 0) config.threads = threads;
    validate(config);
    config = resolved(std::move(config));
    if (config.threads > 0) set_threads(config.threads);
    return config;
}

}  // namespace

RunProbe::RunProbe(std::filesystem::path run, std::int64_t threads)
    : path_(std::move(run)),
      config_(config_of(path_, threads)),
      task_(open_task(config_, path_)),
      train_(task_->train()) {
    rewind();
}

void RunProbe::rewind() {
    model_ = model_to_train(*task_, config_);
    optimizer_ = make_optimizer(*model_, config_.optimizer_options());
    optimizer_->set_projection(make_projection(*model_, config_.method_options()));
    const std::filesystem::path checkpoint = path_ / checkpoint_file;
    const std::filesystem::path weights = path_ / "model.safetensors";
    std::error_code none;
    if (std::filesystem::exists(checkpoint, none)) {
        Calibrator calibrator(*model_, config_.method_options());
        Measurements measurements;
        RunState state{.config = config_,
                       .data = task_->digests(),
                       .model = *model_,
                       .optimizer = *optimizer_,
                       .calibrator = calibrator,
                       .measurements = measurements};
        load_checkpoint(checkpoint, state);
        step_ = state.step;
    } else {
        require(std::filesystem::exists(weights, none),
                "[snr] run '{}' has saved no weights: neither {} "
                "nor model.safetensors",
                path_.string(), checkpoint_file);
        load_weights(weights, *model_);
    }
    for (LinearMap* layer : linear_maps(*model_)) layer->set_rule(ExactRule::instance());
}

double RunProbe::forward_backward(std::int64_t step, bool update_statistics) {
    const Batch batch = train_.batch(step);
    Tape tape({.update_statistics = update_statistics,
               .seed = config_.seed,
               .step = static_cast<std::uint64_t>(step)});
    const Var loss = cross_entropy(logits(*model_, tape, batch), batch.labels,
                                   {.label_smoothing = config_.label_smoothing});
    tape.backward(loss);
    return loss.value().item();
}

void RunProbe::pass(std::int64_t step) { forward_backward(step, false); }

void RunProbe::train(std::int64_t step, double lr) {
    const double loss = forward_backward(step, true);
    require(std::isfinite(loss), "[snr] step {}: the loss is {}. Hint: a lower --lr (now {})", step,
            loss, lr);
    if (config_.clip > 0) clip_grad_norm(*model_, config_.clip);
    optimizer_->set_lr(lr);
    optimizer_->step();
    zero_grad(*model_);
}

}  // namespace slimgrad
