// Arrays of NumPy: any bytes are a file.
#include "data/npy.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    refuse_or_accept([&] {
        const Tensor array = parse_npy(bytes_of(input), "fuzz");
        expect(array.numel() * 4 <= std::ssize(input), "the file holds what the array has");
    });
}
