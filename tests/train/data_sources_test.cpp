// Data sets from the web: archives, and folders of pictures that are made of them.
#include "cli/data_sources.h"

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cli/archive.h"
#include "cli/mat_file.h"
#include "data/picture_source.h"
#include "tests/error_of.h"
#include "tests/places.h"
#include "tests/temporary.h"
#include "train/directory_lock.h"
#include "web_server.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;

fs::path sample(const char* name) { return tests_directory() / "archives" / name; }

struct Entry {
    std::string name, content{};
    int type = AE_IFREG;
};

/// A tar.gz of these files.
void write_archive(const fs::path& file, const std::vector<Entry>& entries) {
    archive* const a = archive_write_new();
    archive_write_add_filter_gzip(a);
    archive_write_set_format_pax_restricted(a);
    ASSERT_EQ(archive_write_open_filename(a, file.c_str()), ARCHIVE_OK);
    for (const Entry& e : entries) {
        archive_entry* const entry = archive_entry_new();
        archive_entry_set_pathname(entry, e.name.c_str());
        archive_entry_set_size(entry, std::ssize(e.content));
        archive_entry_set_filetype(entry, static_cast<unsigned>(e.type));
        archive_entry_set_perm(entry, 0644);
        if (e.type == AE_IFLNK) archive_entry_set_symlink(entry, "/etc/passwd");
        ASSERT_EQ(archive_write_header(a, entry), ARCHIVE_OK);
        if (!e.content.empty()) archive_write_data(a, e.content.data(), e.content.size());
        archive_entry_free(entry);
    }
    archive_write_close(a);
    archive_write_free(a);
}

class DataSources : public ::testing::Test {
  protected:
    /// The source of that name with these files in place of its own, which lie in `web()`.
    DataSource source(const std::string& name, const std::vector<fs::path>& files) {
        DataSource found = *std::ranges::find(data_sources(), name, &DataSource::name);
        found.unpacked = 1;  // not what the true one needs of the disk
        for (std::size_t i = 0; i < files.size(); ++i) {
            RemoteFile& file = found.files.at(i);
            const std::string bytes = get(files[i]);
            const std::string own = file.name();
            file = {server_.url(own), std::ssize(bytes), sha256_of(files[i])};
            server_.files[own] = bytes;
        }
        return found;
    }
    fs::path archive(const std::vector<Entry>& entries) {
        const fs::path file = directory_ / fmt::format("made{}", ++made_);
        write_archive(file, entries);
        return file;
    }
    /// All files below the data set's folder, sorted.
    std::vector<std::string> tree(const std::string& folder) const {
        std::vector<std::string> names;
        for (const auto& entry : fs::recursive_directory_iterator(data() / folder))
            if (entry.is_regular_file())
                names.push_back(fs::relative(entry.path(), data() / folder).string());
        std::ranges::sort(names);
        return names;
    }
    std::vector<std::string> in_data() const {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(data()))
            names.push_back(entry.path().filename().string());
        std::ranges::sort(names);
        return names;
    }
    fs::path data() const { return directory_ / "data"; }

    TemporaryDirectory directory_;
    Server server_{""};
    int made_ = 0;
};

TEST_F(DataSources, EveryOneIsWholeInTheTable) {
    for (const DataSource& each : data_sources()) {
        EXPECT_FALSE(each.files.empty()) << each.name;
        for (const RemoteFile& file : each.files) {
            EXPECT_EQ(file.sha256.size(), 64u) << file.url;
            EXPECT_GT(file.bytes, 0) << file.url;
            EXPECT_TRUE(file.url.starts_with("http")) << file.url;
        }
        EXPECT_TRUE(each.train_with.starts_with("--data ")) << each.name;
    }
}

