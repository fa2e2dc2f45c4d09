#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace slimgrad {

/// The element types of a safetensors file.
enum class Dtype { boolean, u8, i8, i16, u16, f16, bf16, i32, u32, f32, f64, i64, u64 };

/// "F32", as the file has it.
std::string_view name(Dtype dtype);
std::int64_t bytes(Dtype dtype);

struct TensorEntry {
    std::string name;
    Dtype dtype;
    std::vector<std::int64_t> shape;
    std::int64_t begin, end;  // of its bytes, counted from the end of the header
};

/// What a safetensors file says about its content: 8 bytes with the length of the header, the
/// header in JSON, then the values (https://github.com/huggingface/safetensors, "Format").
struct SafeTensorsHeader {
    std::vector<TensorEntry> tensors;  // in the order of their bytes
    std::map<std::string, std::string> metadata;
    std::int64_t length = 0;  // where the values begin
};

/// Reads and checks the header of the file that has these bytes: tensors must be of known types,
/// their sizes must follow from their shapes, and together they must cover the rest of the file
/// exactly. Throws Error that starts with `file` and says the place and what was expected.
SafeTensorsHeader parse_safetensors(std::span<const std::uint8_t> bytes, const std::string& file);

/// The first `length` bytes of a file with these tensors and metadata, padded so that the values
/// begin at a multiple of 8. Throws Error if a name or a text is not UTF-8.
std::string format_safetensors(const SafeTensorsHeader& header);

/// A name as it may stand in a message: quoted, on one line, cut if it is long.
std::string in_quotes(std::string_view name);
/// The same, but as it is if nothing in it needs quotes.
std::string on_a_line(std::string_view name);

}  // namespace slimgrad
