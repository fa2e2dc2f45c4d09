// Files of CIFAR: any bytes are one, of the number of records that they are long enough for or not.
#include "data/cifar.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    const unsigned choice = fuzz::take_choice(input);
    const CifarLayout& layout = choice & 1 ? cifar100_layout : cifar10_layout;
    const std::int64_t records =
        choice & 2 ? choice >> 2 : std::ssize(input) / layout.record_bytes();
    fuzz::refuse_or_accept([&] {
        ImageData read;
        read.channels = 3;
        read.height = read.width = 32;
        append_cifar(read, fuzz::bytes_of(input), "fuzz", layout, records);
        fuzz::expect(read.size() == records && std::ssize(read.pixels) == 3072 * records,
                     "all records are read");
        for (const std::int32_t label : read.labels)
            fuzz::expect(label >= 0 && label < layout.classes, "labels are in range");
    });
    return 0;
}