TEST_F(DataSources, AnArchiveBecomesItsFolder) {
    const DataSource cifar =
        source("cifar10", {archive({{"cifar-10-batches-bin/", "", AE_IFDIR},
                                    {"cifar-10-batches-bin/test_batch.bin", "12345"}})});
    std::vector<std::string> shown;
    const FetchOptions options{.progress = [&](const std::string& name, std::int64_t) {
        shown.push_back(name);
        return Progress();
    }};
    ASSERT_EQ(fetch(cifar, data(), options).size(), 1u);
    EXPECT_EQ(get(data() / "cifar-10-batches-bin" / "test_batch.bin"), "12345");
    EXPECT_EQ(in_data(), std::vector<std::string>{"cifar-10-batches-bin"});
    EXPECT_EQ(shown, (std::vector<std::string>{"cifar-10-binary.tar.gz",
                                               "unpacking cifar-10-binary.tar.gz"}));
    EXPECT_TRUE(fetch(cifar, data()).empty());  // it is there
    EXPECT_EQ(server_.requests().size(), 1u);
}

TEST_F(DataSources, ABrokenTransferAndABrokenUnpackingGoOn) {
    const DataSource cifar =
        source("cifar10", {archive({{"cifar-10-batches-bin/a", std::string(2000, 'a') + "end"}})});
    server_.cut_after = 30;
    EXPECT_THROW(fetch(cifar, data()), DownloadError);
    put(data() / "cifar-10-batches-bin.fetching/unpacked/cifar-10-batches-bin/b",
        "of a run before");
    server_.cut_after = -1;
    fetch(cifar, data());
    EXPECT_EQ(tree("cifar-10-batches-bin"), std::vector<std::string>{"a"});
    EXPECT_NE(server_.requests().back().find("Range: bytes=30-"), std::string::npos);
}

TEST_F(DataSources, OneProcessAtATime) {
    const DataSource cifar = source("cifar10", {archive({{"cifar-10-batches-bin/a", "b"}})});
    const fs::path work = data() / "cifar-10-batches-bin.fetching";
    fs::create_directories(work);
    {
        const DirectoryLock other(work);
        EXPECT_NE(error_of([&] { fetch(cifar, data()); }).find("is in use by process"),
                  std::string::npos);
    }
    EXPECT_EQ(fetch(cifar, data()).size(), 1u);
    EXPECT_EQ(in_data(), std::vector<std::string>{"cifar-10-batches-bin"});
}

TEST_F(DataSources, WhatAUserHasPutThereStays) {
    const fs::path file = archive({{"cifar-10-batches-bin/a", "b"}});
    const DataSource cifar = source("cifar10", {file});
    fs::create_directories(data());
    fs::copy_file(file, data() / "cifar-10-binary.tar.gz");
    const std::vector<Fetched> files = fetch(cifar, data());
    ASSERT_EQ(files.size(), 1u);
    EXPECT_EQ(files.front().name, "cifar-10-binary.tar.gz");
    EXPECT_FALSE(files.front().downloaded);
    EXPECT_TRUE(server_.requests().empty());
    EXPECT_EQ(in_data(),
              (std::vector<std::string>{"cifar-10-batches-bin", "cifar-10-binary.tar.gz"}));
}

TEST_F(DataSources, WhatHasItsNameAndIsNoDataSetIsNamed) {
    const DataSource cifar = source("cifar10", {archive({{"cifar-10-batches-bin/a", "b"}})});
    const fs::path target = data() / "cifar-10-batches-bin";
    const auto error = [&] { return error_of([&] { fetch(cifar, data()); }); };
    put(target, "a file");
    EXPECT_NE(error().find("is in the way: expected a directory or nothing"), std::string::npos);
    fs::remove(target);
    fs::create_symlink("nowhere", target);
    EXPECT_NE(error().find("is in the way"), std::string::npos);
    EXPECT_TRUE(server_.requests().empty());
    fs::remove(target);
    fs::create_directory(target);  // empty: as good as nothing
    EXPECT_EQ(fetch(cifar, data()).size(), 1u);
    EXPECT_EQ(tree("cifar-10-batches-bin"), std::vector<std::string>{"a"});
}

