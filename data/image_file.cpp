#include "data/image_file.h"

#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "data/file.h"
#include "data/jpeg_file.h"
#include "tensor/error.h"

namespace {

/// What is packed in an image may unpack to any size, whatever its header says: no piece of memory
/// larger than what the largest image needs is given out.
constexpr std::size_t most_bytes = 4 * (slimgrad::most_pixels + 1024 * 1024);

void* bounded_malloc(std::size_t size) { return size <= most_bytes ? std::malloc(size) : nullptr; }
void* bounded_realloc(void* old, std::size_t size) {
    return size <= most_bytes ? std::realloc(old, size) : nullptr;
}

}  // namespace

// The one place that compiles stb_image. Its functions stay inside this file, so that a program
// that brings a copy of its own links with slimgrad.
#define STBI_MALLOC(size) bounded_malloc(size)
#define STBI_REALLOC(old, size) bounded_realloc(old, size)
#define STBI_FREE(old) std::free(old)
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb/stb_image.h>

namespace slimgrad {

namespace {

/// What is wrong with the chunks of a PNG file, of which stb_image looks at neither the checksums
/// nor the end; empty if nothing is.
std::string fault_of_chunks(std::span<const std::uint8_t> bytes) {
    constexpr std::size_t signature = 8, around = 12;  // length and name before the data, checksum
    const auto number = [&](std::size_t at) {
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < 4; ++i) value = value << 8 | bytes[at + i];
        return value;
    };
    for (std::size_t at = signature; at <= bytes.size();) {
        if (bytes.size() - at < around || number(at) > bytes.size() - at - around) break;
        const std::uint32_t length = number(at);
        const auto named = bytes.subspan(at + 4, 4 + std::size_t{length});
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
        if (crc32(0, named.data(), static_cast<uInt>(named.size())) != number(at + 8 + length))
            return fmt::format("the chunk at byte {} has another checksum", at);
#endif
        if (std::ranges::equal(named.first(4), std::string_view("IEND"))) return "";
        at += around + length;
    }
    return "it ends before its last chunk";
}

/// A PNG image in memory that stb_image has looked at and not yet decoded.
class Encoded {
  public:
    Encoded(std::span<const std::uint8_t> bytes, const std::string& file, const char* kind)
        : bytes_(bytes), file_(file), kind_(kind) {
        require(bytes.size() <= most_bytes,
                "[data] '{}': expected an image of at most {} bytes, got {}", file, most_bytes,
                bytes.size());
        if (stbi_info_from_memory(bytes.data(), size(), &width_, &height_, &channels_) == 0)
            refuse(reason());
        require_image_size(file, width_, height_);
    }
    int channels() const { return channels_; }
    std::int64_t width() const { return width_; }
    std::int64_t height() const { return height_; }

    /// All pixels, each of so many bytes; 0: of as many as it has channels.
    std::vector<std::uint8_t> decode(int bytes_each) {
        if (const std::string fault = fault_of_chunks(bytes_); !fault.empty()) refuse(fault);
        const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
            stbi_load_from_memory(bytes_.data(), size(), &width_, &height_, &channels_, bytes_each),
            stbi_image_free);
        if (!pixels) refuse(reason());
        if (bytes_each == 0) bytes_each = channels_;
        return {pixels.get(), pixels.get() + width() * height() * bytes_each};
    }

  private:
    int size() const { return static_cast<int>(bytes_.size()); }
    static std::string reason() {
        const char* const why = stbi_failure_reason();
        return why ? why : "it is damaged";
    }
    [[noreturn]] void refuse(const std::string& why) const {
        fail("[data] '{}': expected a {} image, got {} bytes that are none ({})", file_, kind_,
             bytes_.size(), why);
    }

    std::span<const std::uint8_t> bytes_;
    std::string file_;
    const char* kind_;
    int width_ = 0, height_ = 0, channels_ = 0;
};

}  // namespace

GreyImage parse_grey_png(std::span<const std::uint8_t> bytes, const std::string& file) {
    Encoded encoded(bytes, file, "PNG");
    const auto require_grey = [&] {
        require(encoded.channels() == 1,
                "[data] '{}': expected a greyscale image of 1 channel, got {}", file,
                encoded.channels());
    };
    require_grey();
    GreyImage image{encoded.width(), encoded.height(), encoded.decode(0)};
    require_grey();  // what the header says may not be what follows
    return image;
}

void require_image_size(const std::string& file, std::int64_t width, std::int64_t height) {
    require(width * height <= most_pixels,
            "[data] '{}': expected an image of at most {} pixels, got {} x {}", file, most_pixels,
            width, height);
}

Picture parse_picture(std::span<const std::uint8_t> bytes, const std::string& file) {
    if (is_jpeg(bytes)) return parse_jpeg(bytes, file);
    Encoded encoded(bytes, file, "JPEG or PNG");
    return {encoded.width(), encoded.height(), encoded.decode(3)};
}

Picture read_picture(const std::filesystem::path& path) {
    return parse_picture(read_file(path), path.string());
}

GreyImage read_grey_png(const std::filesystem::path& path) {
    return parse_grey_png(read_file(path), path.string());
}

}  // namespace slimgrad
