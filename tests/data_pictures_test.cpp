// Pictures of any sizes: decoding, resizing, folders, batches.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <set>
#include <thread>

#include "data/embedded_images.h"
#include "data/file.h"
#include "data/picture_loader.h"
#include "data/shipped.h"
#include "tests/places.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

/// tests/pictures/<name>: made by its make.py.
fs::path sample(const std::string& name) { return tests_directory() / "pictures" / name; }

std::string bytes_of(const std::string& name) { return get(sample(name)); }

TEST(Pictures, EveryKindOfFileIsRgb) {
    const Picture colour = read_picture(sample("colour.png"));
    EXPECT_EQ(colour.width, 31);
    EXPECT_EQ(colour.height, 23);
    ASSERT_EQ(colour.pixels.size(), 31u * 23 * 3);
    const auto difference = [&](const char* name) {
        const Picture p = read_picture(sample(name));
        EXPECT_EQ(p.width, 31) << name;
        EXPECT_EQ(p.height, 23) << name;
        double sum = 0;
        for (std::size_t i = 0; i < p.pixels.size(); ++i)
            sum += std::abs(int{p.pixels[i]} - int{colour.pixels[i]});
        return sum / static_cast<double>(p.pixels.size());
    };
    EXPECT_EQ(difference("alpha.png"), 0);
    EXPECT_EQ(difference("deep.png"), 0);  // 16 bits a value
    EXPECT_EQ(difference("palette.png"), 0);
    EXPECT_LT(difference("colour.jpg"), 4);
    EXPECT_LT(difference("progressive.jpg"), 4);
    EXPECT_LT(difference("cmyk.jpg"), 6);
    for (const char* name : {"grey.png", "grey.jpg", "grey16.png"}) {
        const Picture grey = read_picture(sample(name));
        ASSERT_EQ(grey.pixels.size(), colour.pixels.size()) << name;
        for (std::size_t i = 0; i < grey.pixels.size(); i += 3) {
            EXPECT_EQ(grey.pixels[i], grey.pixels[i + 1]);
            EXPECT_EQ(grey.pixels[i], grey.pixels[i + 2]);
        }
    }
}

TEST(Pictures, WhatCannotBeReadIsOneLineThatNamesTheFile) {
    const TemporaryDirectory here;
    const auto fault = [&](const std::string& name, std::string_view bytes) {
        put(here / name, bytes);
        const std::string said = message([&] { read_picture(here / name); });
        EXPECT_NE(said.find(name), std::string::npos) << said;
        return said;
    };
    EXPECT_NE(fault("empty.jpg", "").find("got 0 bytes"), std::string::npos);
    EXPECT_NE(fault("text.jpg", "no picture").find("expected a JPEG or PNG image"),
              std::string::npos);
    const std::string png = bytes_of("colour.png"), jpeg = bytes_of("colour.jpg");
    fault("cut.png", std::string_view(png).substr(0, png.size() / 2));
    fault("head.jpg", std::string_view(jpeg).substr(0, 40));
    std::string huge = png;
    huge[18] = huge[22] = 32;  // 8223 x 8215 pixels, says its header
    EXPECT_NE(fault("huge.png", huge).find("at most 16777216 pixels"), std::string::npos);
    EXPECT_NE(message([&] { read_picture(here / "absent.png"); }).find("absent.png"),
              std::string::npos);
}

TEST(Pictures, DamageIsFound) {
    const std::string jpeg = bytes_of("colour.jpg"), png = bytes_of("colour.png");
    const auto parse = [](const std::string& bytes) {
        return parse_picture({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()},
                             "FILE");
    };
    const auto fault = [&](const std::string& bytes) { return message([&] { parse(bytes); }); };
    EXPECT_NE(fault(jpeg.substr(0, jpeg.size() - 100)).find("remature end"), std::string::npos);
    std::string table = jpeg;  // a Huffman table of more codes than there are bytes
    const std::size_t counts = table.find("\xff\xc4") + 5;
    table.replace(counts, 16, 16, '\xff');
    EXPECT_TRUE(fault(table).starts_with("[data] 'FILE': expected a JPEG image, got"));
    // What lies between two parts does no harm.
    std::string between = jpeg;
    between.insert(between.size() - 2, "\1\2\3");
    EXPECT_EQ(parse(between).pixels, parse(jpeg).pixels);

    std::string flipped = png;
    flipped[png.size() / 2] ^= 1;
    EXPECT_NE(fault(flipped).find("has another checksum"), std::string::npos);
    EXPECT_NE(fault(png.substr(0, png.size() - 12)).find("ends before its last chunk"),
              std::string::npos);
}

