#include "train/directory_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "tensor/error.h"

namespace slimgrad {
namespace {

/// "process 4711 on host", as the holder has written it.
std::string holder_of(int descriptor) {
    std::array<char, 300> text{};
    const ssize_t count = ::pread(descriptor, text.data(), text.size(), 0);
    std::string holder(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    holder = holder.substr(0, holder.find('\n'));
    return holder.empty() ? "another process" : holder;
}

}  // namespace

DirectoryLock::DirectoryLock(std::filesystem::path directory)
    : directory_(std::move(directory)), file_(directory_ / file_name) {
    while (!open_file()) {
    }
}

/// False if the file was removed by its last holder in between: then there may be a new one.
bool DirectoryLock::open_file() {
    descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0)
        fail("[run] cannot write in '{}': {}", directory_.string(),
             std::generic_category().message(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return true;
        const std::string holder = holder_of(descriptor_);
        ::close(std::exchange(descriptor_, -1));
        fail("[run] '{}' is in use by {}. Hint: wait until it ends, or take another directory",
             directory_.string(), holder);
    }
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0 || status.st_nlink == 0) {
        ::close(std::exchange(descriptor_, -1));
        return false;
    }
    held_ = true;
    write_holder();
    return true;
}

/// Only for the message to others, so a full disk does not matter here.
void DirectoryLock::write_holder() const {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
    const std::string text = fmt::format("process {} on {}\n", ::getpid(), host.data());
    if (::ftruncate(descriptor_, 0) != 0 ||
        ::pwrite(descriptor_, text.data(), text.size(), 0) != std::ssize(text))
        return;
}

std::string DirectoryLock::note() const {
    if (held_) return "";
    return fmt::format(
        "'{}' cannot be locked on this file system: see to it that no other program uses it",
        directory_.string());
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept
    : directory_(std::move(other.directory_)),
      file_(std::move(other.file_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      held_(std::exchange(other.held_, false)) {}

DirectoryLock::~DirectoryLock() {
    if (descriptor_ < 0) return;
    ::unlink(file_.c_str());  // while it is held: whoever waits for it looks again
    // Explicitly: a process forked from this one may hold the same descriptor for longer.
    ::flock(descriptor_, LOCK_UN);
    ::close(descriptor_);
}

}  // namespace slimgrad
