#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

namespace slimgrad::cli {

/// A file on the web, and what its bytes must be.
struct RemoteFile {
    std::string url;
    std::int64_t bytes;
    std::string sha256;  // 64 hexadecimal digits, small
    /// The last part of its address.
    std::string name() const { return url.substr(url.rfind('/') + 1); }
};

/// The network or the server failed; another time it may not. One line.
struct DownloadError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What is known of the SHA-256 of a file. Throws Error if it cannot be read.
std::string sha256_of(const std::filesystem::path& file);

/// Called now and then with the bytes that are there.
using Progress = std::function<void(std::int64_t bytes)>;

/// Brings a file to `target`, whole and verified or not at all; false if it was there already.
/// Bytes are collected in `target`.part; if that is left from an earlier attempt, only the rest is
/// asked for. Throws DownloadError if the transfer fails, and Error if the bytes are not those
/// expected, if `target` holds others (they are left alone), or if it cannot be written.
bool download(const RemoteFile& file, const std::filesystem::path& target,
              const Progress& progress = {});

}  // namespace slimgrad::cli