TEST(Pictures, ResizingIsThatOfPillow) {
    // tests/pictures/make.py: colour.png, part (20, 2, 9, 17), to 7 x 12, and all of it to 40 x 50
    const Picture picture = read_picture(sample("colour.png"));
    const auto expect = [](const Picture& got, const std::string& name) {
        const Picture expected = read_picture(sample(name));
        ASSERT_EQ(got.width, expected.width);
        ASSERT_EQ(got.height, expected.height);
        // At the border Pillow leaves out what lies beyond, stb repeats the last pixel.
        for (std::int64_t row = 1; row + 1 < got.height; ++row)
            for (std::int64_t i = 3; i < 3 * (got.width - 1); ++i) {
                const auto at = static_cast<std::size_t>(3 * row * got.width + i);
                EXPECT_NEAR(int{got.pixels[at]}, int{expected.pixels[at]}, 1) << name << at;
            }
    };
    expect(resized(picture, {2, 3, 19, 27}, 7, 12), "smaller.png");
    expect(resized(picture, {0, 0, 23, 31}, 40, 50), "larger.png");
    const Picture same = resized(picture, {0, 0, 23, 31}, 23, 31);
    EXPECT_EQ(same.pixels, picture.pixels);
    // A part of the larger picture is what it is in the whole.
    const Picture larger = resized(picture, {0, 0, 23, 31}, 40, 50);
    const Picture part = part_of_resized(picture, 40, 50, {7, 11, 21, 13});
    for (std::int64_t row = 0; row < 21; ++row)
        for (std::int64_t i = 0; i < 3 * 13; ++i)
            EXPECT_NEAR(int{part.pixels[static_cast<std::size_t>(3 * 13 * row + i)]},
                        int{larger.pixels[static_cast<std::size_t>(3 * (50 * (row + 7) + 11) + i)]},
                        1);
    message([&] { part_of_resized(picture, 40, 50, {20, 0, 21, 50}); });
    for (const Crop& bad : {Crop{0, 0, 0, 3}, Crop{-1, 0, 3, 3}, Crop{0, 30, 2, 2}})
        EXPECT_NE(message([&] { resized(picture, bad, 4, 4); }).find("part of a picture"),
                  std::string::npos);
    message([&] { resized(picture, {0, 0, 2, 2}, 0, 4); });
}

TEST(Pictures, RandomCropsHaveTheAreasAndShapesOfTorchvision) {
    Stream stream(1, "test");
    double smallest = 1, largest = 0, sum = 0;
    constexpr int draws = 4000;
    for (int i = 0; i < draws; ++i) {
        const Crop c = random_crop(300, 400, stream);
        ASSERT_TRUE(c.top >= 0 && c.left >= 0 && c.top + c.height <= 300 &&
                    c.left + c.width <= 400);
        const double ratio = static_cast<double>(c.width) / static_cast<double>(c.height);
        ASSERT_GT(ratio, 0.74);
        ASSERT_LT(ratio, 1.35);
        const double area = static_cast<double>(c.width * c.height) / (300.0 * 400);
        smallest = std::min(smallest, area);
        largest = std::max(largest, area);
        sum += area;
    }
    EXPECT_NEAR(smallest, 0.08, 0.01);
    EXPECT_GT(largest, 0.9);
    EXPECT_GT(sum / draws, 0.4);
    EXPECT_LT(sum / draws, 0.55);
    const Crop thin = random_crop(10, 1000, stream);  // no draw fits
    EXPECT_EQ(thin.height, 10);
    EXPECT_EQ(thin.width, 13);
    EXPECT_EQ(thin.left, 493);
    const Crop dot = random_crop(1, 1, stream);
    EXPECT_EQ(dot.height * dot.width, 1);
}

