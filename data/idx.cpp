#include "data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

namespace fs = std::filesystem;

/// Reads a file that may be gzip'd, from its beginning to its end.
class Reader {
  public:
    explicit Reader(const fs::path& file) : name_(file.string()) {
        std::error_code ignored;
        require(!fs::is_directory(file, ignored),
                "[data] cannot read '{}': expected a file, got a directory", name_);
        file_.reset(gzopen(file.c_str(), "rb"));
        if (!file_)
            fail("[data] cannot read '{}': {}", name_, std::generic_category().message(errno));
        gzbuffer(file_.get(), 1 << 18);
    }

    /// Appends up to `count` bytes; fewer only at the end of the file.
    void read(std::vector<std::uint8_t>& bytes, std::int64_t count) {
        // In pieces, so that a header that lies about the size does not ask for all memory at once.
        constexpr std::int64_t piece = 1 << 22;
        while (count > 0) {
            const std::size_t before = bytes.size();
            bytes.resize(before + static_cast<std::size_t>(std::min(count, piece)));
            const int got = gzread(file_.get(), bytes.data() + before,
                                   static_cast<unsigned>(bytes.size() - before));
            int error = Z_OK;
            const char* const reason = gzerror(file_.get(), &error);
            if (got < 0 || (error != Z_OK && error != Z_STREAM_END))
                fail("[data] '{}': expected gzip data, damaged or cut after {} unpacked bytes ({})",
                     name_, position_ + std::max(got, 0), reason);
            bytes.resize(before + static_cast<std::size_t>(got));
            position_ += got;
            count -= got;
            if (got == 0) return;
        }
    }

  private:
    struct Close {
        void operator()(gzFile file) const { gzclose(file); }
    };
    std::string name_;
    std::unique_ptr<gzFile_s, Close> file_;
    std::int64_t position_ = 0;
};

/// The file of this name in the directory, plain or with `.gz`.
fs::path find_file(const fs::path& directory, const std::string& name) {
    std::error_code none;
    for (const std::string& candidate : {name, name + ".gz"})
        if (fs::exists(directory / candidate, none)) return directory / candidate;
    fail(
        "[data] expected the file '{0}' or '{0}.gz' in '{1}', found neither. Hint: install the "
        "Debian package dataset-fashion-mnist, or fetch the four files from "
        "https://github.com/zalandoresearch/fashion-mnist and give their directory",
        name, directory.string());
}

ImageData read_split(const fs::path& directory, const std::string& prefix) {
    const fs::path image_file = find_file(directory, prefix + "-images-idx3-ubyte");
    const fs::path label_file = find_file(directory, prefix + "-labels-idx1-ubyte");
    IdxArray images = read_idx(image_file, 3);
    const IdxArray labels = read_idx(label_file, 1);
    require(images.shape[1] == 28 && images.shape[2] == 28,
            "[data] '{}': expected images of 28 x 28 pixels, got {} x {}", image_file.string(),
            images.shape[1], images.shape[2]);
    require(images.shape[0] == labels.shape[0],
            "[data] '{}': expected {} labels, one for each image of '{}', got {}",
            label_file.string(), images.shape[0], image_file.string(), labels.shape[0]);
    require(images.shape[0] > 0, "[data] '{}': expected at least one image, got none",
            image_file.string());
    ImageData data;
    data.channels = 1;
    data.height = data.width = 28;
    data.classes = fashion_mnist_classes();
    data.pixels = std::move(images.values);
    for (std::size_t i = 0; i < labels.values.size(); ++i)
        require(labels.values[i] < data.classes.size(),
                "[data] '{}': record {} (byte {}): expected a label from 0 to {}, got {}",
                label_file.string(), i, i + 8, data.classes.size() - 1, labels.values[i]);
    data.labels.assign(labels.values.begin(), labels.values.end());
    return data;
}

}  // namespace

IdxArray read_idx(const fs::path& file, std::int64_t dimensions) {
    const std::string name = file.string();
    Reader reader(file);
    std::vector<std::uint8_t> header;
    const std::int64_t header_bytes = 4 + 4 * dimensions;
    reader.read(header, header_bytes);
    if (header.size() >= 4)
        require(header[0] == 0 && header[1] == 0 && header[2] == 8 && header[3] == dimensions,
                "[data] '{}': expected the IDX magic 00 00 08 {:02x} (unsigned bytes, {} "
                "dimensions) at byte 0, got {:02x} {:02x} {:02x} {:02x}",
                name, dimensions, dimensions, header[0], header[1], header[2], header[3]);
    require(static_cast<std::int64_t>(header.size()) == header_bytes,
            "[data] '{}': expected an IDX header of {} bytes, the file ends at byte {}", name,
            header_bytes, header.size());

    IdxArray array;
    std::int64_t count = 1;
    for (std::int64_t i = 0; i < dimensions; ++i) {
        std::int64_t length = 0;
        for (std::int64_t byte = 0; byte < 4; ++byte)
            length = length << 8 | header[static_cast<std::size_t>(4 + 4 * i + byte)];
        array.shape.push_back(length);
        require(!__builtin_mul_overflow(count, length, &count),
                "[data] '{}': dimension {} at byte {} is {}: no file is that large", name, i,
                4 + 4 * i, length);
    }
    reader.read(array.values, count);
    require(static_cast<std::int64_t>(array.values.size()) == count,
            "[data] '{}': expected {} values after the header, for shape {}, the file ends at byte "
            "{}",
            name, count, to_string(array.shape), header_bytes + std::ssize(array.values));
    std::vector<std::uint8_t> rest;
    reader.read(rest, 1);
    require(rest.empty(), "[data] '{}': expected the end of the file at byte {}, got more", name,
            header_bytes + count);
    return array;
}

std::vector<std::string> fashion_mnist_classes() {
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
}

ImageSplits read_fashion_mnist(const fs::path& directory) {
    return {read_split(directory, "train"), read_split(directory, "t10k")};
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
