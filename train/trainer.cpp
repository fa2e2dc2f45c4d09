#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/blas.h"
#include "train/run_directory.h"
#include "train/same_run.h"
#include "train/task.h"
#include "train/training_loop.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

TrainConfig checked(TrainConfig config) {
    validate(config);
    config = resolved(std::move(config));
    if (config.threads == 0)  // the environment may ask for more
        config.threads = std::min<std::int64_t>(threads(), max_threads());
    // A run may be resumed from another directory.
    for (std::string* place : {&config.data_dir, &config.from, &config.vocab})
        if (!place->empty()) *place = fs::absolute(*place).lexically_normal().string();
    return config;
}

TrainConfig config_of(const fs::path& run) {
    TrainConfig config = read_config(run);
    config.out = run.string();
    return checked(std::move(config));
}

/// The summary of a run that is complete, if it is; throws Error if config.json says that it should
/// be another run by now.
std::unique_ptr<const nlohmann::json> summary_of(const fs::path& run) {
    if (!is_complete(run)) return nullptr;
    const fs::path file = run / "summary.json";
    nlohmann::json summary = read_json(file);
    require(summary.is_object() && summary.contains("config"),
            "[run] expected the summary of a run in '{}'", file.string());
    const std::string changed = changes(
        identity(config_from_json(summary["config"], file.string())), identity(config_of(run)));
    require(changed.empty(),
            "[run] '{}' is complete, and its config.json was changed since: {}. Hint: --from {} "
            "begins another run from its weights",
            run.string(), changed, run.string());
    return std::make_unique<const nlohmann::json>(std::move(summary));
}

}  // namespace

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

Trainer::Trainer(TrainConfig config, TrainerOptions options) : directory_(config.out) {
    config = checked(std::move(config));
    require_apart(config, config.out);
    RunDirectory run = RunDirectory::create(directory_, options.overwrite);
    set_threads(static_cast<int>(config.threads));
    std::unique_ptr<Task> task = open_task(config);
    loop_ = std::make_unique<TrainingLoop>(std::move(run), std::move(config), std::move(task),
                                           std::move(options));
    loop_->begin();
}

Trainer::Trainer(const fs::path& path, TrainerOptions options) : directory_(path) {
    RunDirectory run = RunDirectory::open(path);
    summary_ = summary_of(path);
    if (summary_) return;
    TrainConfig config = config_of(path);
    set_threads(static_cast<int>(config.threads));
    std::unique_ptr<Task> task = open_task(config, path);
    loop_ = std::make_unique<TrainingLoop>(std::move(run), std::move(config), std::move(task),
                                           std::move(options));
    loop_->resume();
}

Trainer::~Trainer() = default;

bool Trainer::run() { return !loop_ || loop_->run(); }
const nlohmann::json& Trainer::summary() const { return loop_ ? loop_->summary() : *summary_; }

}  // namespace slimgrad
