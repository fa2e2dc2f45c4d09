#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "data/image_data.h"
#include "nn/models/model.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/evaluate.h"
#include "train/weights.h"

namespace slimgrad::cli {
namespace {

struct Options {
    bool json = false;
    TrainConfig config;  // data, data_dir, limit_test, model, from, batch, threads
};

int eval(const Options& options) {
    const TrainConfig& config = options.config;
    validate(config);
    require(!config.from.empty(), "[eval] expected weights. Hint: --from FILE.safetensors");
    if (config.threads > 0) set_threads(static_cast<int>(config.threads));
    auto data = std::make_shared<ImageData>(load_images(config.data, config.data_dir).test);
    if (config.limit_test > 0) data->truncate(config.limit_test);
    const auto model = make_model(config.model, {.channels = data->channels,
                                                 .height = data->height,
                                                 .width = data->width,
                                                 .classes = std::ssize(data->classes)});
    load_weights(config.from, *model);
    const Evaluation result = evaluate(*model, data, config.batch);
    if (options.json) {
        const nlohmann::json document{{"data", config.data}, {"model", config.model},
                                      {"from", config.from}, {"accuracy", result.accuracy},
                                      {"loss", result.loss}, {"samples", result.samples}};
        fmt::print("{}\n", document.dump(2));
    } else {
        fmt::print("accuracy {:.2f} %   loss {:.4f}   ({} samples)\n", 100 * result.accuracy,
                   result.loss, result.samples);
    }
    return exit_done;
}

}  // namespace

Action add_eval(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "eval", "Accuracy and loss of a saved or imported model on the test set",
        "slimgrad eval --data cifar10 --data-dir DIR --model resnet20 --from resnet20.safetensors",
        options->json);
    for_each_option(options->config, [&](const char* name, auto& value, const char* what) {
        static const std::set<std::string> used = {"data",  "data_dir", "limit_test", "model",
                                                   "batch", "threads",  "from"};
        if (used.contains(name)) command->add_option(flag(name), value, what);
    });
    return [options] { return eval(*options); };
}

}  // namespace slimgrad::cli
