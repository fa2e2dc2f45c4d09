// Headers of safetensors files: any bytes are a file.
#include <span>

#include "data/safetensors_header.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    refuse_or_accept([&] {
        const SafeTensorsHeader header = parse_safetensors(bytes_of(input), "fuzz");
        std::int64_t end = 0;
        for (const TensorEntry& tensor : header.tensors) {
            std::int64_t count = bytes(tensor.dtype);
            for (const std::int64_t length : tensor.shape) count *= length;
            expect(tensor.begin == end, "tensors follow one another");
            expect(tensor.end - tensor.begin == count, "sizes follow from shapes");
            end = tensor.end;
        }
        expect(header.length + end == std::ssize(input), "tensors cover the file");
        // What is written again is read again.
        std::string again = format_safetensors(header);
        again.resize(again.size() + static_cast<std::size_t>(end));
        const auto* const begin = reinterpret_cast<const std::uint8_t*>(again.data());
        const SafeTensorsHeader second = parse_safetensors(std::span(begin, again.size()), "again");
        expect(second.metadata == header.metadata && second.tensors.size() == header.tensors.size(),
               "a header survives being written");
    });
}
