#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"
#include "tensor/error.h"
#include "train/progress.h"
#include "train/task.h"
#include "train/trainer.h"

namespace slimgrad::cli {
namespace {

struct Options {
    bool json = false, quiet = false, overwrite = false, no_notes = false;
    std::string resume;
    std::unique_ptr<RunOptions> run;
};

std::string default_directory(const TrainConfig& config) {
    return fmt::format("runs/{}-{}-{}-seed{}", config.data, config.model, config.method,
                       config.seed);
}

/// "accuracy 84.31 %   f1 88.97 %", the metrics of the data set as `scores` has them.
std::string metrics_of(const nlohmann::json& summary, const nlohmann::json& scores) {
    std::string text;
    for (const auto& [metric, baseline] : summary.at("majority_baseline").items())
        text += fmt::format("{}{} {:.2f} %", text.empty() ? "" : "   ", metric,
                            100 * scores.at(metric).get<double>());
    return text;
}

void print_summary(const nlohmann::json& summary, const std::string& directory) {
    const auto& flops = summary.at("flops");
    const auto& seconds = summary.at("seconds");
    fmt::print(
        "{}   test loss {:.4f}\n"
        "majority class: {}\n"
        "backward of the linear maps {:.2f} GFLOP, {:.2f} with calibration\n"
        "saved {:.1f} KiB a sample   peak memory {:.1f} MiB\n"
        "forward {:.1f} s   backward {:.1f} s   calibration {:.1f} s   optimizer {:.1f} s\n"
        "run directory {}\n",
        metrics_of(summary, summary), summary.at("loss").get<double>(),
        metrics_of(summary, summary.at("majority_baseline")),
        flops.at("backward_linear").get<double>() / 1e9,
        flops.at("backward_linear_with_calibration").get<double>() / 1e9,
        summary.at("bytes").at("saved_per_sample").get<double>() / 1024,
        summary.at("bytes").at("rss_peak").get<double>() / (1 << 20),
        seconds.at("forward").get<double>(), seconds.at("backward").get<double>(),
        seconds.at("calibrate").get<double>(), seconds.at("optimizer").get<double>(), directory);
}

int train(const Options& options) {
    const TrainerOptions how{.overwrite = options.overwrite,
                             .quiet = options.quiet,
                             .stop = [](std::int64_t) { return interrupted(); }};
    std::unique_ptr<Trainer> trainer;
    if (!options.resume.empty()) {
        std::vector<std::string> given;
        if (options.run->has_file()) given.emplace_back("--config");
        for (const std::string& name : options.run->given()) given.push_back(flag(name));
        if (options.overwrite) given.emplace_back("--overwrite");
        if (!given.empty())
            fail("[train] --resume takes every option from {}/config.json: leave out {}",
                 options.resume, given.front());
        trainer = std::make_unique<Trainer>(std::filesystem::path(options.resume), how);
    } else {
        TrainConfig config = options.run->config();
        validate(config);
        config = resolved(std::move(config));
        if (config.out.empty()) config.out = default_directory(config);
        if (!options.no_notes) print_notes(without_effect(config, options.run->given()));
        trainer = std::make_unique<Trainer>(std::move(config), how);
    }
    const std::string directory = trainer->directory().string();
    if (trainer->was_complete() && !options.quiet)
        say(fmt::format("'{}' is complete, and stays as it is\n", directory));
    // Until here there was nothing to save: an interrupt ended the program.
    catch_interrupts();
    if (!trainer->run()) {
        say(fmt::format("stopped, and saved. To continue: slimgrad train --resume '{}'\n",
                        directory));
        return exit_interrupted;
    }
    if (options.json)
        print_json(trainer->summary());
    else
        print_summary(trainer->summary(), directory);
    return exit_done;
}

}  // namespace

Action add_train(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "train", "Train a model with a backward method, into a run directory",
        "slimgrad train --data cifar10 --data-dir DIR --model vit-tiny --method instant --epochs 5 "
        "--out runs/instant\n"
        "  slimgrad train --data mrpc --data-dir DIR --from all-MiniLM-L6-v2 --method instant "
        "--schedule linear --lr 1e-4 --batch 32 --epochs 3 --calibrate-every 50 --out runs/mrpc",
        options->json);
    add_option(
        *command,
        {"resume", AnyText{},
         "continue this run from its last checkpoint, to the same bits; no option of it may have "
         "changed in its config.json"},
        options->resume);
    command->add_flag(
        "--overwrite", options->overwrite,
        "replace the run that --out holds, once data and weights of the new one are read");
    command->add_flag("--quiet", options->quiet, "no progress on standard error");
    command->add_flag("--no-notes", options->no_notes,
                      "do not say which of the options have no effect beside the others");
    options->run = std::make_unique<RunOptions>(*command);
    return [options] { return train(*options); };
}

}  // namespace slimgrad::cli
