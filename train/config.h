#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "instant/methods/gact.h"
#include "instant/methods/method.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "tensor/blas.h"
#include "tensor/option.h"

namespace slimgrad {

/// Everything that determines a run. The same words serve the command line (`--data-dir`), JSON
/// (`"data_dir"`) and this struct; `for_each_option` is the one table of them.
struct TrainConfig : MethodOptions {
    TrainConfig() { batch = 128; }

    std::string data = "embedded-images";
    std::string data_dir;
    std::int64_t limit_train = 0;
    std::int64_t limit_test = 0;
    bool augment = false;
    std::int64_t image_size = 0;
    std::string pixel_scale = "auto";
    std::string bad_pictures = "fail";
    std::int64_t workers = 1;
    std::int64_t max_length = 128;
    std::string pad = "fixed";
    std::string vocab;

    std::string model;              // empty: see resolved() in task.h
    std::optional<double> dropout;  // none: the model's own
    double drop_path = 0;
    std::string batch_norm = "train";
    std::string train_blocks = "all";
    std::string from;

    std::string codec;  // "gact" or "gact:LEVEL" until spelled_out() adds it to the method
    bool codec_was_added = false;  // it has

    std::string calibrate = "paper";
    std::int64_t calibrate_every = 200;
    std::int64_t calibrate_batches = 5;
    std::int64_t calibrate_split = 1;
    double calibrate_keep = 0.5;

    std::int64_t epochs = 1;
    std::int64_t steps = 0;
    std::string optimizer = "adamw";
    double lr = 1e-3;
    double momentum = 0.9;
    bool nesterov = false;
    double weight_decay = 0;
    std::string schedule = "cosine";
    std::int64_t warmup = 0;
    std::int64_t lr_step = 0;
    double gamma = 0.1;
    double min_lr_rate = 0;
    double clip = 0;
    double label_smoothing = 0;

    std::uint64_t seed = 0;
    std::int64_t threads = 0;
    std::int64_t checkpoint_every = 0;
    std::int64_t log_every = 1;
    std::string out;

