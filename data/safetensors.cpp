#include "data/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

struct Half {
    std::uint16_t bits;
    /// 1 sign bit, 5 of exponent, 10 of fraction.
    explicit operator float() const {
        const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31;
        const std::uint32_t exponent = bits >> 10 & 31u, fraction = bits & 1023u;
        if (exponent == 0) {
            const float value = static_cast<float>(fraction) * 0x1p-24f;
            return sign ? -value : value;
        }
        const std::uint32_t widened = exponent == 31 ? 255 : exponent + 112;
        return std::bit_cast<float>(sign | widened << 23 | fraction << 13);
    }
    explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

struct BrainHalf {
    std::uint16_t bits;
    /// The upper half of a float.
    explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
    explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

/// Calls f(i, value) for the values of type T in the file, which need not be aligned, as `real`.
template <class T, class F>
void for_each(std::span<const std::uint8_t> bytes, const F& f) {
    const std::size_t count = bytes.size() / sizeof(T);
    for (std::size_t i = 0; i < count; ++i) {
        T value;
        std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
        f(i, static_cast<real>(value));
    }
}

template <class F>
void for_each(Dtype dtype, std::span<const std::uint8_t> bytes, const F& f) {
    switch (dtype) {
        case Dtype::boolean:
        case Dtype::u8:
            return for_each<std::uint8_t>(bytes, f);
        case Dtype::i8:
            return for_each<std::int8_t>(bytes, f);
        case Dtype::i16:
            return for_each<std::int16_t>(bytes, f);
        case Dtype::u16:
            return for_each<std::uint16_t>(bytes, f);
        case Dtype::f16:
            return for_each<Half>(bytes, f);
        case Dtype::bf16:
            return for_each<BrainHalf>(bytes, f);
        case Dtype::i32:
            return for_each<std::int32_t>(bytes, f);
        case Dtype::u32:
            return for_each<std::uint32_t>(bytes, f);
        case Dtype::f32:
            return for_each<float>(bytes, f);
        case Dtype::f64:
            return for_each<double>(bytes, f);
        case Dtype::i64:
            return for_each<std::int64_t>(bytes, f);
        case Dtype::u64:
            return for_each<std::uint64_t>(bytes, f);
    }
}

void convert(Dtype dtype, std::span<const std::uint8_t> bytes, real* values) {
    for_each(dtype, bytes, [&](std::size_t i, real value) { values[i] = value; });
}

/// "(3, 17)": where the value of this number stands in a tensor.
std::string place(std::size_t number, const Shape& shape) {
    Shape index(shape.size());
    auto rest = static_cast<std::int64_t>(number);
    for (std::size_t axis = shape.size(); axis-- > 0; rest /= shape[axis])
        index[axis] = rest % shape[axis];
    return to_string(index);
}

/// "3 missing: a, b, c", with the first of a long list.
void append(std::string& text, const char* what, const std::vector<std::string>& names) {
    constexpr std::size_t shown = 5;
    if (names.empty()) return;
    const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(shown, names.size()));
    text += fmt::format("{}{} {}: {}", text.empty() ? "" : "; ", names.size(), what,
                        fmt::join(names.begin(), end, ", "));
    if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
}

}  // namespace

SafeTensors SafeTensors::open(const std::filesystem::path& path) {
    SafeTensors opened;
    opened.file_ = path.string();
    opened.mapped_ = std::make_shared<const MappedFile>(path);
    opened.header_ = parse_safetensors(opened.mapped_->bytes(), opened.file_);
    for (std::size_t i = 0; i < opened.entries().size(); ++i)
        opened.index_[opened.entries()[i].name] = i;
    return opened;
}

std::vector<std::string> SafeTensors::names() const {
    std::vector<std::string> names;
    for (const TensorEntry& tensor : entries()) names.push_back(tensor.name);
    return names;
}

const TensorEntry& SafeTensors::entry(const std::string& name) const {
    const auto found = index_.find(name);
    if (found == index_.end()) {
        std::string known;
        append(known, "tensors", names());
        fail("[safetensors] '{}' has no tensor {}. It has {}", file_, in_quotes(name),
             known.empty() ? "none" : known);
    }
    return entries()[found->second];
}

std::span<const std::uint8_t> SafeTensors::bytes(const std::string& name) const {
    const TensorEntry& tensor = entry(name);
    return mapped_->bytes().subspan(static_cast<std::size_t>(header_.length + tensor.begin),
                                    static_cast<std::size_t>(tensor.end - tensor.begin));
}

Tensor SafeTensors::tensor(const std::string& name) const {
    const TensorEntry& stored = entry(name);
    Tensor made(stored.shape);
    convert(stored.dtype, bytes(name), made.data());
    return made;
}

