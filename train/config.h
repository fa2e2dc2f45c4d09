#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "instant/method.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

namespace slimgrad {

/// Everything that determines a run. The same words serve the command line (`--data-dir`), JSON
/// (`"data_dir"`) and this struct; `for_each_option` is the one table of them.
struct TrainConfig {
    std::string data = "embedded-images";
    std::string data_dir;
    std::int64_t limit_train = 0;
    std::int64_t limit_test = 0;
    bool augment = false;
    std::int64_t max_length = 128;
    std::string vocab;

    std::string model;              // empty: see resolved() in task.h
    std::optional<double> dropout;  // none: the model's own
    std::string train_blocks = "all";
    std::string from;

    std::string method = "vanilla";
    double epsilon = 0.95;
    std::int64_t oversample = 5;
    std::optional<std::int64_t> rank_x, rank_g;
    std::string side = "auto", side_x, side_g;
    std::string offset = "energy";
    std::string break_even = "report";
    std::int64_t calibrate_every = 200;
    std::int64_t calibrate_batches = 5;
    std::int64_t calibrate_split = 1;

    std::int64_t epochs = 1;
    std::int64_t steps = 0;
    std::int64_t batch = 128;
    std::string optimizer = "adamw";
    double lr = 1e-3;
    double momentum = 0.9;
    bool nesterov = false;
    double weight_decay = 0;
    std::string schedule = "cosine";
    std::int64_t warmup = 0;
    std::int64_t lr_step = 0;
    double gamma = 0.1;
    double clip = 0;
    double label_smoothing = 0;

    std::uint64_t seed = 0;
    std::int64_t threads = 0;
    std::int64_t checkpoint_every = 0;
    std::int64_t log_every = 1;
    std::string out;

    MethodOptions method_options() const;
    OptimizerOptions optimizer_options() const;
    ScheduleOptions schedule_options(std::int64_t total_steps) const;
};

/// Calls f(name, member, help) for every option, in the order in which help lists them.
template <class Config, class F>
void for_each_option(Config& c, F f) {
    f("data", c.data, "data set, of images or of texts");
    f("data_dir", c.data_dir, "directory that holds its files");
    f("limit_train", c.limit_train, "train on the first N samples only (0: all)");
    f("limit_test", c.limit_test, "evaluate on the first N samples only (0: all)");
    f("augment", c.augment, "random crops and flips of images");
    f("max_length", c.max_length,
      "tokens of a text; longer ones are cut, and in training shorter ones filled up");
    f("vocab", c.vocab,
      "vocab.txt or tokenizer.json of a text model that begins from nothing (default: the one that "
      "ships with slimgrad)");
    f("model", c.model,
      "model (default: vit-micro for images; for texts that of from, or "
      "bert-tiny)");
    f("dropout", c.dropout,
      "dropout probability (default: 0 for images; for texts that of the model, 0.1)");
    f("train_blocks", c.train_blocks, "all, or last:K to freeze all but the last K blocks");
    f("from", c.from,
      "start from these weights: a safetensors file, a run, or a directory of Hugging Face with "
      "config.json, model.safetensors and vocab.txt or tokenizer.json");
    f("method", c.method, "backward method");
    f("epsilon", c.epsilon, "share of the energy that the ranks keep");
    f("oversample", c.oversample, "directions added to the rank that epsilon asks for");
    f("rank_x", c.rank_x, "fix the rank of the x slot instead");
    f("rank_g", c.rank_g, "fix the rank of the g slot instead");
    f("side", c.side, "axis to compress: token, channel or auto (the shorter one)");
    f("side_x", c.side_x, "that of the x slot, if it is another");
    f("side_g", c.side_g, "that of the g slot, if it is another");
    f("offset", c.offset, "scale of the projection: none, energy or signal");
    f("break_even", c.break_even,
      "slots whose rank costs more FLOPs than it saves: report, or vanilla to leave them exact");
    f("calibrate_every", c.calibrate_every,
      "steps between calibrations (0: only one, before training)");
    f("calibrate_batches", c.calibrate_batches, "batches of one calibration");
    f("calibrate_split", c.calibrate_split, "mini-batches into which each of them is split");
    f("epochs", c.epochs, "passes over the training set");
    f("steps", c.steps, "stop after N steps instead (0: use epochs)");
    f("batch", c.batch, "samples a step");
    f("optimizer", c.optimizer, "optimiser");
    f("lr", c.lr, "base learning rate");
    f("momentum", c.momentum, "momentum of sgd");
    f("nesterov", c.nesterov, "Nesterov's momentum in sgd");
    f("weight_decay", c.weight_decay,
      "weight decay (decoupled in adamw; for texts not of biases and LayerNorm)");
    f("schedule", c.schedule, "learning-rate schedule");
    f("warmup", c.warmup, "steps of linear warm-up");
    f("lr_step", c.lr_step, "schedule step: steps between drops (0: a third of the run)");
    f("gamma", c.gamma, "schedule step: factor of each drop");
    f("clip", c.clip, "clip the norm of all gradients to this (0: off)");
    f("label_smoothing", c.label_smoothing, "label smoothing of the training loss");
    f("seed", c.seed, "seed of weights, order, augmentation and dropout");
    f("threads", c.threads, "threads (0: as many as OpenMP gives)");
    f("checkpoint_every", c.checkpoint_every, "steps between checkpoints (0: each epoch)");
    f("log_every", c.log_every, "steps between lines of metrics.jsonl");
    f("out", c.out, "run directory to create");
}

/// Throws Error, one line that names the option and what it may be, unless every option is known
/// and in range.
void validate(const TrainConfig& config);

nlohmann::json to_json(const TrainConfig& config);
/// Throws Error for a key that is not an option (it lists them) or a value of another type. Options
/// that are absent keep their defaults. `source` names the file in messages.
TrainConfig config_from_json(const nlohmann::json& json, const std::string& source);

}  // namespace slimgrad