    const MethodOptions& method_options() const { return *this; }
    OptimizerOptions optimizer_options() const;
    ScheduleOptions schedule_options(std::int64_t total_steps) const;
};

/// The same with the codec as a part of the method: instant and gact:L2 become instant+gact with
/// level L2. Throws Error, one line that begins with `where`, as add_codec does.
TrainConfig spelled_out(TrainConfig config, const std::string& where);

/// Names of data sets, and of models, of images and of texts.
std::vector<std::string> data_names();
std::vector<std::string> known_models();

/// Calls f(option, member) for every option, in the order in which help lists them. Passes over the
/// data times steps of a pass stay far below 2^63: no product of two options wraps.
template <class Config, class F>
requires std::same_as<std::remove_const_t<Config>, TrainConfig>
void for_each_option(Config& c, F f) {
    constexpr std::int64_t million = 1'000'000, billion = 1'000'000'000;
    constexpr double largest = 1e38;  // single precision holds no more
    f({"data", Words{data_names()}, "data set, of images or of texts"}, c.data);
    f({"data_dir", AnyText{}, "directory that holds its files"}, c.data_dir);
    f({"limit_train", Integers{0, billion}, "train on the first N samples only (0: all)"},
      c.limit_train);
    f({"limit_test", Integers{0, billion}, "evaluate on the first N samples only (0: all)"},
      c.limit_test);
    f({"augment", YesNo{}, "random crops and flips of images"}, c.augment);
    f({"image_size", Integers{0, 4096},
       "resize images to so many pixels a side, as RGB (0: image-folder to what the model is made "
       "for, others not)"},
      c.image_size);
    f({"pixel_scale", Words{{"auto", "imagenet", "half"}},
       "what resized pixels are normalised by: mean and deviation of ImageNet, or -1 to 1 "
       "(auto: half for efficientnet-lite0, else imagenet)"},
      c.pixel_scale);
    f({"bad_pictures", Words{{"fail", "skip"}},
       "a file that cannot be read ends the run, or the next one takes its place"},
      c.bad_pictures);
    f({"workers", Integers{1, 64}, "threads that read and resize pictures ahead of training"},
      c.workers);
    f({"max_length", Integers{1, million},
       "tokens of a text; longer ones are cut, and in training shorter ones filled up"},
      c.max_length);
    f({"pad", Words{{"fixed", "batch"}},
       "texts are filled up in training: to max_length (fixed), as in all documented runs, or to "
       "the longest of the batch (batch), where the method needs no fixed length"},
      c.pad);
    f({"vocab", AnyText{},
       "vocab.txt or tokenizer.json of a text model that begins from nothing (default: the one "
       "that ships with slimgrad)"},
      c.vocab);
    f({"model", AnyText{known_models()},
       "model (default: vit-micro for images; for texts that of from, or bert-tiny)"},
      c.model);
    f({"dropout", Reals{0, 1, false, true},
       "dropout probability (default: 0 for images; for texts that of the model, 0.1)"},
      c.dropout);
    f({"drop_path", Reals{0, 1, false, true},
       "probability that a residual block of a model of images is left out for a sample, for the "
       "deepest; it falls to 0 at the first; not of ResNets"},
      c.drop_path);
    f({"batch_norm", Words{{"train", "frozen"}},
       "statistics of the batch in training, or frozen: those of the weights, which stay"},
      c.batch_norm);
    f({"train_blocks", AnyText{}, "all, or last:K to freeze all but the last K blocks"},
      c.train_blocks);
    f({"from", AnyText{},
       "start from these weights: a safetensors file, a run, or a directory with "
       "model.safetensors; "
       "of texts also with config.json and vocab.txt or tokenizer.json, of images in the names of "
       "slimgrad, torchvision, timm or Hugging Face"},
      c.from);
    f(name_option(), c.method);
    f(codec_option(), c.codec);
    for_each_method_option(method_part(c), f);
    f({"calibrate", Words{{"paper", "train", "stream"}},
       "what is calibrated on: batches read ahead, the exact steps that train in their place, or a "
       "share of every step"},
      c.calibrate);
    f({"calibrate_every", Integers{0, billion},
       "steps between calibrations (0: only one, before training)"},
      c.calibrate_every);
    f({"calibrate_batches", Integers{1, million}, "batches of one calibration"},
      c.calibrate_batches);
    f({"calibrate_split", Integers{1, million}, "mini-batches into which each of them is split"},
      c.calibrate_split);
    f({"calibrate_keep", Reals{0, 1, false, true},
       "calibrate stream: how much of what was seen before a calibration counts in the next"},
      c.calibrate_keep);
    f({"epochs", Integers{1, million}, "passes over the training set"}, c.epochs);
    f({"steps", Integers{0, billion}, "stop after N steps instead (0: use epochs)"}, c.steps);
    f(batch_option(), c.batch);
    f({"optimizer", Words{optimizer_names()}, "optimiser"}, c.optimizer);
    f({"lr", Reals{0, largest}, "base learning rate"}, c.lr);
    f({"momentum", Reals{0, 1}, "momentum of sgd"}, c.momentum);
    f({"nesterov", YesNo{}, "Nesterov's momentum in sgd"}, c.nesterov);
    f({"weight_decay", Reals{0, million},
       "weight decay (decoupled in adamw; for texts not of biases and LayerNorm)"},
      c.weight_decay);
    f({"schedule", Words{schedule_names()}, "learning-rate schedule"}, c.schedule);
    f({"warmup", Integers{0, billion}, "steps of linear warm-up"}, c.warmup);
    f({"lr_step", Integers{0, billion},
       "schedule step: steps between drops (0: a third of the run)"},
      c.lr_step);
    f({"gamma", Reals{0, 1000, true}, "schedule step: factor of each drop"}, c.gamma);
    f({"min_lr_rate", Reals{0, 1},
       "schedules cosine and linear: what is left of the learning rate at the end"},
      c.min_lr_rate);
    f({"clip", Reals{0, largest}, "clip the norm of all gradients to this (0: off)"}, c.clip);
    f({"label_smoothing", Reals{0, 1, false, true}, "label smoothing of the training loss"},
      c.label_smoothing);
    f({"seed", Integers{0, std::numeric_limits<std::int64_t>::max()},
       "seed of weights, order, augmentation and dropout"},
      c.seed);
    f({"threads", Integers{0, max_threads()}, "threads (0: as many as OpenMP gives)"}, c.threads);
    f({"checkpoint_every", Integers{0, billion}, "steps between checkpoints (0: each epoch)"},
      c.checkpoint_every);
    f({"log_every", Integers{1, billion}, "steps between lines of metrics.jsonl"}, c.log_every);
    f({"out", AnyText{}, "run directory to create"}, c.out);
}

/// The names of all options.
std::vector<std::string> option_names();

/// How many runs a comparison makes of each method, with one seed each.
Option seeds_option();

/// Throws Error, one line that names the option and what it may be, unless every option is known
/// and in range, and they fit each other.
void validate(const TrainConfig& config);
/// Which of the options named have no effect beside the others, with the reason: "momentum has no
/// effect: the optimizer is adamw".
std::vector<std::string> without_effect(const TrainConfig& config,
                                        const std::vector<std::string>& names);

nlohmann::json to_json(const TrainConfig& config);
/// Throws Error for a key that is not an option (it lists them) or a value that the option may not
/// have. Options that are absent have the value of the `recipe`, if that is a key, or else their
/// defaults. `source` names the file in messages.
TrainConfig config_from_json(const nlohmann::json& json, const std::string& source);
/// Sets one option from a text of the command line. Throws Error that begins with `where`.
void set_option(TrainConfig& config, const std::string& name, const std::string& text,
                const std::string& where);

}  // namespace slimgrad
