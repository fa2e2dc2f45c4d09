// Headers of safetensors files: any bytes are a file.
#include <span>

#include "data/safetensors_header.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::refuse_or_accept([&] {
        const SafeTensorsHeader header = parse_safetensors(std::span(data, size), "fuzz");
        std::int64_t end = 0;
        for (const TensorEntry& tensor : header.tensors) {
            std::int64_t count = bytes(tensor.dtype);
            for (const std::int64_t length : tensor.shape) count *= length;
            fuzz::expect(tensor.begin == end, "tensors follow one another");
            fuzz::expect(tensor.end - tensor.begin == count, "sizes follow from shapes");
            end = tensor.end;
        }
        fuzz::expect(header.length + end == static_cast<std::int64_t>(size),
                     "tensors cover the file");
        // What is written again is read again.
        std::string again = format_safetensors(header);
        again.resize(again.size() + static_cast<std::size_t>(end));
        const auto* const begin = reinterpret_cast<const std::uint8_t*>(again.data());
        const SafeTensorsHeader second = parse_safetensors(std::span(begin, again.size()), "again");
        fuzz::expect(
            second.metadata == header.metadata && second.tensors.size() == header.tensors.size(),
            "a header survives being written");
    });
    return 0;
}
