// libFuzzer calls this with each input. How many bytes they were is printed at the end.
#include "tests/fuzz/fuzz.h"

namespace {

struct Count {
    std::uint64_t bytes = 0;
    ~Count() {
        std::fprintf(stderr, "bytes of input: %llu\n", static_cast<unsigned long long>(bytes));
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Count count;
    count.bytes += size;
    slimgrad::fuzz::read({reinterpret_cast<const char*>(data), size});
    return 0;
}
