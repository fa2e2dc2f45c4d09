#include "data/image_file.h"

#include <cstdlib>
#include <memory>

#include "data/file.h"
#include "data/safetensors_header.h"
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
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#include <stb/stb_image.h>

namespace slimgrad {

namespace {

/// An image in memory that stb_image has looked at and not yet decoded.
class Encoded {
  public:
    Encoded(std::span<const std::uint8_t> bytes, const std::string& file, const char* kind)
        : bytes_(bytes), file_(file), kind_(kind) {
        require(bytes.size() <= most_bytes,
                "[data] '{}': expected an image of at most {} bytes, got {}", file, most_bytes,
                bytes.size());
        require_image(stbi_info_from_memory(bytes.data(), size(), &width_, &height_, &channels_) !=
                      0);
        require(std::int64_t{width_} * height_ <= most_pixels,
                "[data] '{}': expected an image of at most {} pixels, got {} x {}", file,
                most_pixels, width_, height_);
    }
    int channels() const { return channels_; }
    std::int64_t width() const { return width_; }
    std::int64_t height() const { return height_; }

    /// All pixels, each of so many bytes; 0: of as many as it has channels.
    std::vector<std::uint8_t> decode(int bytes_each) {
        const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
            stbi_load_from_memory(bytes_.data(), size(), &width_, &height_, &channels_, bytes_each),
            stbi_image_free);
        require_image(pixels != nullptr);
        if (bytes_each == 0) bytes_each = channels_;
        return {pixels.get(), pixels.get() + width() * height() * bytes_each};
    }

  private:
    int size() const { return static_cast<int>(bytes_.size()); }
    void require_image(bool good) const {
        if (!good)
            fail("[data] '{}': expected a {} image, got {} bytes that are none ({})", file_, kind_,
                 bytes_.size(), on_a_line(stbi_failure_reason()));  // it may quote the file
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

Picture parse_picture(std::span<const std::uint8_t> bytes, const std::string& file) {
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
