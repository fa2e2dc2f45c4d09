#include "data/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "data/digest.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

std::size_t entries(const fs::path& directory) {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

TEST(AtomicFile, HoldsTheOldOrTheNewContent) {
    const TemporaryDirectory directory;
    const fs::path file = directory / "file";
    write_file(file, "old");
    {
        AtomicFile one(file), other(file);  // several at a time, each of its own
        one.write("one");
        other.write("other");
        EXPECT_EQ(get(file), "old");
        one.commit();
        EXPECT_EQ(get(file), "one");
    }
    EXPECT_EQ(get(file), "one");
    EXPECT_EQ(entries(directory.path()), 1u);
    const fs::path longest = directory / std::string(255, 'n');
    write_file(longest, "text");
    EXPECT_EQ(get(longest), "text");
    expect_error([&] { write_file(directory / std::string(256, 'n'), ""); }, {"name too long"});
    expect_error([&] { write_file(directory.path(), ""); }, {"cannot write", "Is a directory"});
    expect_error([&] { write_file(directory / "none/", ""); }, {"cannot write"});
    expect_error([&] { write_file("", ""); }, {"cannot write"});
    EXPECT_EQ(entries(directory.path()), 2u);
}

TEST(AtomicFile, ReplacesALinkAndNotWhatItPointsTo) {
    const TemporaryDirectory directory;
    put(directory / "weights", "of somebody");
    fs::create_symlink("weights", directory / "symbolic");
    fs::create_hard_link(directory / "weights", directory / "hard");
    for (const char* link : {"symbolic", "hard"}) {
        write_file(directory / link, "new");
        EXPECT_EQ(get(directory / link), "new");
        EXPECT_EQ(get(directory / "weights"), "of somebody") << link;
    }
    EXPECT_FALSE(fs::is_symlink(directory / "symbolic"));
}

TEST(AtomicFile, WritesIntoWhatADescriptorHasOpen) {
    const TemporaryDirectory directory;
    const fs::path file = directory / "file";
    const int open = ::open(file.c_str(), O_WRONLY | O_CREAT, 0666);
    ASSERT_EQ(::write(open, "begin ", 6), 6);
    const fs::path link = directory / "link";
    fs::create_symlink("/dev/fd/" + std::to_string(open), link);
    write_file(link, "middle ");
    ASSERT_EQ(::write(open, "end", 3), 3);
    ::close(open);
    EXPECT_EQ(get(file), "begin middle end");
    EXPECT_TRUE(fs::is_symlink(link));
    // Links that lead nowhere end somewhere.
    fs::create_symlink(directory / "b", directory / "a");
    fs::create_symlink(directory / "a", directory / "b");
    write_file(directory / "a", "text");
    EXPECT_EQ(get(directory / "a"), "text");
}

TEST(AtomicFile, WritesIntoAPipe) {
    const TemporaryDirectory directory;
    const fs::path pipe = directory / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
    write_file(pipe, "text");
    std::array<char, 10> text{};
    EXPECT_EQ(::read(reader, text.data(), text.size()), 4);
    ::close(reader);
    EXPECT_TRUE(fs::is_fifo(pipe)) << "a file took its place";
}

TEST(File, WhetherItIsThereIsToldOrAnError) {
    const TemporaryDirectory directory;
    EXPECT_FALSE(is_there(directory.path() / "file"));
    put(directory.path() / "file", "content");
    EXPECT_TRUE(is_there(directory.path() / "file"));
    expect_error([&] { is_there(directory.path() / std::string(300, 'x')); },
                 {"cannot look for", "File name too long"});
}

TEST(AtomicFile, LeftoversOfDeadProcessesAreRemoved) {
    EXPECT_TRUE(is_temporary("a.json.12-0.tmp", "a.json"));
    EXPECT_TRUE(is_temporary("a.json.1-00ff00ff00ff00ff.tmp", "a.json"));
    for (const char* mine : {"a.json", "a.json.tmp", "a.json.-0.tmp", "a.json.12-.tmp",
                             "a.json.12.tmp", "a.json.mine-0.tmp", "a.json.12-x.tmp",
                             "b.json.12-0.tmp", "a.json.12-0.tmp2", "a.json12-0.tmp", ""})
        EXPECT_FALSE(is_temporary(mine, "a.json")) << mine;

    const TemporaryDirectory directory;
    put(directory / "a.json.1-0.tmp", "left");
    put(directory / "b.json.1-0.tmp", "of another name");
    put(directory / "a.json.tmp", "mine");
    AtomicFile living(directory / "a.json");
    living.write("text");
    const std::array names = {"a.json"};
    remove_leftovers(directory.path(), names);
    EXPECT_FALSE(fs::exists(directory / "a.json.1-0.tmp"));
    EXPECT_EQ(entries(directory.path()), 3u);
    living.commit();
    EXPECT_EQ(get(directory / "a.json"), "text");
    remove_leftovers(directory / "none", names);
}

TEST(Digest, TellsTextsAndTheirBordersApart) {
    const auto of = [](std::initializer_list<std::string_view> texts) {
        Digest digest;
        for (const std::string_view text : texts) digest.add(text);
        return digest.value();
    };
    EXPECT_EQ(of({"a", "bc"}), of({"a", "bc"}));
    EXPECT_NE(of({"a", "bc"}), of({"ab", "c"}));
    EXPECT_NE(of({"abcde"}), of({"abcdf"}));
    EXPECT_NE(of({"abcd", ""}), of({"abcd"}));
}

}  // namespace
}  // namespace slimgrad
