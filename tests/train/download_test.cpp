#include "cli/download.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "tests/temporary.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;

/// A web server on loopback with one file, `/file.txt`, and bad habits to choose from.
class Server {
  public:
    std::string content;
    std::atomic<std::int64_t> cut_after = -1;  // bytes of the body, then the line goes dead
    std::atomic<bool> knows_ranges = true;

    explicit Server(std::string bytes) : content(std::move(bytes)) {
        socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        require(socket_ >= 0 && ::bind(socket_, any, length) == 0 && ::listen(socket_, 8) == 0 &&
                    ::getsockname(socket_, any, &length) == 0,
                "[test] cannot listen on loopback");
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~Server() {
        ::shutdown(socket_, SHUT_RDWR);
        thread_.join();
        ::close(socket_);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    std::string url(const std::string& name = "file.txt") const {
        return fmt::format("http://127.0.0.1:{}/{}", port_, name);
    }
    /// The requests so far.
    std::vector<std::string> requests() const {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

  private:
    void serve() {
        for (;;) {
            const int client = ::accept(socket_, nullptr, nullptr);
            if (client < 0) return;
            answer(client);
            ::close(client);
        }
    }
    static void send_all(int client, std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t count = ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (count <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    void answer(int client) {
        std::string request;
        char byte = 0;
        while (!request.ends_with("\r\n\r\n") && ::recv(client, &byte, 1, 0) == 1) request += byte;
        {
            const std::lock_guard lock(mutex_);
            requests_.push_back(request);
        }
        if (request.starts_with("GET /moved"))
            return send_all(client, "HTTP/1.1 302 Found\r\nLocation: " + url() +
                                        "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        if (!request.starts_with("GET /file.txt"))
            return send_all(client,
                            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                            "Connection: close\r\n\r\n");
        std::size_t begin = 0;
        std::string head = "HTTP/1.1 200 OK\r\n";
        if (const auto range = request.find("Range: bytes=");
            range != std::string::npos && knows_ranges) {
            begin = std::stoul(request.substr(range + 13));
            head = fmt::format("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\n",
                               begin, content.size() - 1, content.size());
        }
        const std::string body = content.substr(begin);
        head += fmt::format("Content-Length: {}\r\nConnection: close\r\n\r\n", body.size());
        send_all(client, head);
        send_all(client, std::string_view(body).substr(
                             0, cut_after < 0 ? body.size() : static_cast<std::size_t>(cut_after)));
    }

    int socket_ = -1;
    std::uint16_t port_ = 0;
    std::thread thread_;
    mutable std::mutex mutex_;
    std::vector<std::string> requests_;
};

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
