// Weights of image models under the names of other libraries: any bytes are a file of safetensors;
// the first chooses the model.
#include "train/image_weights.h"

#include "data/safetensors.h"
#include "nn/models/model.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    static const Directory directory;
    static const char* const names[] = {"mobilenetv2", "deit-ti"};
    static const std::unique_ptr<Module> models[] = {
        make_model(names[0], {.height = 32, .width = 32, .classes = 3}),
        make_model(names[1], {.height = 32, .width = 32, .classes = 3})};
    const unsigned choice = take_choice(input) % 2;
    refuse_or_accept([&] {
        const LoadReport report = load_image_weights(directory.put("model.safetensors", input),
                                                     *models[choice], names[choice]);
        expect(to_string(report).find('\n') == std::string::npos, "a report has one line");
    });
}
