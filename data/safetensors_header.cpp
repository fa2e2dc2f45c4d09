#include "data/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "tensor/error.h"

namespace slimgrad {
namespace {

using nlohmann::json;

constexpr std::int64_t prefix_bytes = 8;
constexpr std::uint64_t longest_header = 100'000'000;  // as the reference implementation has it
constexpr std::string_view metadata_key = "__metadata__";

/// In the order of the enumeration.
constexpr std::array<std::pair<std::string_view, std::int64_t>, 13> dtypes{{{"BOOL", 1},
                                                                            {"U8", 1},
                                                                            {"I8", 1},
                                                                            {"I16", 2},
                                                                            {"U16", 2},
                                                                            {"F16", 2},
                                                                            {"BF16", 2},
                                                                            {"I32", 4},
                                                                            {"U32", 4},
                                                                            {"F32", 4},
                                                                            {"F64", 8},
                                                                            {"I64", 8},
                                                                            {"U64", 8}}};

/// "(8, 512)", as shapes are written everywhere.
std::string shape_text(const std::vector<std::int64_t>& shape) {
    return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

/// Says what is wrong with one file.
struct Complaint {
    std::string file;

    template <class... Args>
    void require(bool condition, fmt::format_string<Args...> format, Args&&... args) const {
        if (!condition)
            fail("[safetensors] '{}': {}", file, fmt::format(format, std::forward<Args>(args)...));
    }
};

/// JSON parsers keep the last of several equal keys without a word; here that is an error, and so
/// is nesting deeper than {"name": {"shape": [...]}}. Reads along with the parser; nothing is kept.
class StructureCheck : public nlohmann::json_sax<json> {
  public:
    explicit StructureCheck(const Complaint& complaint) : in_(complaint) {}

    bool start_object(std::size_t) override { return open(); }
    bool start_array(std::size_t) override { return open(); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(std::string& key) override {
        in_.require(keys_[depth_].insert(key).second, "the header has {} twice", in_quotes(key));
        return true;
    }
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(std::int64_t) override { return true; }
    bool number_unsigned(std::uint64_t) override { return true; }
    bool number_float(double, const std::string&) override { return true; }
    bool string(std::string&) override { return true; }
    bool binary(json::binary_t&) override { return true; }
    bool parse_error(std::size_t byte, const std::string&,
                     const nlohmann::detail::exception& error) override {
        const std::string_view what = error.what();
        in_.require(dynamic_cast<const json::out_of_range*>(&error) == nullptr,
                    "expected a header in JSON with numbers in range");
        in_.require(false, "expected a header in JSON, it cannot be read at byte {}{}",
                    prefix_bytes + static_cast<std::int64_t>(byte) - 1,
                    what.find("UTF-8") != std::string_view::npos ? " (not UTF-8)" : "");
        return false;
    }

  private:
    bool open() {
        in_.require(depth_ < 3, "expected a header of tensors, got deeper nesting");
        keys_[++depth_].clear();
        return true;
    }
    bool close() {
        --depth_;
        return true;
    }

    const Complaint& in_;
    std::size_t depth_ = 0;
    std::array<std::unordered_set<std::string>, 4> keys_;
};

json parse_header(std::string_view text, const Complaint& in) {
    StructureCheck check(in);
    json::sax_parse(text, &check);
    return json::parse(text);
}

/// The integers 0 … 2^63 - 1 of a JSON array.
std::vector<std::int64_t> read_integers(const json& entry, const char* key,
                                        const std::string& tensor, const Complaint& in) {
    const auto found = entry.find(key);
    bool good = found != entry.end() && found->is_array();
    std::vector<std::int64_t> values;
    if (good)
        for (const json& value : *found) {
            good = good && value.is_number_unsigned() &&
                   value.get<std::uint64_t>() <=
                       static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
            if (good) values.push_back(value.get<std::int64_t>());
        }
    in.require(good, "tensor {}: expected \"{}\" to be a list of integers of at least 0", tensor,
               key);
    return values;
}

TensorEntry read_entry(const std::string& name, const json& entry, std::int64_t data_bytes,
                       const Complaint& in) {
    const std::string tensor = in_quotes(name);
    in.require(entry.is_object(), "tensor {}: expected an object, got {}", tensor,
               entry.type_name());
    const auto dtype = entry.find("dtype");
    in.require(dtype != entry.end() && dtype->is_string(),
               "tensor {}: expected a \"dtype\" in quotes", tensor);
    const std::string& dtype_name = dtype->get_ref<const std::string&>();
    const auto known = std::find_if(dtypes.begin(), dtypes.end(),
                                    [&](const auto& type) { return type.first == dtype_name; });
    std::vector<std::string_view> names;
    for (const auto& type : dtypes) names.push_back(type.first);
    in.require(known != dtypes.end(), "tensor {}: unknown dtype {}. Known: {}", tensor,
               in_quotes(dtype_name), fmt::join(names, ", "));

    const std::vector<std::int64_t> shape = read_integers(entry, "shape", tensor, in);
    std::int64_t size = known->second;
    for (const std::int64_t length : shape)
        in.require(!__builtin_mul_overflow(size, length, &size),
                   "tensor {}: the shape {} is larger than any file", tensor, shape_text(shape));

    const std::vector<std::int64_t> offsets = read_integers(entry, "data_offsets", tensor, in);
    in.require(offsets.size() == 2, "tensor {}: expected two data_offsets, got {}", tensor,
               offsets.size());
    in.require(offsets[0] <= offsets[1] && offsets[1] <= data_bytes,
               "tensor {}: expected data_offsets within the {} bytes of values, got {} to {}",
               tensor, data_bytes, offsets[0], offsets[1]);
    in.require(offsets[1] - offsets[0] == size,
               "tensor {}: expected {} bytes for {} of shape {}, got {} (data_offsets {} to {})",
               tensor, size, dtype_name, shape_text(shape), offsets[1] - offsets[0], offsets[0],
               offsets[1]);
    return {name, static_cast<Dtype>(known - dtypes.begin()), shape, offsets[0], offsets[1]};
}

/// Every byte of values must belong to exactly one tensor.
void check_cover(const std::vector<TensorEntry>& tensors, std::int64_t data_bytes,
                 const Complaint& in) {
    std::int64_t end = 0;
    std::string before = "the header";
    for (const TensorEntry& tensor : tensors) {
        in.require(tensor.begin >= end, "tensors {} and {} overlap at data offset {}", before,
                   in_quotes(tensor.name), tensor.begin);
        in.require(tensor.begin == end, "data offsets {} to {} belong to no tensor", end,
                   tensor.begin);
        end = tensor.end;
        before = in_quotes(tensor.name);
    }
    in.require(
        end == data_bytes,
        "expected {} bytes of values after the header, got {}: the rest belongs to no tensor", end,
        data_bytes);
}

}  // namespace

std::string_view name(Dtype dtype) { return dtypes[static_cast<std::size_t>(dtype)].first; }
std::int64_t bytes(Dtype dtype) { return dtypes[static_cast<std::size_t>(dtype)].second; }

std::string in_quotes(std::string_view name) {
    constexpr std::size_t longest = 100;
    const std::string cut(name.substr(0, longest));
    return json(cut).dump(-1, ' ', false, json::error_handler_t::replace) +
           (name.size() > longest ? "…" : "");
}

std::string on_a_line(std::string_view name) {
    constexpr std::size_t longest = 200;
    const bool plain = name.size() <= longest &&
                       std::ranges::all_of(name, [](char c) { return c >= ' ' && c <= '~'; });
    return plain ? std::string(name) : in_quotes(name);
}

SafeTensorsHeader parse_safetensors(std::span<const std::uint8_t> bytes, const std::string& file) {
    const Complaint in{file};
    const std::int64_t size = std::ssize(bytes);
    in.require(size >= prefix_bytes, "expected a safetensors file, got only {} bytes", size);
    std::uint64_t length = 0;
    for (std::size_t i = prefix_bytes; i-- > 0;) length = length << 8 | bytes[i];
    in.require(length <= longest_header,
               "expected a header of at most {} bytes, the first 8 bytes say {}. Hint: this may be "
               "no safetensors file",
               longest_header, length);
    SafeTensorsHeader header;
    header.length = prefix_bytes + static_cast<std::int64_t>(length);
    in.require(header.length <= size, "expected a header of {} bytes, the file ends at byte {}",
               length, size);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + prefix_bytes, length);
    in.require(text.starts_with('{'), "expected a JSON header that begins with '{{' at byte 8");

    const std::int64_t data_bytes = size - header.length;
    const json content = parse_header(text, in);
    for (const auto& [key, value] : content.items()) {
        if (key != metadata_key) {
            header.tensors.push_back(read_entry(key, value, data_bytes, in));
            continue;
        }
        in.require(value.is_object(), "expected {} to be an object of texts, got {}", metadata_key,
                   value.type_name());
        for (const auto& [name, text_value] : value.items()) {
            in.require(text_value.is_string(), "expected {} of {} to be a text, got {}",
                       in_quotes(name), metadata_key, text_value.type_name());
            header.metadata[name] = text_value.get<std::string>();
        }
    }
    std::ranges::sort(header.tensors, {}, [](const TensorEntry& tensor) {
        return std::pair(tensor.begin, tensor.end);
    });
    check_cover(header.tensors, data_bytes, in);
    return header;
}

std::string format_safetensors(const SafeTensorsHeader& header) {
    std::unordered_set<std::string_view> names;
    std::string text = "{";
    try {
        // Entry by entry: an object that keeps its order searches all keys for each new one.
        const auto append = [&](const std::string& key, const nlohmann::ordered_json& value) {
            text +=
                fmt::format("{}{}:{}", text.size() > 1 ? "," : "", json(key).dump(), value.dump());
        };
        if (!header.metadata.empty()) append(std::string(metadata_key), header.metadata);
        for (const TensorEntry& tensor : header.tensors) {
            require(tensor.name != metadata_key, "[safetensors] a tensor cannot be named '{}'",
                    metadata_key);
            require(names.insert(tensor.name).second, "[safetensors] two tensors are named {}",
                    in_quotes(tensor.name));
            append(tensor.name, {{"dtype", name(tensor.dtype)},
                                 {"shape", tensor.shape},
                                 {"data_offsets", {tensor.begin, tensor.end}}});
        }
    } catch (const json::exception&) {
        fail("[safetensors] expected names and metadata in UTF-8");
    }
    text += "}";
    text.resize((text.size() + 7) / 8 * 8, ' ');
    std::string prefix;
    for (std::size_t i = 0; i < prefix_bytes; ++i)
        prefix += static_cast<char>(static_cast<std::uint64_t>(text.size()) >> (8 * i));
    return prefix + text;
}

}  // namespace slimgrad
