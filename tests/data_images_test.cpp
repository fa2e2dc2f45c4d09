#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "data/cifar.h"
#include "data/embedded_images.h"
#include "data/idx.h"
#include "data/image_data.h"
#include "data/shipped.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

std::vector<int> class_counts(const ImageData& data) {
    std::vector<int> counts(data.classes.size());
    for (const std::int32_t label : data.labels) ++counts[static_cast<std::size_t>(label)];
    return counts;
}

ImageData empty_cifar() {
    ImageData data;
    data.channels = 3;
    data.height = data.width = 32;
    return data;
}

/// Records with label = record number and pixel bytes that tell where they are.
std::string cifar_records(int count, bool coarse) {
    std::string bytes;
    for (int record = 0; record < count; ++record) {
        if (coarse) bytes += static_cast<char>(19);
        bytes += static_cast<char>(record);
        for (int i = 0; i < 3072; ++i) bytes += static_cast<char>((7 * record + i) % 251);
    }
    return bytes;
}

TEST(Cifar, ReadsLabelsAndPlanesInOrder) {
    const TemporaryDirectory directory;
    for (const bool coarse : {false, true}) {
        put(directory / "a.bin", cifar_records(10, coarse));
        ImageData data = empty_cifar();
        const CifarLayout layout = coarse ? cifar100_layout : cifar10_layout;
        append_cifar_file(data, directory / "a.bin", layout, 10);
        append_cifar_file(data, directory / "a.bin", layout, 10);
        ASSERT_EQ(data.size(), 20);
        for (std::int64_t i = 0; i < 20; ++i) {
            EXPECT_EQ(data.labels[static_cast<std::size_t>(i)], i % 10);
            EXPECT_EQ(data.image(i)[0], (7 * (i % 10)) % 251);
            EXPECT_EQ(data.image(i)[3071], (7 * (i % 10) + 3071) % 251);
        }
    }
}

TEST(Cifar, BadFilesAreNamedWithThePlace) {
    const TemporaryDirectory directory;
    const fs::path file = directory / "data_batch_1.bin";
    const auto read = [&](const CifarLayout& layout) {
        ImageData data = empty_cifar();
        append_cifar_file(data, file, layout, 3);
    };
    const std::string good = cifar_records(3, false);
    put(file, good.substr(0, 2 * 3073 + 5));
    expect_error([&] { read(cifar10_layout); },
                 {"data_batch_1.bin", "3 records of 3073 bytes", "9219", "6151", "record 2"});
    put(file, good + "x");
    expect_error([&] { read(cifar10_layout); }, {"9219", "9220", "1 too many from byte 9219"});
    std::string bad = good;
    bad[3073] = 10;
    put(file, bad);
    expect_error([&] { read(cifar10_layout); },
                 {"record 1 (byte 3073)", "label from 0 to 9, got 10"});
    bad = cifar_records(3, true);
    bad[2 * 3074] = 20;
    put(file, bad);
    expect_error([&] { read(cifar100_layout); },
                 {"record 2 (byte 6148)", "coarse label from 0 to 19, got 20"});
    put(file, "");
    expect_error([&] { read(cifar10_layout); }, {"got 0"});
}

TEST(Cifar, DirectoriesAndClassNames) {
    expect_error([] { load_images("cifar10", ""); }, {"data directory", "cifar-10-binary.tar.gz"});
    const TemporaryDirectory directory;
    expect_error([&] { load_images("cifar10", directory.path().string()); },
                 {"data_batch_1.bin", directory.path().string(), "Hint"});
    expect_error([&] { load_images("cifar100", directory.path().string()); },
                 {"train.bin", "cifar-100-binary.tar.gz"});
    put(directory / "cifar-10-batches-bin/data_batch_1.bin", "short");
    expect_error([&] { load_images("cifar10", directory.path().string()); },
                 {"batches.meta.txt", "No such file"});
    put(directory / "cifar-10-batches-bin/batches.meta.txt", "a\nb\n\n");
    expect_error([&] { load_images("cifar10", directory.path().string()); },
                 {"expected 10 class names", "got 2 lines"});
    put(directory / "cifar-10-batches-bin/batches.meta.txt", "a\r\nb\n\nd\ne\nf\ng\nh\ni\nj\n\n");
    expect_error([&] { load_images("cifar10", directory.path().string()); }, {"line 3"});
    put(directory / "cifar-10-batches-bin/batches.meta.txt", "a\r\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    expect_error([&] { load_images("cifar10", directory.path().string()); },
                 {"data_batch_1.bin", "10000 records of 3073 bytes", "30730000", "got 5"});
}

