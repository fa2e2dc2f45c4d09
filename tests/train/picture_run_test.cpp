// Runs on pictures: folders of files, and images that are resized.
#include "data/picture_source.h"
#include "tests/places.h"
#include "tests/temporary.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

class PictureRun : public Train {
  protected:
    PictureRun() {
        const fs::path from = tests_directory() / "pictures";
        for (const auto& [split, count] : {std::pair{"train", 4}, {"val", 2}})
            for (int i = 0; i < count; ++i) {
                copy(from / "colour.jpg", folder(split) / "colour" / name(i));
                copy(from / "grey.jpg", folder(split) / "grey" / name(i));
            }
    }
    static std::string name(int i) { return fmt::format("{}.jpg", i); }
    fs::path folder(const char* split) const { return root_ / "pictures" / split; }
    static void copy(const fs::path& from, const fs::path& to) {
        fs::create_directories(to.parent_path());
        fs::copy_file(from, to);
    }
    TrainConfig on_folder(const std::string& name) const {
        TrainConfig config;
        config.data = "image-folder";
        config.data_dir = (root_ / "pictures").string();
        config.image_size = 16;
        config.model = "vit-micro";
        config.batch = 4;
        config.epochs = 2;
        config.augment = true;
        config.threads = 1;
        config.out = (root_ / name).string();
        return config;
    }
};

TEST_F(PictureRun, AFolderIsLearnedFromAndGoesOnToTheSameBits) {
    TrainConfig config = on_folder("straight");
    ASSERT_TRUE(run(config));
    EXPECT_EQ(summary("straight").at("majority_baseline").at("accuracy"), 0.5);
    EXPECT_FALSE(summary("straight").contains("passed_over"));
    config.out = (root_ / "broken").string();
    config.workers = 3;  // how many read ahead makes no difference
    ASSERT_FALSE(run(config, 3));
    ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
    EXPECT_EQ(weights("broken"), weights("straight"));
    EXPECT_EQ(metrics("broken"), metrics("straight"));
}

TEST_F(PictureRun, ABadFileEndsTheRunOrIsPassedOver) {
    std::ofstream(folder("train") / "grey" / "3.jpg") << "no picture";
    TrainConfig config = on_folder("run");
    EXPECT_TRUE(has(message([&] { run(config); }), "grey/3.jpg"));
    config.out = (root_ / "other").string();
    config.bad_pictures = "skip";
    ASSERT_TRUE(run(config));
    const std::string passed = summary("other").at("passed_over");
    EXPECT_TRUE(has(passed, "1 was left out, the first: ")) << passed;
    EXPECT_TRUE(has(passed, "grey/3.jpg")) << passed;

    // Each of both sets counts; a run that was broken off tells the same.
    std::ofstream(folder("val") / "grey" / "\xff.jpg") << "no picture";
    config.out = (root_ / "both").string();
    ASSERT_TRUE(run(config));
    EXPECT_TRUE(has(summary("both").at("passed_over"), "2 were left out"));
    config.out = (root_ / "broken").string();
    ASSERT_FALSE(run(config, 3));
    ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
    EXPECT_EQ(summary("broken").at("passed_over"), summary("both").at("passed_over"));
}

TEST_F(PictureRun, ABadFileOfTheTestSetLosesNoTraining) {
    const fs::path file = folder("val") / "grey" / "1.jpg";
    const std::string good = get(file);
    put(file, std::string(good.size(), '-'));
    TrainConfig config = on_folder("run");
    const std::string said = message([&] { run(config); });
    EXPECT_TRUE(has(said, "step 2, evaluation: ")) << said;
    EXPECT_TRUE(has(said, "grey/1.jpg")) << said;
    EXPECT_FALSE(has(said, "--lr")) << said;
    put(file, good);
    ASSERT_TRUE(Trainer(fs::path(config.out), options()).run());
    config.out = (root_ / "straight").string();
    ASSERT_TRUE(run(config));
    EXPECT_EQ(weights("run"), weights("straight"));
    EXPECT_EQ(metrics("run"), metrics("straight"));
}

TEST_F(PictureRun, ADataSetOfImagesIsResizedToRgb) {
    TrainConfig config = small("resized", "vit-micro");
    config.image_size = 16;
    config.epochs = 1;
    ASSERT_TRUE(run(config));
    EXPECT_EQ(summary("resized").at("config").at("image_size"), 16);
    config.out = (root_ / "half").string();
    config.pixel_scale = "half";
    ASSERT_TRUE(run(config));
    EXPECT_NE(weights("resized"), weights("half"));
}

TEST_F(PictureRun, OptionsOfPicturesAreForPictures) {
    TrainConfig config = small("run", "vit-micro");
    EXPECT_EQ(without_effect(config, {"workers", "bad_pictures"}),
              (std::vector<std::string>{
                  "workers has no effect: data embedded-images are not resized",
                  "bad_pictures has no effect: data embedded-images are not resized"}));
    config.image_size = 16;
    EXPECT_EQ(without_effect(config, {"workers"}), std::vector<std::string>());
    EXPECT_EQ(without_effect(texts("t"), {"image_size"}),
              std::vector<std::string>{"image_size has no effect: data embedded-text are texts"});
    config = on_folder("none");
    config.data_dir = (root_ / "nowhere").string();
    EXPECT_TRUE(has(message([&] { run(config); }), "nowhere"));
}

}  // namespace
}  // namespace slimgrad
