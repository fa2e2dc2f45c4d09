#include "data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "data/file.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

namespace fs = std::filesystem;

/// Reads bytes that may be gzip'd, from their beginning to their end.
class Reader {
  public:
    Reader(std::span<const std::uint8_t> bytes, const std::string& file)
        : rest_(bytes), file_(file), packed_(is_gzip(bytes)) {
        // 16: a header of gzip, not of zlib.
        require(!packed_ || inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK,
                "[data] '{}': no memory to unpack it", file);
    }
    ~Reader() {
        if (packed_) inflateEnd(&stream_);
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    bool packed() const { return packed_; }

    /// Fills `bytes` as far as there are any, and says how far.
    std::size_t read(std::span<std::uint8_t> bytes) {
        if (packed_) return unpack(bytes);
        const std::size_t count = std::min(bytes.size(), rest_.size());
        std::copy_n(rest_.begin(), count, bytes.begin());
        rest_ = rest_.subspan(count);
        return count;
    }
    bool at_end() {
        std::uint8_t byte = 0;
        return read({&byte, 1}) == 0 && rest_.empty();
    }

  private:
    static bool is_gzip(std::span<const std::uint8_t> bytes) {
        return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
    }

    std::size_t unpack(std::span<std::uint8_t> bytes) {
        constexpr std::size_t piece = 1 << 30;  // zlib counts in 32 bits
        std::size_t done = 0;
        while (done < bytes.size() && !ended_) {
            const std::size_t room = std::min(bytes.size() - done, piece);
            const std::size_t given = std::min(rest_.size(), piece);
            stream_.next_out = bytes.data() + done;
            stream_.avail_out = static_cast<uInt>(room);
            stream_.next_in = const_cast<Bytef*>(rest_.data());
            stream_.avail_in = static_cast<uInt>(given);
            const int status = inflate(&stream_, Z_NO_FLUSH);
            done += room - stream_.avail_out;
            rest_ = rest_.subspan(given - stream_.avail_in);
            if (status == Z_STREAM_END) {
                // Another member may follow, as `cat a.gz b.gz` makes them.
                ended_ = !is_gzip(rest_) || inflateReset(&stream_) != Z_OK;
            } else if (status != Z_OK) {
                fail("[data] '{}': expected gzip data, damaged or cut after {} unpacked bytes ({})",
                     file_, position_ + done, stream_.msg ? stream_.msg : "unexpected end of file");
            }
        }
        position_ += done;
        return done;
    }

    std::span<const std::uint8_t> rest_;  // not yet read
    const std::string& file_;
    bool packed_, ended_ = false;
    z_stream stream_{};
    std::size_t position_ = 0;
};

/// The file of this name in the directory, plain or with `.gz`.
fs::path find_file(const fs::path& directory, const std::string& name) {
    for (const std::string& candidate : {name, name + ".gz"})
        if (is_there(directory / candidate)) return directory / candidate;
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

IdxArray parse_idx(std::span<const std::uint8_t> bytes, const std::string& file,
                   std::int64_t dimensions) {
    Reader reader(bytes, file);
    const std::int64_t header_bytes = 4 + 4 * dimensions;
    std::vector<std::uint8_t> header(static_cast<std::size_t>(header_bytes));
    header.resize(reader.read(header));
    if (header.size() >= 4)
        require(header[0] == 0 && header[1] == 0 && header[2] == 8 && header[3] == dimensions,
                "[data] '{}': expected the IDX magic 00 00 08 {:02x} (unsigned bytes, {} "
                "dimensions) at byte 0, got {:02x} {:02x} {:02x} {:02x}",
                file, dimensions, dimensions, header[0], header[1], header[2], header[3]);
    require(std::ssize(header) == header_bytes,
            "[data] '{}': expected an IDX header of {} bytes, the file ends at byte {}", file,
            header_bytes, header.size());

    IdxArray array;
    std::int64_t count = 1;
    for (std::int64_t i = 0; i < dimensions; ++i) {
        std::int64_t length = 0;
        for (std::int64_t byte = 0; byte < 4; ++byte)
            length = length << 8 | header[static_cast<std::size_t>(4 + 4 * i + byte)];
        array.shape.push_back(length);
        require(!__builtin_mul_overflow(count, length, &count) && count <= most_idx_bytes,
                "[data] '{}': dimension {} at byte {} is {}: expected at most {} values", file, i,
                4 + 4 * i, length, most_idx_bytes);
    }
    // Before memory is taken for them, the values must be there, or can be.
    constexpr std::int64_t slack = 1 << 20, ratio = 32;
    const std::int64_t there = std::ssize(bytes) - header_bytes;
    const std::int64_t most = reader.packed() ? slack + ratio * std::ssize(bytes) : there;
    const std::string shape = to_string(array.shape);
    require(reader.packed() || count <= there,
            "[data] '{}': expected {} values after the header, for shape {}, the file ends at byte "
            "{}",
            file, count, shape, bytes.size());
    require(count <= most,
            "[data] '{}': expected at most {} values in {} bytes of gzip data, the header says {} "
            "for shape {}",
            file, most, bytes.size(), count, shape);
    array.values.resize(static_cast<std::size_t>(count));
    const std::size_t got = reader.read(array.values);
    require(std::cmp_equal(got, count),
            "[data] '{}': expected {} values after the header, for shape {}, the file ends at byte "
            "{}",
            file, count, shape, header.size() + got);
    require(reader.at_end(), "[data] '{}': expected the end of the file at byte {}, got more", file,
            header_bytes + count);
    return array;
}

IdxArray read_idx(const fs::path& file, std::int64_t dimensions) {
    return parse_idx(read_file(file), file.string(), dimensions);
}

std::vector<std::string> fashion_mnist_classes() {
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
}

ImageSplits read_fashion_mnist(const fs::path& directory) {
    return {read_split(directory, "train"), read_split(directory, "t10k")};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
