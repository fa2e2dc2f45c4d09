// Arrays of NumPy: any bytes are a file.
#include "data/npy.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::refuse_or_accept([&] {
        const Tensor array = parse_npy(std::span(data, size), "fuzz");
        fuzz::expect(array.numel() * 4 <= static_cast<std::int64_t>(size),
                     "the file holds what the array has");
    });
    return 0;
}
