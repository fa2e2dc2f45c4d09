// Checkpoints of a small model: what their metadata say is the input, the rest is as it was saved.
#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "nn/linear.h"
#include "tests/fuzz/fuzz.h"
#include "train/checkpoint.h"

using namespace slimgrad;

namespace {

/// A run of one linear map.
struct Run {
    Stream stream{1, "weights"};
    Linear model{2, 3, stream};
    std::unique_ptr<Optimizer> optimizer = make_optimizer(model, {.name = "sgd", .momentum = 0.9});
    Calibrator calibrator{model, {.method = "instant"}};
    Measurements measurements;
    TrainConfig config;
    DataDigests data;
    RunState state{.config = config,
                   .data = data,
                   .model = model,
                   .optimizer = *optimizer,
                   .calibrator = calibrator,
                   .measurements = measurements};
};

}  // namespace

void slimgrad::fuzz::read(std::string_view input) {
    static const Directory directory;
    static const SafeTensorsHeader good = [] {
        Run run;
        save_checkpoint(directory.path() / "good", run.state);
        return parse_safetensors(MappedFile(directory.path() / "good").bytes(), "good");
    }();
    SafeTensorsHeader header = good;
    if (!input.empty()) header.metadata["state"] = std::string(input);
    refuse_or_accept([&] {
        std::string file = format_safetensors(header);
        file.append(static_cast<std::size_t>(good.tensors.back().end), '\0');
        Run run;
        load_checkpoint(directory.put("checkpoint", file), run.state);
        expect(run.state.step >= 0 && run.state.metrics_bytes >= 0, "counters count");
        save_checkpoint(directory.path() / "again", run.state);
    });
}
