#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/evaluate.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/task.h"

namespace slimgrad::cli {
namespace {

struct Options {
    bool json = false, allow_fresh = false;
    std::string from;
    std::unique_ptr<RunOptions> run;
};

/// What was asked for; for a run, over its own options.
TrainConfig config_of(const Options& options) {
    require(!options.from.empty(),
            "[eval] expected weights. Hint: --from FILE.safetensors, or a run");
    const bool is_run = holds_run(options.from);
    TrainConfig config = is_run ? options.run->config_over(config_file(options.from).string())
                                : options.run->config();
    config.from = options.from;
    std::vector<std::string> notes = without_effect(config, options.run->given());
    if (is_run && !std::exchange(config.vocab, "").empty() &&
        std::ranges::count(options.run->given(), "vocab") > 0)
        notes.emplace_back("vocab has no effect: the run has its own");
    print_notes(notes);
    require_same_kind(config);  // else an option that only the run has would be blamed
    validate(config);
    return resolved(std::move(config));
}

/// Weights that were drawn, not read, predict by chance.
void require_all_loaded(const LoadReport& loaded, const Options& options) {
    require(loaded.fresh.empty() || options.allow_fresh,
            "[eval] '{}' lacks weights of this model ({}). Hint: train it first, or --allow-fresh "
            "to draw them at random",
            options.from, why_fresh(loaded));
}

Evaluation evaluated(Module& model, const Task& task) {
    try {
        return evaluate(model, task.test(), task.metrics());
    } catch (const Error& error) {
        fail("[eval] {}", error.what());
    }
}

int eval(const Options& options) {
    const TrainConfig config = config_of(options);
    if (config.threads > 0) set_threads(config.threads);
    const std::unique_ptr<Task> task = open_task(config);
    const std::unique_ptr<Module> model = task->model();
    const LoadReport loaded = task->load(*model);
    require_all_loaded(loaded, options);
    const Evaluation result = evaluated(*model, *task);
    if (!holds_run(config.from)) say(fmt::format("{}: {}\n", config.from, to_string(loaded)));
    for (const std::string& note : task->notes()) say(fmt::format("{}\n", note));
    const std::string passed_over = passed_over_note(task->passed_over());
    if (!passed_over.empty()) say(fmt::format("{}\n", passed_over));
    if (!options.json) {
        fmt::print("{}   loss {:.4f}   ({} samples)\nmajority class: {}\n",
                   to_string(result.scores, task->metrics()), result.loss, result.samples,
                   to_string(task->baseline(), task->metrics()));
        return exit_done;
    }
    nlohmann::json document{{"data", config.data},       {"model", config.model},
                            {"from", config.from},       {"loss", result.loss},
                            {"samples", result.samples}, {"majority_baseline", task->baseline()},
                            {"fresh", loaded.fresh},     {"unused", loaded.unused}};
    if (!passed_over.empty()) document["passed_over"] = passed_over;
    document.update(nlohmann::json(result.scores));
    print_json(document);
    return exit_done;
}

}  // namespace

Action add_eval(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "eval", "Metrics and loss of a saved or imported model on the test set",
        "slimgrad eval --data cifar10 --data-dir DIR --model resnet20 --from resnet20.safetensors\n"
        "  slimgrad eval --from runs/mrpc",
        options->json);
    add_option(*command,
               {"from", AnyText{},
                "a run, whose own options hold unless others are given; a safetensors file; or a "
                "directory of Hugging Face"},
               options->from);
    command->add_flag("--allow-fresh", options->allow_fresh,
                      "evaluate although weights are missing: these are drawn at random");
    const std::set<std::string> used = {"data",       "data_dir",    "limit_test",   "max_length",
                                        "image_size", "pixel_scale", "bad_pictures", "vocab",
                                        "model",      "workers",     "batch",        "threads"};
    options->run = std::make_unique<RunOptions>(*command, used, RunOptions::Pick::only);
    return [options] { return eval(*options); };
}

}  // namespace slimgrad::cli
