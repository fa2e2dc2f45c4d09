#include "data/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "data/file.h"
#include "data/safetensors_header.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

constexpr std::string_view magic = "\x93NUMPY";

/// What the header, a Python dictionary, says: {'descr': '<f4', 'fortran_order': False, 'shape':
/// (3, 4), }.
struct Header {
    std::string type;
    bool fortran = false;
    Shape shape;
};

/// Reads the few kinds of Python literal that the header is made of.
class HeaderParser {
  public:
    HeaderParser(std::string_view text, std::size_t begin, const std::string& file)
        : text_(text), begin_(begin), file_(file) {}

    Header parse() {
        Header header;
        bool type = false, order = false, shape = false;
        expect('{');
        while (!accept('}')) {
            const std::size_t place = at_;
            const std::string key = quoted();
            expect(':');
            bool* seen = key == "descr"           ? &type
                         : key == "fortran_order" ? &order
                         : key == "shape"         ? &shape
                                                  : nullptr;
            if (seen == nullptr || *seen) {
                at_ = place;
                wrong("one each of 'descr', 'fortran_order' and 'shape'");
            }
            *seen = true;
            if (seen == &type)
                header.type = quoted();
            else if (seen == &order)
                header.fortran = truth();
            else
                header.shape = tuple();
            if (!accept(',')) {
                expect('}');
                break;
            }
        }
        skip();
        if (at_ != text_.size()) wrong("the end of the header");
        if (!type || !order || !shape) wrong("'descr', 'fortran_order' and 'shape'");
        return header;
    }

  private:
    [[noreturn]] void wrong(std::string_view expected) const {
        fail("{}: byte {}: expected {} in the header", file_, begin_ + at_, expected);
    }
    void skip() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    }
    bool accept(char c) {
        skip();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        if (!accept(c)) wrong(fmt::format("'{}'", c));
    }
    bool accept_word(std::string_view word) {
        skip();
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }
    std::string quoted() {
        skip();
        // A structured type is a list; it has no place here either.
        if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"'))
            wrong("a quoted word");
        const std::size_t end = text_.find(text_[at_], at_ + 1);
        if (end == std::string_view::npos) wrong("the end of a quoted word");
        std::string word(text_.substr(at_ + 1, end - at_ - 1));
        at_ = end + 1;
        return word;
    }
    bool truth() {
        if (accept_word("True")) return true;
        if (!accept_word("False")) wrong("True or False");
        return false;
    }
    Shape tuple() {
        Shape shape;
        expect('(');
        while (!accept(')')) {
            skip();
            std::int64_t length = 0;
            const char* end = text_.data() + text_.size();
            const auto [rest, error] = std::from_chars(text_.data() + at_, end, length);
            if (error != std::errc() || length < 0) wrong("a length");
            at_ = static_cast<std::size_t>(rest - text_.data());
            accept_word("L");  // Python 2 wrote long integers so
            shape.push_back(length);
            if (!accept(',')) {
                expect(')');
                break;
            }
        }
        return shape;
    }

    std::string_view text_;
    std::size_t begin_, at_ = 0;
    const std::string& file_;
};

/// The number of elements; nothing if the lengths do not fit 48 bits, more than any file holds.
std::optional<std::uint64_t> count_of(const Shape& shape) {
    constexpr std::uint64_t most = std::uint64_t{1} << 48;
    std::uint64_t count = 1;
    for (const std::int64_t length : shape) {
        const std::uint64_t factor = std::max<std::uint64_t>(length, 1);
        if (factor > most / count) return std::nullopt;
        count *= factor;
    }
    return std::ranges::find(shape, 0) == shape.end() ? count : 0;
}

template <class T>
void convert(std::span<const std::uint8_t> bytes, real* values) {
    for (std::size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
        T value;  // the bytes need not be aligned
        std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
        values[i] = static_cast<real>(value);
    }
}

}  // namespace

Tensor parse_npy(std::span<const std::uint8_t> bytes, const std::string& file) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    require(text.starts_with(magic), "{}: not an array of NumPy: it does not begin with \\x93NUMPY",
            file);
    require(bytes.size() >= 12, "{}: cut short in its first 12 bytes", file);
    const int version = bytes[6];
    require(version >= 1 && version <= 3 && bytes[7] == 0,
            "{}: byte 6: expected version 1.0, 2.0 or 3.0 of the format, got {}.{}", file, version,
            bytes[7]);
    // The length of the header: two bytes in version 1, four later.
    const std::size_t begin = version == 1 ? 10 : 12;
    std::size_t length = 0;
    for (std::size_t i = begin; i-- > 8;) length = length << 8 | bytes[i];
    require(length <= bytes.size() - begin,
            "{}: byte 8: a header of {} bytes does not fit in the {} that follow", file, length,
            bytes.size() - begin);
    const Header header = HeaderParser(text.substr(begin, length), begin, file).parse();

    const bool wide = header.type == "<f8";
    require(wide || header.type == "<f4",
            "{}: expected values of type '<f4' or '<f8', got {}. Hint: a.astype('float32')", file,
            in_quotes(header.type));
    require(!header.shape.empty(), "{}: expected an array, got a single number", file);
    require(header.shape.size() <= 32, "{}: expected at most 32 dimensions, got {}", file,
            header.shape.size());
    const auto count = count_of(header.shape);
    const auto values = bytes.subspan(begin + length);
    const std::size_t size = wide ? 8 : 4;
    require(count && *count * size == values.size(),
            "{}: shape {} of '{}' does not fit the {} bytes after the header", file,
            to_string(header.shape), header.type, values.size());

    Shape shape = header.shape;
    if (header.fortran) std::ranges::reverse(shape);
    Tensor tensor(shape);
    if (wide)
        convert<double>(values, tensor.data());
    else
        convert<float>(values, tensor.data());
    if (!header.fortran || shape.size() == 1) return tensor;
    std::vector<std::int64_t> order;  // the first index ran fastest: turn all axes round
    for (std::int64_t axis = tensor.ndim(); axis-- > 0;) order.push_back(axis);
    return transpose(tensor, order);
}

Tensor load_npy(const std::filesystem::path& path) {
    const MappedFile file(path);
    return parse_npy(file.bytes(), path.string());
}

void save_npy(const std::filesystem::path& path, const Tensor& tensor) {
    require(tensor.defined() && tensor.ndim() >= 1, "{}: expected an array to write",
            path.string());
    std::string header =
        fmt::format("{{'descr': '<f{}', 'fortran_order': False, 'shape': ({}{}), }}", sizeof(real),
                    fmt::join(tensor.shape(), ", "), tensor.ndim() == 1 ? "," : "");
    header.resize((header.size() + 11 + 63) / 64 * 64 - 11,
                  ' ');  // values begin at a multiple of 64
    header += '\n';
    AtomicFile out(path);
    out.write(std::string(magic) + std::string("\x01\x00", 2));
    const std::uint8_t length[] = {static_cast<std::uint8_t>(header.size() & 255),
                                   static_cast<std::uint8_t>(header.size() >> 8)};
    out.write(std::span<const std::uint8_t>(length));
    out.write(header);
    out.write({reinterpret_cast<const std::uint8_t*>(tensor.data()),
               static_cast<std::size_t>(tensor.bytes())});
    out.commit();
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
