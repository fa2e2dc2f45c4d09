#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tensor/error.h"

namespace slimgrad::cli {

/// A web server on loopback with one file, `/file.txt`, those in `files`, and bad habits to choose
/// from.
class Server {
  public:
    std::string content;
    std::map<std::string, std::string> files{};  // by name; set before the first request
    std::atomic<std::int64_t> cut_after = -1;    // bytes of the body, then the line goes dead
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
        const std::string name = request.substr(5, request.find(' ', 5) - 5);  // after "GET /"
        const auto found = files.find(name);
        if (name != "file.txt" && found == files.end())
            return send_all(client,
                            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                            "Connection: close\r\n\r\n");
        const std::string& whole = found == files.end() ? content : found->second;
        std::size_t begin = 0;
        std::string head = "HTTP/1.1 200 OK\r\n";
        if (const auto range = request.find("Range: bytes=");
            range != std::string::npos && knows_ranges) {
            begin = std::stoul(request.substr(range + 13));
            head = fmt::format("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\n",
                               begin, whole.size() - 1, whole.size());
        }
        const std::string body = whole.substr(begin);
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

}  // namespace slimgrad::cli
