#include "cli/download.h"

#include <gtest/gtest.h>

#include "tests/temporary.h"
#include "web_server.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;

std::string made_bytes(std::size_t count) {
    std::string bytes;
    for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(i * i / 7 + i);
    return bytes;
}

class Download : public ::testing::Test {
  protected:
    Download() : server_(made_bytes(100'000)), target_(directory_ / "sub/file.txt") {
        put(directory_ / "reference", server_.content);
        file_ = {server_.url(), std::ssize(server_.content), sha256_of(directory_ / "reference")};
    }
    fs::path part() const { return target_.string() + ".part"; }
    std::string failure() const {
        try {
            download(file_, target_);
        } catch (const DownloadError& error) {
            EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
            return error.what();
        }
        ADD_FAILURE() << "no DownloadError was thrown";
        return {};
    }

    TemporaryDirectory directory_;
    Server server_;
    fs::path target_;
    RemoteFile file_;
};

TEST(Sha256, OfKnownTexts) {
    TemporaryDirectory directory;
    put(directory / "empty", "");
    put(directory / "abc", "abc");
    EXPECT_EQ(sha256_of(directory / "empty"),
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(sha256_of(directory / "abc"),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(Download, WholeOnceAndThenLeftAlone) {
    std::int64_t last = 0;
    EXPECT_TRUE(download(file_, target_, [&](std::int64_t done) {
        EXPECT_GT(done, last);
        last = done;
    }));
    EXPECT_EQ(last, file_.bytes);
    EXPECT_EQ(get(target_), server_.content);
    EXPECT_FALSE(fs::exists(part()));
    EXPECT_FALSE(download(file_, target_));
    EXPECT_EQ(server_.requests().size(), 1u);
}

TEST_F(Download, FollowsToAnotherPlace) {
    file_.url = server_.url("moved");
    EXPECT_TRUE(download(file_, target_));
    EXPECT_EQ(get(target_), server_.content);
}

TEST_F(Download, GoesOnWhereItWasCutOff) {
    server_.cut_after = 40'000;
    const std::string text = failure();
    EXPECT_NE(text.find("40000 of 100000 bytes are there"), std::string::npos) << text;
    EXPECT_NE(text.find("goes on from here"), std::string::npos) << text;
    EXPECT_FALSE(fs::exists(target_));
    EXPECT_EQ(fs::file_size(part()), 40'000u);
    server_.cut_after = -1;
    EXPECT_TRUE(download(file_, target_));
    EXPECT_EQ(get(target_), server_.content);
    EXPECT_NE(server_.requests().back().find("Range: bytes=40000-"), std::string::npos);
}

TEST_F(Download, BeginsAgainWhereTheServerKnowsNoParts) {
    server_.cut_after = 10;
    failure();
    server_.cut_after = -1;
    server_.knows_ranges = false;
    EXPECT_TRUE(download(file_, target_));
    EXPECT_EQ(get(target_), server_.content);
}

TEST_F(Download, ACompletePartIsOnlyVerified) {
    put(part(), server_.content);
    EXPECT_TRUE(download(file_, target_));
    EXPECT_TRUE(server_.requests().empty());
    EXPECT_EQ(get(target_), server_.content);
}

TEST_F(Download, OtherBytesAreRefusedAndNotKept) {
    server_.content[500] ^= 1;
    expect_error([&] { download(file_, target_); },
                 {"expected SHA-256 " + file_.sha256, "file.txt", "nothing was kept"});
    EXPECT_FALSE(fs::exists(target_));
    EXPECT_FALSE(fs::exists(part()));
    // Nor are more of them.
    server_.content += "x";
    expect_error([&] { download(file_, target_); }, {"expected 100000 bytes, got more"});
    EXPECT_FALSE(fs::exists(part()));
    // A beginning that is not that of the file does not spoil the next attempt.
    server_.content = made_bytes(100'000);
    put(part(), "something else");
    expect_error([&] { download(file_, target_); }, {"SHA-256"});
    EXPECT_TRUE(download(file_, target_));
}

TEST_F(Download, FewerBytesAreAFailureOfTheServer) {
    server_.content.resize(99'000);
    const std::string text = failure();
    EXPECT_NE(text.find("99000 of 100000"), std::string::npos) << text;
}

TEST_F(Download, AFileOfTheUserIsLeftAlone) {
    put(target_, "mine");
    expect_error([&] { download(file_, target_); }, {"is there with other content", "remove it"});
    EXPECT_EQ(get(target_), "mine");
}

TEST_F(Download, WhatTheServerDoesNotHave) {
    file_.url = server_.url("absent.txt");
    EXPECT_NE(failure().find("404"), std::string::npos);
    file_.url = "file:///etc/passwd";
    EXPECT_NE(failure().find("file:///"), std::string::npos);
    file_.url = "http://127.0.0.1:1/file.txt";
    EXPECT_NE(failure().find("127.0.0.1:1"), std::string::npos);
}

TEST_F(Download, WhereItCannotBeWritten) {
    put(directory_ / "plain", "");
    expect_error([&] { download(file_, directory_ / "plain/file.txt"); }, {"cannot", "plain"});
}

}  // namespace
}  // namespace slimgrad::cli
