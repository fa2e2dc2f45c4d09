// Pictures of every kind: any bytes are one. What is read is resized too.
#include "data/image_file.h"
#include "data/picture_resize.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    refuse_or_accept([&] {
        const Picture picture = parse_picture(bytes_of(input), "fuzz");
        expect(picture.width > 0 && picture.height > 0 &&
                   std::ssize(picture.pixels) == 3 * picture.width * picture.height,
               "a picture has its pixels");
        const Picture small = resized(picture, {0, 0, picture.height, picture.width}, 7, 5);
        expect(small.height == 7 && small.width == 5 && std::ssize(small.pixels) == 3 * 7 * 5,
               "and another size if it is asked for one");
    });
}