TEST(Cifar, TheRealFiles) {
    const char* const shared = std::getenv("SLIMGRAD_SHARED_DATA");
    const fs::path directory = fs::path(shared ? shared : "") / "cifar-10-batches-bin";
    if (!shared || !fs::exists(directory)) GTEST_SKIP() << "set SLIMGRAD_SHARED_DATA";
    ImageSplits splits = load_images("cifar10", directory.string());
    EXPECT_EQ(class_counts(splits.train), std::vector<int>(10, 5000));
    EXPECT_EQ(class_counts(splits.test), std::vector<int>(10, 1000));
    EXPECT_EQ(splits.train.classes[3], "cat");
    splits.train.truncate(10000);
    EXPECT_EQ(class_counts(splits.train),
              (std::vector<int>{1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981}));
}

std::string idx(std::initializer_list<std::uint32_t> shape, std::string_view values) {
    std::string bytes{'\0', '\0', '\x08', static_cast<char>(shape.size())};
    for (const std::uint32_t length : shape)
        for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(length >> shift);
    return bytes.append(values);
}

void put_gzip(const fs::path& file, std::string_view bytes) {
    const gzFile out = gzopen(file.c_str(), "wb");
    ASSERT_EQ(gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size())), std::ssize(bytes));
    gzclose(out);
}