/// A folder with two classes in train and val.
class PictureFolder : public testing::Test {
  protected:
    PictureFolder() {
        add("train/cat/1.PNG", "colour.png");
        add("train/cat/deep/2.jpg", "colour.jpg");
        add("train/cat/3.jpeg", "grey.jpg");
        add("train/dog/1.png", "grey.png");
        put(here_ / "train/dog/notes.txt", "no picture");
        add("val/cat/1.png", "alpha.png");
        add("val/dog/1.png", "deep.png");
    }
    void add(const std::string& file, const std::string& from) const {
        put(here_ / file, bytes_of(from));
    }
    std::string fault() const {
        return message([&] { read_picture_folder(here_.path()); });
    }
    PictureLoaderOptions options(bool augment = false) const {
        return {.side = 16, .batch_size = 2, .augment = augment, .seed = 5};
    }
    TemporaryDirectory here_;
};

TEST_F(PictureFolder, IsReadByName) {
    const PictureSplits splits = read_picture_folder(here_.path());
    EXPECT_EQ(splits.train->classes(), (std::vector<std::string>{"cat", "dog"}));
    // A class after the other, in turn.
    EXPECT_EQ(splits.train->labels(), (std::vector<std::int32_t>{0, 1, 0, 0}));
    EXPECT_TRUE(splits.train->describe(0).starts_with("cat/1.PNG "));
    EXPECT_TRUE(splits.train->describe(3).starts_with("cat/deep/2.jpg "));
    EXPECT_EQ(splits.test->size(), 2);
    EXPECT_EQ(splits.train->picture(1).width, 31);
    EXPECT_EQ(read_picture_folder(here_.path(), 3, 1).train->size(), 3);
    EXPECT_EQ(read_picture_folder(here_.path(), 3, 1).test->size(), 1);
}

TEST_F(PictureFolder, WhatIsAbsentIsOneLine) {
    add("val/bird/1.png", "grey.png");
    EXPECT_NE(fault().find("no class 'bird'"), std::string::npos);
    fs::remove_all(here_ / "val/bird");
    fs::remove(here_ / "train/dog/1.png");
    EXPECT_NE(fault().find("expected files that end in .jpg, .jpeg or .png, got none"),
              std::string::npos);
    fs::remove_all(here_ / "train/dog");
    EXPECT_NE(fault().find("two classes or more, got 1"), std::string::npos);
    fs::remove_all(here_ / "val");
    EXPECT_NE(fault().find("'val' or 'test'"), std::string::npos);
    fs::remove_all(here_ / "train");
    EXPECT_NE(fault().find("'train' and 'val'"), std::string::npos);
    EXPECT_NE(message([] { read_picture_folder(""); }).find("needs data_dir"), std::string::npos);
}

TEST_F(PictureFolder, BatchesAreAFunctionOfTheStep) {
    const PictureSplits splits = read_picture_folder(here_.path());
    const PictureLoader loader(splits.train, options(true));
    EXPECT_EQ(loader.steps_per_epoch(), 2);
    const Batch one = loader.batch(3);
    EXPECT_EQ(one.x.shape(), (Shape{2, 3, 16, 16}));
    EXPECT_EQ(digest(one), digest(PictureLoader(splits.train, options(true)).batch(3)));
    EXPECT_NE(digest(one), digest(loader.batch(1)));  // the same samples or not, other crops
    std::uint64_t other = 0;
    std::thread([&] { other = digest(loader.batch(3)); }).join();
    EXPECT_EQ(digest(one), other);
}

