// config.json of a run: any bytes are a file.
#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"
#include "train/config.h"
#include "train/run_directory.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Directory directory;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::filesystem::path file = directory.put("config.json", input);
    fuzz::refuse_or_accept([&] {
        const TrainConfig config = config_from_json(read_json(file), "fuzz");
        validate(config);
        const nlohmann::json once = to_json(config);
        fuzz::expect(to_json(config_from_json(once, "again")) == once, "what is saved comes back");
    });
    return 0;
}
