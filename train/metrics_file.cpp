#include "train/metrics_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "data/file.h"
#include "tensor/error.h"

namespace slimgrad {

MetricsFile::MetricsFile(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) fail_with(errno);
}

MetricsFile::~MetricsFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

MetricsFile::MetricsFile(MetricsFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

void MetricsFile::fail_with(int error) const {
    fail("[run] cannot write '{}': {}", path_.string(), std::generic_category().message(error));
}

void MetricsFile::append(std::string_view line) {
    std::string text(line);
    text += '\n';
    for (std::string_view rest = text; !rest.empty();) {
        const ssize_t count = ::write(descriptor_, rest.data(), rest.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_with(errno);
        rest.remove_prefix(static_cast<std::size_t>(count));
    }
}

void MetricsFile::sync() {
    if (::fsync(descriptor_) != 0) fail_with(errno);
}

std::int64_t MetricsFile::bytes() const {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) fail_with(errno);
    return status.st_size;
}

bool MetricsFile::cut_to(std::int64_t bytes) {
    const std::int64_t present = this->bytes();
    const bool complete = present >= bytes;
    if (!complete) {
        const MappedFile file(path_);
        const auto content = file.bytes();
        bytes = present;
        while (bytes > 0 && content[static_cast<std::size_t>(bytes - 1)] != '\n') --bytes;
    }
    if (::ftruncate(descriptor_, bytes) != 0) fail_with(errno);
    return complete;
}

}  // namespace slimgrad
