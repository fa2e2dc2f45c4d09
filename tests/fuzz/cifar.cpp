// Files of CIFAR: any bytes are one, of the number of records that they are long enough for or not.
#include "data/cifar.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    const unsigned choice = take_choice(input);
    const CifarLayout& layout = choice & 1 ? cifar100_layout : cifar10_layout;
    const std::int64_t records =
        choice & 2 ? choice >> 2 : std::ssize(input) / layout.record_bytes();
    refuse_or_accept([&] {
        ImageData read;
        read.channels = 3;
        read.height = read.width = 32;
        append_cifar(read, bytes_of(input), "fuzz", layout, records);
        expect(read.size() == records && std::ssize(read.pixels) == 3072 * records,
               "all records are read");
        for (const std::int32_t label : read.labels)
            expect(label >= 0 && label < layout.classes, "labels are in range");
    });
}