TEST_F(DataSources, FoodBecomesAFolderOfPictures) {
    const std::string jpeg = get(tests_directory() / "pictures" / "colour.jpg");
    fetch(source("food101", {archive({{"food-101/meta/train.txt", "pie/1\nsoup/2\n"},
                                      {"food-101/meta/test.txt", "pie/3\nsoup/4\n"},
                                      {"food-101/images/pie/1.jpg", jpeg},
                                      {"food-101/images/pie/3.jpg", jpeg},
                                      {"food-101/images/soup/2.jpg", jpeg},
                                      {"food-101/images/soup/4.jpg", jpeg}})}),
          data());
    EXPECT_EQ(tree("food-101"), (std::vector<std::string>{"test/pie/3.jpg", "test/soup/4.jpg",
                                                          "train/pie/1.jpg", "train/soup/2.jpg"}));
    const PictureSplits splits = read_picture_folder(data() / "food-101");
    EXPECT_EQ(splits.train->classes(), (std::vector<std::string>{"pie", "soup"}));
    EXPECT_EQ(splits.test->size(), 2);
}

TEST_F(DataSources, PetsAreSortedByTheirBreed) {
    fetch(source("oxford-pets", {archive({{"images/Abyssinian_1.jpg", "1"},
                                          {"images/great_dane_12.jpg", "2"},
                                          {"images/Abyssinian_1.mat", "is not a picture"},
                                          {"images/great_dane_3.jpg", "3"}}),
                                 archive({{"annotations/trainval.txt",
                                           "#Image CLASS-ID\nAbyssinian_1 1 1 1\n"
                                           "great_dane_12 2 2 1\n"},
                                          {"annotations/test.txt", "great_dane_3 2 2 1\n"}})}),
          data());
    EXPECT_EQ(tree("oxford-iiit-pet"),
              (std::vector<std::string>{"test/great_dane/great_dane_3.jpg",
                                        "train/Abyssinian/Abyssinian_1.jpg",
                                        "train/great_dane/great_dane_12.jpg"}));
}

TEST_F(DataSources, FlowersAreSortedByTheirLabels) {
    std::vector<Entry> pictures;
    for (int i = 1; i <= 6; ++i) pictures.push_back({fmt::format("jpg/image_{:05}.jpg", i), "x"});
    fetch(source("flowers102", {archive(pictures), sample("imagelabels.mat"), sample("setid.mat")}),
          data());
    // Labels 2 1 2 1 2 102; trained on are 1, 2 and 6.
    EXPECT_EQ(tree("flowers-102"),
              (std::vector<std::string>{"test/001/image_00004.jpg", "test/002/image_00003.jpg",
                                        "test/002/image_00005.jpg", "train/001/image_00002.jpg",
                                        "train/002/image_00001.jpg", "train/102/image_00006.jpg"}));
    EXPECT_EQ(in_data(), std::vector<std::string>{"flowers-102"});
}

TEST_F(DataSources, WhatIsMissingIsNamed) {
    const auto food = [&](const std::string& list) {
        return error_of([&] {
            fetch(source("food101", {archive({{"food-101/meta/train.txt", list},
                                              {"food-101/meta/test.txt", ""}})}),
                  directory_ / fmt::format("data{}", made_));
        });
    };
    EXPECT_EQ(food("pie/1\n"), "[data] the archive lacks 'pie/1.jpg'");
    EXPECT_NE(food("pie\n").find("expected class/picture, got 'pie'"), std::string::npos);
    EXPECT_FALSE(fs::exists(directory_ / "data1" / "food-101"));
    EXPECT_EQ(error_of([&] {
                  fetch(source("cifar10", {archive({{"a", "b"}})}), data());
              }),
              "[data] the archive of cifar10 lacks the folder 'cifar-10-batches-bin'");
}

TEST_F(DataSources, AFullDiskIsSeenBefore) {
    DataSource cifar = source("cifar10", {archive({{"a", "b"}})});
    cifar.unpacked = std::int64_t{1} << 60;
    const std::string error = error_of([&] { fetch(cifar, data()); });
    EXPECT_NE(error.find("GB left, and cifar10 needs about 1152921504.6 GB"), std::string::npos)
        << error;
    EXPECT_TRUE(server_.requests().empty());
}