TEST(Idx, PlainAndGzipAreTheSame) {
    const TemporaryDirectory directory;
    put(directory / "a", idx({2, 1, 3}, "abcdef"));
    put_gzip(directory / "a.gz", idx({2, 1, 3}, "abcdef"));
    for (const char* name : {"a", "a.gz"}) {
        const IdxArray array = read_idx(directory / name, 3);
        EXPECT_EQ(array.shape, (std::vector<std::int64_t>{2, 1, 3}));
        EXPECT_EQ(array.values, (std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f'}));
    }
}

TEST(Idx, BadFilesAreNamedWithThePlace) {
    const TemporaryDirectory directory;
    const fs::path file = directory / "images";
    const auto read = [&] { read_idx(file, 3); };
    expect_error(read, {"images", "No such file"});
    expect_error([&] { read_idx(directory.path(), 3); }, {"directory"});
    put(file, idx({6}, "abcdef"));
    expect_error(read, {"magic 00 00 08 03", "got 00 00 08 01"});
    put(file, "\x89PNG");
    expect_error(read, {"got 89 50 4e 47"});
    put(file, idx({2, 1, 3}, "").substr(0, 12));
    expect_error(read, {"header of 16 bytes", "ends at byte 12"});
    put(file, "");
    expect_error(read, {"header of 16 bytes", "ends at byte 0"});
    put(file, idx({2, 1, 3}, "abcde"));
    expect_error(read, {"6 values", "(2, 1, 3)", "ends at byte 21"});
    put(file, idx({2, 1, 3}, "abcdefg"));
    expect_error(read, {"end of the file at byte 22"});
    // Headers that promise more than there is, or can be, must not take memory first.
    put(file, idx({10'000, 28, 28}, "abc"));
    expect_error(read, {"7840000 values", "ends at byte 19"});
    put(file, idx({0xffffffff, 28, 28}, "abc"));
    expect_error(read, {"dimension 0 at byte 4 is 4294967295: expected at most 1073741824 values"});
    put(file, idx({0x20000000, 28, 28}, "abc"));
    expect_error(read, {"dimension 1 at byte 8 is 28: expected at most 1073741824 values"});
    put_gzip(file, idx({1'000'000, 28, 28}, "abc"));
    expect_error(read, {"expected at most", "of gzip data, the header says 784000000"});

    const std::string good = idx({2, 100, 100}, std::string(20000, 'x'));
    put_gzip(file, good);
    const std::string packed = get(file);
    put(file, packed.substr(0, 40));
    expect_error(read, {"gzip", "damaged or cut"});
    put(file, packed.substr(0, packed.size() - 3));  // in the sum at the end
    expect_error(read, {"gzip", "damaged or cut"});
    put(file, packed + "rest");
    expect_error(read, {"end of the file at byte 20016"});
    std::string wrong = packed;
    wrong[wrong.size() - 6] ^= 1;
    put(file, wrong);
    expect_error(read, {"gzip", "incorrect data check"});
    // What is unpacked beyond what the header states is not taken into memory.
    put_gzip(file, good + std::string(1 << 26, 'x'));
    expect_error(read, {"end of the file at byte 20016"});
}

TEST(Idx, GzipMayHaveSeveralMembers) {
    const TemporaryDirectory directory;
    const std::string bytes = idx({2, 1, 3}, "abcdef");
    put_gzip(directory / "a.gz", bytes.substr(0, 18));
    put_gzip(directory / "b.gz", bytes.substr(18));
    put(directory / "c.gz", get(directory / "a.gz") + get(directory / "b.gz"));
    EXPECT_EQ(read_idx(directory / "c.gz", 3).values,
              (std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f'}));
}

TEST(FashionMnist, ChecksThatImagesAndLabelsFitTogether) {
    const TemporaryDirectory directory;
    const auto load = [&] { return load_images("fashion-mnist", directory.path().string()); };
    const std::string two(2 * 28 * 28, '\x11');
    expect_error(load, {"train-images-idx3-ubyte", "dataset-fashion-mnist"});
    put_gzip(directory / "train-images-idx3-ubyte.gz", idx({2, 28, 28}, two));
    expect_error(load, {"train-labels-idx1-ubyte"});
    put(directory / "train-labels-idx1-ubyte", idx({2}, "\x09\x0a"));
    expect_error(load, {"record 1 (byte 9)", "label from 0 to 9, got 10"});
    put(directory / "train-labels-idx1-ubyte", idx({1}, "\x09"));
    expect_error(load, {"expected 2 labels", "got 1"});
    put(directory / "train-labels-idx1-ubyte", idx({2}, "\x09\x01"));
    put(directory / "t10k-images-idx3-ubyte", idx({2, 14, 56}, two));
    put(directory / "t10k-labels-idx1-ubyte", idx({2}, "\x02\x03"));
    expect_error(load, {"28 x 28", "14 x 56"});
    put(directory / "t10k-images-idx3-ubyte", idx({0, 28, 28}, ""));
    put(directory / "t10k-labels-idx1-ubyte", idx({0}, ""));
    expect_error(load, {"at least one image"});
    put(directory / "t10k-images-idx3-ubyte", idx({2, 28, 28}, two));
    put(directory / "t10k-labels-idx1-ubyte", idx({2}, "\x02\x03"));
    const ImageSplits splits = load();
    EXPECT_EQ(splits.train.labels, (std::vector<std::int32_t>{9, 1}));
    EXPECT_EQ(splits.test.labels, (std::vector<std::int32_t>{2, 3}));
    EXPECT_EQ(splits.train.classes.at(9), "Ankle boot");
    EXPECT_EQ(splits.test.name, "fashion-mnist");
}

TEST(FashionMnist, TheEmbeddedImagesAreItsFirstOfEachClass) {
    if (!fs::exists("/usr/share/datasets/fashion-mnist"))
        GTEST_SKIP() << "install dataset-fashion-mnist";
    const ImageSplits full = load_images("fashion-mnist", "");
    const ImageSplits part = load_images("embedded-images", "");
    ASSERT_EQ(full.train.size(), 60000);
    ASSERT_EQ(full.test.size(), 10000);
    double sum = 0, squares = 0;
    for (const std::uint8_t pixel : full.train.pixels) {
        sum += pixel / 255.0;
        squares += pixel / 255.0 * (pixel / 255.0);
    }
    const double mean = sum / static_cast<double>(full.train.pixels.size());
    const double variance = squares / static_cast<double>(full.train.pixels.size()) - mean * mean;
    EXPECT_NEAR(mean, full.train.mean[0], 5e-5);
    EXPECT_NEAR(std::sqrt(variance), full.train.std[0], 5e-5);
    for (const auto& [all, some] :
         {std::pair(&full.train, &part.train), {&full.test, &part.test}}) {
        std::vector<std::int64_t> next(10, 0);
        for (std::int64_t i = 0; i < all->size(); ++i) {
            const std::int32_t label = all->labels[static_cast<std::size_t>(i)];
            const std::int64_t j = 10 * next[static_cast<std::size_t>(label)]++ + label;
            if (j >= some->size()) continue;
            ASSERT_EQ(some->labels[static_cast<std::size_t>(j)], label);
            ASSERT_TRUE(std::ranges::equal(all->image(i), some->image(j))) << i;
        }
    }
}

TEST(EmbeddedImages, AreBalancedHoweverManyAreTaken) {
    ImageSplits splits = load_images("embedded-images", "");
    EXPECT_EQ(class_counts(splits.train), std::vector<int>(10, 600));
    EXPECT_EQ(class_counts(splits.test), std::vector<int>(10, 150));
    splits.train.truncate(70);
    EXPECT_EQ(class_counts(splits.train), std::vector<int>(10, 7));
    splits.train.check();
    splits.train.truncate(0);
    splits.train.truncate(1000);
    EXPECT_EQ(splits.train.size(), 70);
    expect_error([&] { splits.train.truncate(-1); }, {"at least 0"});
}

TEST(EmbeddedImages, AreFoundThroughTheEnvironment) {
    const TemporaryDirectory directory;
    ::setenv("SLIMGRAD_DATA_DIR", directory.path().c_str(), 1);
    expect_error([] { load_images("embedded-images", ""); },
                 {(directory / "embedded-images").string(), "SLIMGRAD_DATA_DIR"});
    fs::create_directories(directory / "embedded-images");
    EXPECT_EQ(find_shipped("embedded-images"), directory / "embedded-images");
    ::unsetenv("SLIMGRAD_DATA_DIR");
    EXPECT_TRUE(fs::exists(find_shipped("embedded-images") / "LICENSE"));
}

/// A PNG of zeros. `more` bytes are packed behind those that the header asks for.
std::string black_png(unsigned width, unsigned height, unsigned channels, std::size_t more = 0,
                      const std::string& of_pixels = "IDAT") {
    const auto number = [](std::size_t value) {
        std::string bytes;
        for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value >> shift);
        return bytes;
    };
    const std::string raw(height * (1 + width * channels) + more, '\0');
    std::string packed(compressBound(raw.size()), '\0');
    uLongf size = packed.size();
    compress(reinterpret_cast<Bytef*>(packed.data()), &size,
             reinterpret_cast<const Bytef*>(raw.data()), raw.size());
    packed.resize(size);
    const char colour = channels == 3 ? '\2' : '\0';
    const std::string header =
        number(width) + number(height) + '\x08' + colour + std::string(3, '\0');
    std::string png = "\x89PNG\r\n\x1a\n";
    for (const auto& [type, content] :
         {std::pair<std::string, std::string>("IHDR", header), {of_pixels, packed}, {"IEND", ""}}) {
        const std::string named = type + content;
        const uLong sum =
            crc32(0, reinterpret_cast<const Bytef*>(named.data()), static_cast<uInt>(named.size()));
        png.append(number(content.size())).append(named).append(number(sum));
    }
    return png;
}

TEST(EmbeddedImages, BadSheetsAreNamed) {
    const TemporaryDirectory directory;
    fs::copy(find_shipped("embedded-images"), directory / "images");
    const fs::path sheet = directory / "images/train-3.png";
    const auto load = [&] { load_images("embedded-images", (directory / "images").string()); };
    load();
    const std::string good = get(sheet);
    put(sheet, good.substr(0, good.size() / 2));
    expect_error(load, {"train-3.png", "PNG"});
    put(sheet, "not an image");
    expect_error(load, {"train-3.png", "PNG"});
    put(sheet, black_png(28, 28, 1, 0, "A\nB\t"));  // the name of a chunk, in the message
    expect_error(load, {"train-3.png", "A\\nB\\x09"});
    fs::copy_file(directory / "images/test-3.png", sheet, fs::copy_options::overwrite_existing);
    expect_error(load, {"train-3.png", "expected 600 tiles", "got 150"});
    put(sheet, black_png(30, 56, 1));
    expect_error(load, {"train-3.png", "28 x 28 tiles", "30 x 56"});
    put(sheet, black_png(28, 28, 3));
    expect_error(load, {"train-3.png", "1 channel, got 3"});
    // Neither the size of the image nor what is packed in it may ask for any amount of memory.
    put(sheet, black_png(1 << 13, 1 << 12, 1));
    expect_error(load, {"train-3.png", "at most 16777216 pixels, got 8192 x 4096"});
    put(sheet, black_png(28, 28, 1, 80'000'000));
    expect_error(load, {"train-3.png", "PNG"});
    fs::remove(sheet);
    expect_error(load, {"train-3.png", "No such file"});
}

TEST(ImageData, UnknownNamesListTheKnownOnes) {
    expect_error([] { load_images("imagenet", ""); },
                 {"imagenet", "cifar10, cifar100, fashion-mnist, embedded-images"});
}

}  // namespace
}  // namespace slimgrad
