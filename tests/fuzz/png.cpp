// PNG files: any bytes are one.
#include "data/image_file.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::refuse_or_accept([&] {
        const GreyImage image = parse_grey_png(std::span(data, size), "fuzz");
        fuzz::expect(image.width > 0 && image.height > 0 &&
                         std::ssize(image.pixels) == image.width * image.height,
                     "an image has its pixels");
    });
    return 0;
}