TEST_F(DataSources, AnArchiveCannotLeaveItsFolder) {
    const auto error = [&](const Entry& entry) {
        return error_of([&] { unpack(archive({entry}), directory_ / "in" / "side"); });
    };
    EXPECT_NE(error({"../out", "x"}).find("'../out', which leads out of it"), std::string::npos);
    EXPECT_NE(error({"a/../../../out", "x"}).find("leads out of it"), std::string::npos);
    EXPECT_NE(error({"/out", "x"}).find("leads out of it"), std::string::npos);
    EXPECT_NE(error({"link", "", AE_IFLNK}).find("expected files and folders alone"),
              std::string::npos);
    EXPECT_EQ(error({"a/b/../c", "x"}), "no error");
    EXPECT_EQ(get(directory_ / "in" / "side" / "a" / "c"), "x");
    EXPECT_FALSE(fs::exists(directory_ / "in" / "out"));
}

TEST_F(DataSources, HolesOfASparseFileAreZeros) {
    // GNU tar --sparse: 4096 bytes of 'x' at 8192 of 20000.
    unpack(sample("sparse.tar.gz"), directory_ / "unpacked");
    const std::string hole(8192, '\0');
    EXPECT_EQ(get(directory_ / "unpacked" / "sparse"),
              hole + std::string(4096, 'x') + std::string(20000 - 8192 - 4096, '\0'));
}

TEST_F(DataSources, ADamagedArchiveIsOneLine) {
    const fs::path whole = archive({{"a", std::string(100'000, 'x') + "y"}});
    const std::string bytes = get(whole);
    put(directory_ / "cut", bytes.substr(0, bytes.size() / 2));
    put(directory_ / "none", "no archive at all");
    for (const char* name : {"cut", "none", "absent"}) {
        const std::string error =
            error_of([&] { unpack(directory_ / name, directory_ / "unpacked"); });
        EXPECT_NE(error.find(fmt::format("/{}'", name)), std::string::npos) << error;
        EXPECT_EQ(error.find('\n'), std::string::npos) << error;
    }
}

TEST(MatFile, HoldsWholeNumbers) {
    using Numbers = std::vector<std::int64_t>;
    auto sets = read_mat(sample("setid.mat"));
    EXPECT_EQ(sets.size(), 3u);
    EXPECT_EQ(sets["tstid"], (Numbers{3, 4, 5}));
    EXPECT_EQ(sets["trnid"], (Numbers{1, 2}));
    EXPECT_EQ(read_mat(sample("imagelabels.mat"))["labels"], (Numbers{2, 1, 2, 1, 2, 102}));
    auto kinds = read_mat(sample("kinds.mat"));
    EXPECT_EQ(kinds["int8"], (Numbers{-3, 7}));
    EXPECT_EQ(kinds["int32"], (Numbers{-3, 0, 40'000, 123'456}));
    EXPECT_EQ(kinds["float64"], kinds["int32"]);
}

TEST(MatFile, AnythingElseIsAnError) {
    TemporaryDirectory directory;
    const auto error = [](const fs::path& file) { return error_of([&] { read_mat(file); }); };
    for (const char* name : {"fraction.mat", "text.mat"})
        EXPECT_NE(error(sample(name)).find("expected matrices of whole numbers"), std::string::npos)
            << name;
    // Every beginning of a file is refused, or holds less.
    for (const char* name : {"setid.mat", "kinds.mat"}) {
        const std::string bytes = get(sample(name));
        for (std::size_t count = 0; count < bytes.size(); ++count) {
            put(directory / "cut.mat", bytes.substr(0, count));
            try {
                EXPECT_LT(read_mat(directory / "cut.mat").size(), 3u) << count;
            } catch (const Error& e) {
                EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
            }
        }
    }
}

}  // namespace
}  // namespace slimgrad::cli
