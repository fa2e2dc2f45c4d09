// config.json of a run: any bytes are a file.
#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"
#include "train/config.h"
#include "train/json_file.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    static const Directory directory;
    const std::filesystem::path file = directory.put("config.json", input);
    refuse_or_accept([&] {
        const TrainConfig config = config_from_json(read_json(file), "fuzz");
        validate(config);
        const nlohmann::json once = to_json(config);
        expect(to_json(config_from_json(once, "again")) == once, "what is saved comes back");
    });
}
