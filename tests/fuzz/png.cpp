// PNG files: any bytes are one.
#include "data/image_file.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    refuse_or_accept([&] {
        const GreyImage image = parse_grey_png(bytes_of(input), "fuzz");
        expect(image.width > 0 && image.height > 0 &&
                   std::ssize(image.pixels) == image.width * image.height,
               "an image has its pixels");
    });
}
