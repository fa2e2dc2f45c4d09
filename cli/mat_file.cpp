#include "cli/mat_file.h"

#include <zlib.h>

#include <cmath>
#include <cstring>
#include <span>

#include "data/file.h"
#include "tensor/error.h"

namespace slimgrad::cli {
namespace {

// "MAT-File Format", The MathWorks, chapter 1: a head of 128 bytes, then elements: a type and a
// size in 4 bytes each, and as many bytes, filled up to 8. If the size is in the upper half of the
// first 4 bytes, the content stands in the next 4.
using Bytes = std::span<const std::uint8_t>;
constexpr std::size_t head = 128, largest = 1 << 24;
constexpr std::uint32_t matrix = 14, compressed = 15;

class MatFile {
  public:
    explicit MatFile(const std::filesystem::path& file) : file_(file.string()) {}

    std::map<std::string, std::vector<std::int64_t>> read() {
        const std::vector<std::uint8_t> content = read_file(file_);
        require_that(content.size() >= head && content[126] == 'I' && content[127] == 'M');
        std::map<std::string, std::vector<std::int64_t>> all;
        for (Bytes rest = Bytes(content).subspan(head); !rest.empty();) {
            const Element element = take(rest);
            std::vector<std::uint8_t> unpacked;
            Bytes inside = element.content;
            if (element.type == compressed) {
                unpacked = inflate(element.content);
                Bytes whole = unpacked;
                const Element packed = take(whole);
                require_that(packed.type == matrix);
                inside = packed.content;
            } else {
                require_that(element.type == matrix);
            }
            take(inside);  // flags
            take(inside);  // the size of each axis
            const Element name = take(inside), values = take(inside);
            all[std::string(name.content.begin(), name.content.end())] = numbers(values);
        }
        return all;
    }

  private:
    struct Element {
        std::uint32_t type;
        Bytes content;
    };

    void require_that(bool fits) const {
        require(fits, "[data] '{}': expected matrices of whole numbers in a MATLAB 5 file", file_);
    }
    template <class T>
    T number(Bytes bytes) const {
        require_that(bytes.size() >= sizeof(T));
        T value;
        std::memcpy(&value, bytes.data(), sizeof(T));
        return value;
    }
    /// Takes the first element away from `rest`.
    Element take(Bytes& rest) const {
        const auto first = number<std::uint32_t>(rest);
        if (const std::uint32_t count = first >> 16; count > 0) {
            require_that(count <= 4 && rest.size() >= 8);
            const Element small{first & 0xffff, rest.subspan(4, count)};
            rest = rest.subspan(8);
            return small;
        }
        const std::size_t count = number<std::uint32_t>(rest.subspan(4));
        require_that(count <= rest.size() - 8);
        const Element element{first, rest.subspan(8, count)};
        const std::size_t filled = first == compressed ? count : (count + 7) / 8 * 8;
        rest = rest.subspan(std::min(rest.size(), 8 + filled));
        return element;
    }
    std::vector<std::uint8_t> inflate(Bytes packed) const {
        std::vector<std::uint8_t> bytes(largest);
        auto size = static_cast<uLongf>(bytes.size());
        require_that(uncompress(bytes.data(), &size, packed.data(),
                                static_cast<uLong>(packed.size())) == Z_OK);
        bytes.resize(size);
        return bytes;
    }
    template <class T>
    std::vector<std::int64_t> as(Bytes bytes) const {
        std::vector<std::int64_t> values;
        for (; !bytes.empty(); bytes = bytes.subspan(sizeof(T))) {
            const T value = number<T>(bytes);
            if constexpr (std::is_floating_point_v<T>)
                require_that(value == std::floor(value) && std::abs(value) < 1e15);
            values.push_back(static_cast<std::int64_t>(value));
        }
        return values;
    }
    std::vector<std::int64_t> numbers(const Element& e) const {
        switch (e.type) {
            case 1:
                return as<std::int8_t>(e.content);
            case 2:
                return as<std::uint8_t>(e.content);
            case 3:
                return as<std::int16_t>(e.content);
            case 4:
                return as<std::uint16_t>(e.content);
            case 5:
                return as<std::int32_t>(e.content);
            case 6:
                return as<std::uint32_t>(e.content);
            case 9:
                return as<double>(e.content);
            default:
                require_that(false);
        }
        return {};
    }

    std::string file_;
};

}  // namespace

std::map<std::string, std::vector<std::int64_t>> read_mat(const std::filesystem::path& file) {
    return MatFile(file).read();
}

}  // namespace slimgrad::cli