void SafeTensors::require_finite(const std::string& name) const {
    const TensorEntry& stored = entry(name);
    for_each(stored.dtype, bytes(name), [&](std::size_t i, real value) {
        if (!std::isfinite(value))
            fail("[safetensors] '{}': {} holds a value that is not finite: {} at index {}", file_,
                 on_a_line(name), value, place(i, stored.shape));
    });
}

std::vector<std::int64_t> SafeTensors::integers(const std::string& name) const {
    const TensorEntry& stored = entry(name);
    require(stored.dtype == Dtype::i64, "[safetensors] '{}': tensor {}: expected I64, got {}",
            file_, in_quotes(name), slimgrad::name(stored.dtype));
    const std::span<const std::uint8_t> from = bytes(name);
    std::vector<std::int64_t> values(from.size() / sizeof(std::int64_t));
    if (!values.empty()) std::memcpy(values.data(), from.data(), from.size());
    return values;
}

std::span<const std::uint8_t> SafeTensorsWriter::Item::values() const {
    if (!tensor.defined()) return copied;
    return {reinterpret_cast<const std::uint8_t*>(tensor.data()),
            static_cast<std::size_t>(tensor.bytes())};
}

void SafeTensorsWriter::add(const std::string& name, const Tensor& tensor) {
    require(tensor.defined(), "[safetensors] tensor {} is undefined", in_quotes(name));
    const Dtype dtype = sizeof(real) == 8 ? Dtype::f64 : Dtype::f32;
    items_.push_back({{name, dtype, tensor.shape(), 0, 0}, tensor, {}});
}

void SafeTensorsWriter::add_copy(const std::string& name, Dtype dtype, std::int64_t count,
                                 const void* values) {
    const auto* const from = static_cast<const std::uint8_t*>(values);
    items_.push_back(
        {{name, dtype, {count}, 0, 0}, {}, {from, from + count * slimgrad::bytes(dtype)}});
}

void SafeTensorsWriter::add_integers(const std::string& name,
                                     std::span<const std::int64_t> values) {
    add_copy(name, Dtype::i64, std::ssize(values), values.data());
}

void SafeTensorsWriter::add_bytes(const std::string& name, std::span<const std::uint8_t> values) {
    add_copy(name, Dtype::u8, std::ssize(values), values.data());
}

void SafeTensorsWriter::write(const std::filesystem::path& path) const {
    // Wide types first, so that every value is aligned in the file, then by name.
    std::vector<const Item*> order;
    for (const Item& item : items_) order.push_back(&item);
    std::ranges::sort(order, [](const Item* a, const Item* b) {
        if (a->entry.dtype != b->entry.dtype) return a->entry.dtype > b->entry.dtype;
        return a->entry.name < b->entry.name;
    });
    SafeTensorsHeader header;
    header.metadata = metadata_;
    std::int64_t end = 0;
    for (const Item* item : order) {
        header.tensors.push_back(item->entry);
        header.tensors.back().begin = end;
        header.tensors.back().end = end += std::ssize(item->values());
    }
    const std::string text = format_safetensors(header);
    AtomicFile file(path);
    file.write(text);
    for (const Item* item : order) file.write(item->values());
    file.commit();
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
    SafeTensorsWriter writer;
    for (const NamedTensor& named : tensors) writer.add(named.name, named.tensor);
    for (const auto& [key, text] : metadata) writer.set_metadata(key, text);
    writer.write(path);
}

void load_tensors(const SafeTensors& file, std::span<const NamedTensor> targets,
                  std::span<const std::string> ignored) {
    std::vector<std::string> missing, unexpected, misshapen;
    std::set<std::string> wanted;
    for (const NamedTensor& target : targets) {
        wanted.insert(target.name);
        if (!file.contains(target.name))
            missing.push_back(in_quotes(target.name));
        else if (file.shape(target.name) != target.tensor.shape())
            misshapen.push_back(fmt::format("{} expected {}, got {}", in_quotes(target.name),
                                            to_string(target.tensor.shape()),
                                            to_string(file.shape(target.name))));
    }
    for (const TensorEntry& stored : file.entries()) {
        const bool spare = std::ranges::any_of(
            ignored, [&](const std::string& end) { return stored.name.ends_with(end); });
        if (!spare && !wanted.contains(stored.name)) unexpected.push_back(in_quotes(stored.name));
    }
    std::string faults;
    append(faults, "missing", missing);
    append(faults, "unexpected", unexpected);
    append(faults, "of another shape", misshapen);
    require(faults.empty(), "[safetensors] '{}' does not fit: {}", file.file(), faults);
    for (const NamedTensor& target : targets)
        convert(file.entry(target.name).dtype, file.bytes(target.name),
                Tensor(target.tensor).data());
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
