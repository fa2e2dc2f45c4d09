#include "data/cifar.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/file.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

namespace fs = std::filesystem;

/// The directory with `file` in it: `directory` or its folder `folder`.
fs::path find_directory(const fs::path& directory, const std::string& folder,
                        const std::string& file, std::string_view archive) {
    for (const fs::path& candidate : {directory, directory / folder})
        if (!directory.empty() && is_there(candidate / file)) return candidate;
    const std::string hint =
        fmt::format("Hint: unpack https://www.cs.toronto.edu/~kriz/{} and give the directory '{}'",
                    archive, folder);
    require(!directory.empty(), "[data] CIFAR needs a data directory, got none. {}", hint);
    fail("[data] expected the file '{}' in '{}', found no such file. {}", file, directory.string(),
         hint);
}

std::vector<std::string> read_classes(const fs::path& file, std::int64_t count) {
    std::vector<std::string> names = read_lines(file);
    require(static_cast<std::int64_t>(names.size()) == count,
            "[data] '{}': expected {} class names, one a line, got {} lines", file.string(), count,
            names.size());
    for (std::size_t i = 0; i < names.size(); ++i)
        require(!names[i].empty(), "[data] '{}': expected a class name on line {}, got nothing",
                file.string(), i + 1);
    return names;
}

ImageData empty_set(std::vector<std::string> classes) {
    ImageData data;
    data.channels = 3;
    data.height = data.width = 32;
    data.classes = std::move(classes);
    return data;
}

}  // namespace

void append_cifar(ImageData& data, std::span<const std::uint8_t> bytes, const std::string& file,
                  const CifarLayout& layout, std::int64_t records) {
    const std::int64_t size = std::ssize(bytes);
    const std::int64_t record_bytes = layout.record_bytes();
    const std::int64_t expected = records * record_bytes;
    const std::string expectation = fmt::format("expected {} records of {} bytes, {} bytes in all",
                                                records, record_bytes, expected);
    require(size >= expected, "[data] '{}': {}, got {}: it ends in record {} (counted from 0)",
            file, expectation, size, size / record_bytes);
    require(size <= expected, "[data] '{}': {}, got {}: {} too many from byte {}", file,
            expectation, size, size - expected, expected);

    data.labels.reserve(data.labels.size() + static_cast<std::size_t>(records));
    data.pixels.reserve(data.pixels.size() + bytes.size());
    const auto check = [&](std::int64_t record, std::int64_t offset, std::int64_t classes,
                           const char* kind) {
        const std::uint8_t label = bytes[static_cast<std::size_t>(offset)];
        require(label < classes,
                "[data] '{}': record {} (byte {}): expected a {} from 0 to {}, got {}", file,
                record, offset, kind, classes - 1, label);
        return label;
    };
    for (std::int64_t record = 0; record < records; ++record) {
        std::int64_t offset = record * record_bytes;
        if (layout.coarse_classes > 0)
            check(record, offset++, layout.coarse_classes, "coarse label");
        data.labels.push_back(check(record, offset++, layout.classes, "label"));
        const auto begin = bytes.begin() + offset;
        data.pixels.insert(data.pixels.end(), begin, begin + data.image_bytes());
    }
}

void append_cifar_file(ImageData& data, const fs::path& file, const CifarLayout& layout,
                       std::int64_t records) {
    append_cifar(data, read_file(file), file.string(), layout, records);
}

ImageSplits read_cifar10(const fs::path& directory) {
    const fs::path root = find_directory(directory, "cifar-10-batches-bin", "data_batch_1.bin",
                                         "cifar-10-binary.tar.gz");
    ImageSplits splits;
    splits.train = splits.test = empty_set(read_classes(root / "batches.meta.txt", 10));
    splits.train.pixels.reserve(50000 * 3072);
    for (int i = 1; i <= 5; ++i)
        append_cifar_file(splits.train, root / fmt::format("data_batch_{}.bin", i), cifar10_layout,
                          10000);
    append_cifar_file(splits.test, root / "test_batch.bin", cifar10_layout, 10000);
    return splits;
}

ImageSplits read_cifar100(const fs::path& directory) {
    const fs::path root =
        find_directory(directory, "cifar-100-binary", "train.bin", "cifar-100-binary.tar.gz");
    ImageSplits splits;
    splits.train = splits.test = empty_set(read_classes(root / "fine_label_names.txt", 100));
    append_cifar_file(splits.train, root / "train.bin", cifar100_layout, 50000);
    append_cifar_file(splits.test, root / "test.bin", cifar100_layout, 10000);
    return splits;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