TEST_F(PictureFolder, EvaluationShowsTheMiddleNormalised) {
    PictureLoaderOptions plain = options();
    plain.shuffle = false;
    plain.scale = {{0, 0, 0}, {1.0 / 255, 1.0 / 255, 1.0 / 255}};  // the bytes themselves
    const Batch batch = PictureLoader(read_picture_folder(here_.path()).test, plain).batch(0);
    EXPECT_EQ(batch.labels, (std::vector<std::int32_t>{0, 1}));
    const Picture picture = read_picture(sample("alpha.png"));
    const Picture small =
        resized(picture, {0, 0, 23, 31}, 19, 25);  // 8/7 of 16, up; 1.5 rows are 2, 4.5 columns 4
    for (std::int64_t c = 0; c < 3; ++c)
        for (std::int64_t row = 0; row < 16; ++row)
            for (std::int64_t column = 0; column < 16; ++column)
                EXPECT_NEAR(
                    batch.x.at({0, c, row, column}),
                    small.pixels[static_cast<std::size_t>(3 * ((row + 2) * 25 + column + 4) + c)],
                    1e-3);
    plain.scale = PixelScale::half();
    const Batch half = PictureLoader(read_picture_folder(here_.path()).test, plain).batch(0);
    EXPECT_NEAR(half.x.at({0, 1, 2, 3}), batch.x.at({0, 1, 2, 3}) / 127.5 - 1, 1e-4);
}

TEST_F(PictureFolder, APictureMayBeThin) {
    class Line final : public PictureSource {
      public:
        Line() : PictureSource("lines", {"line"}) { labels_ = {0}; }
        Picture picture(std::int64_t) const override {
            return {200'000, 1, std::vector<std::uint8_t>(600'000, 51)};
        }
        std::string describe(std::int64_t) const override { return "line"; }
    };
    PictureLoaderOptions o = options();
    o.shuffle = false;
    o.batch_size = 1;
    o.side = 224;
    o.scale = {{0, 0, 0}, {1, 1, 1}};
    for (const bool augment : {false, true}) {
        o.augment = augment;
        const Batch batch = PictureLoader(std::make_shared<const Line>(), o).batch(0);
        EXPECT_EQ(batch.x.shape(), (Shape{1, 3, 224, 224}));
        for (const real value : batch.x.values()) ASSERT_NEAR(value, 0.2, 1e-6);
    }
}

TEST_F(PictureFolder, ABadPictureIsAnErrorOrIsSkippedAndCounted) {
    put(here_ / "train/cat/3.jpeg", "no picture");
    const PictureSplits splits = read_picture_folder(here_.path());
    PictureLoaderOptions o = options();
    o.shuffle = false;
    EXPECT_NE(message([&] { PictureLoader(splits.train, o).batch(1); }).find("3.jpeg"),
              std::string::npos);
    o.skipped = std::make_shared<SkippedPictures>();
    const PictureLoader loader(splits.train, o);
    EXPECT_TRUE(o.skipped->all().empty());
    const Batch batch = loader.batch(1);  // cat/3.jpeg, cat/deep/2.jpg
    EXPECT_EQ(batch.labels, (std::vector<std::int32_t>{0, 0}));
    loader.batch(1);
    ASSERT_EQ(o.skipped->all().size(), 1u);
    EXPECT_NE(o.skipped->all().begin()->find("3.jpeg"), std::string::npos);

    for (const char* name : {"train/cat/1.PNG", "train/cat/deep/2.jpg", "train/dog/1.png"})
        put(here_ / name, "");
    EXPECT_NE(message([&] { loader.batch(0); }).find("none of 4 pictures can be read"),
              std::string::npos);
}

TEST(PicturesOfImages, AreTheirPixelsThreeTimesIfGrey) {
    auto images = std::make_shared<ImageData>();
    images->channels = 1;
    images->height = 2;
    images->width = 3;
    images->classes = {"a", "b"};
    images->pixels = {1, 2, 3, 4, 5, 6};
    images->labels = {1};
    const Picture p = pictures_of(images)->picture(0);
    EXPECT_EQ(p.pixels,
              (std::vector<std::uint8_t>{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6}));
    images->channels = 3;
    images->width = 1;
    EXPECT_EQ(pictures_of(images)->picture(0).pixels,
              (std::vector<std::uint8_t>{1, 3, 5, 2, 4, 6}));
    images->channels = 2;
    EXPECT_NE(message([&] { pictures_of(images); }).find("1 or 3 channels"), std::string::npos);
}

}  // namespace
}  // namespace slimgrad
