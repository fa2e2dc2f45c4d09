#include "data/jpeg_file.h"

#include <turbojpeg.h>

#include <memory>
#include <string_view>

#include "tensor/error.h"

namespace slimgrad {
namespace {

/// Cyan, magenta, yellow and black, inverted as Adobe's programs store them, as RGB in their place.
void cmyk_to_rgb(std::vector<std::uint8_t>& pixels) {
    std::size_t to = 0;
    for (std::size_t from = 0; from < pixels.size(); from += 4)
        for (std::size_t c = 0; c < 3; ++c)
            pixels[to++] =
                static_cast<std::uint8_t>((pixels[from + c] * pixels[from + 3] + 127) / 255);
    pixels.resize(to);
}

class Decoder {
  public:
    Decoder(std::span<const std::uint8_t> bytes, const std::string& file)
        : bytes_(bytes), file_(file), handle_(tjInitDecompress(), tjDestroy) {
        require(handle_ != nullptr, "[data] there is no memory to decode '{}'", file);
        int sampling = 0;  // one that has no name is decoded all the same
        tjDecompressHeader3(handle_.get(), bytes.data(), bytes.size(), &width_, &height_, &sampling,
                            &colours_);
        if (width_ < 1 || height_ < 1) refuse();
        require_image_size(file, width_, height_);
    }

    Picture decode() {
        const bool cmyk = colours_ == TJCS_CMYK || colours_ == TJCS_YCCK;
        Picture picture{width_, height_, {}};
        picture.pixels.resize(static_cast<std::size_t>(picture.width * height_ * (cmyk ? 4 : 3)));
        if (tjDecompress2(handle_.get(), bytes_.data(), bytes_.size(), picture.pixels.data(),
                          width_, 0, height_, cmyk ? TJPF_CMYK : TJPF_RGB,
                          TJFLAG_LIMITSCANS) != 0 &&
            !only_extraneous())
            refuse();
        if (cmyk) cmyk_to_rgb(picture.pixels);
        return picture;
    }

  private:
    std::string_view remark() const { return tjGetErrorStr2(handle_.get()); }
    bool only_extraneous() const {
        return tjGetErrorCode(handle_.get()) == TJERR_WARNING &&
               remark().find("extraneous bytes") != std::string_view::npos;
    }
    [[noreturn]] void refuse() const {
        fail("[data] '{}': expected a JPEG image, got {} bytes that are none ({})", file_,
             bytes_.size(), remark());
    }

    std::span<const std::uint8_t> bytes_;
    const std::string& file_;
    std::unique_ptr<void, int (*)(tjhandle)> handle_;
    int width_ = 0, height_ = 0, colours_ = 0;
};

}  // namespace

bool is_jpeg(std::span<const std::uint8_t> bytes) {
    return bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

Picture parse_jpeg(std::span<const std::uint8_t> bytes, const std::string& file) {
    return Decoder(bytes, file).decode();
}

}  // namespace slimgrad
