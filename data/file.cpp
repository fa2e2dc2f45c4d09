#include "data/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <random>
#include <string_view>
#include <system_error>
#include <utility>

#include "tensor/error.h"

namespace slimgrad {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

/// An open descriptor that closes itself.
struct Descriptor {
    int value;
    explicit Descriptor(int descriptor) : value(descriptor) {}
    ~Descriptor() {
        if (value >= 0) ::close(value);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
};

/// The open descriptor of this process that a path is a name of (/dev/stdout, /dev/fd/1), or -1.
int descriptor_of(std::filesystem::path path) {
    constexpr int most_links = 40;  // they may lead back to where they begin
    std::error_code error;
    const auto own = std::filesystem::canonical("/proc/self/fd", error);
    for (int i = 0; !error && i < most_links && std::filesystem::is_symlink(path, error); ++i) {
        const auto parent =
            std::filesystem::canonical(path.has_parent_path() ? path.parent_path() : ".", error);
        const std::string name = path.filename().string();
        int number = -1;
        if (!error && parent == own) {
            std::from_chars(name.data(), name.data() + name.size(), number);
            return number;
        }
        path = parent / std::filesystem::read_symlink(path, error);
    }
    return -1;
}

/// Opens a regular file for reading and tells its size.
std::size_t open_for_reading(const std::filesystem::path& path, Descriptor& file) {
    file.value = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (file.value < 0 || ::fstat(file.value, &status) != 0)
        fail("[data] cannot read '{}': {}", path.string(), reason(errno));
    require(S_ISREG(status.st_mode), "[data] cannot read '{}': expected a file, got a {}",
            path.string(), S_ISDIR(status.st_mode) ? "directory" : "device");
    return static_cast<std::size_t>(status.st_size);
}

/// The bytes of a file, as a container of them.
template <class Bytes>
Bytes read_into(const std::filesystem::path& path) {
    constexpr std::size_t most = std::size_t{4} << 30;  // a file may be sparse: sizes are cheap
    Descriptor file(-1);
    const std::size_t size = open_for_reading(path, file);
    require(size <= most, "[data] cannot read '{}': expected at most {} bytes, got {}",
            path.string(), most, size);
    Bytes bytes(size, {});
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t count = ::read(file.value, bytes.data() + done, bytes.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail("[data] cannot read '{}': {}", path.string(), reason(errno));
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    bytes.resize(done);
    return bytes;
}

}  // namespace

bool is_there(const std::filesystem::path& path) {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (status.type() == std::filesystem::file_type::none)
        fail("[data] cannot look for '{}': {}", path.string(), error.message());
    return status.type() != std::filesystem::file_type::not_found;
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
    return read_into<std::vector<std::uint8_t>>(path);
}

std::string read_text(const std::filesystem::path& path) { return read_into<std::string>(path); }

std::vector<std::string> read_lines(const std::filesystem::path& path) {
    const std::string text = read_text(path);
    std::vector<std::string> lines;
    for (std::string_view rest = text; !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        std::string_view line = rest.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        lines.emplace_back(line);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    return lines;
}

MappedFile::MappedFile(const std::filesystem::path& path) {
    Descriptor file(-1);
    size_ = open_for_reading(path, file);
    if (size_ == 0) return;
    void* const data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
    if (data == MAP_FAILED) fail("[data] cannot map '{}': {}", path.string(), reason(errno));
    data_ = static_cast<const std::uint8_t*>(data);
}

MappedFile::~MappedFile() {
    if (data_) ::munmap(const_cast<std::uint8_t*>(data_), size_);
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    struct stat status {};
    if (const int open = descriptor_of(path_); open >= 0) {
        // Another opening of the same file would write over what comes through this one.
        descriptor_ = ::fcntl(open, F_DUPFD_CLOEXEC, 0);
        if (descriptor_ < 0) fail_with(errno);
    } else if (::stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
        if (S_ISDIR(status.st_mode)) fail_with(EISDIR);
        descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
        if (descriptor_ < 0) fail_with(errno);
    } else {
        open_temporary();
    }
}

AtomicFile::~AtomicFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_with(int error) const {
    fail("[data] cannot write '{}': {}", path_.string(), reason(error));
}

/// The name is random, since a process id may return: in containers nearly all are the same.
void AtomicFile::open_temporary() {
    constexpr std::size_t longest = 200;  // that the longest name leaves room for the rest
    const std::string name = path_.filename().string().substr(0, longest);
    std::random_device random;
    for (;;) {
        temporary_ = path_;
        temporary_.replace_filename(
            fmt::format("{}.{}-{:08x}{:08x}.tmp", name, ::getpid(), random(), random()));
        descriptor_ = name.empty() ? -1
                                   : ::open(temporary_.c_str(),
                                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor_ < 0 && errno == EEXIST) continue;
        if (descriptor_ < 0) fail_with(name.empty() ? EISDIR : errno);
        // A temporary file that nobody holds is taken for one of a dead process (remove_leftovers),
        // so this one may be gone already.
        const bool free = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
        struct stat status {};
        if (free && ::fstat(descriptor_, &status) == 0 && status.st_nlink > 0) return;
        ::close(std::exchange(descriptor_, -1));
    }
}

void AtomicFile::write(std::span<const std::uint8_t> bytes) {
    require(descriptor_ >= 0, "[data] '{}' was committed already", path_.string());
    while (!bytes.empty()) {
        const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_with(errno);
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
}

void AtomicFile::write(std::string_view text) {
    write(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

void AtomicFile::commit() {
    require(descriptor_ >= 0, "[data] '{}' was committed already", path_.string());
    if (!temporary_.empty()) {
        if (::fsync(descriptor_) != 0) fail_with(errno);
        if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_with(errno);
    }
    if (::close(std::exchange(descriptor_, -1)) != 0) fail_with(errno);
    if (!temporary_.empty()) sync_directory(path_.parent_path());
}

void write_file(const std::filesystem::path& file, std::string_view text) {
    AtomicFile out(file);
    out.write(text);
    out.commit();
    const std::string name = file.filename().string();
    remove_leftovers(file.has_parent_path() ? file.parent_path() : ".", std::array{name.c_str()});
}

bool is_temporary(std::string_view name, std::string_view of) {
    // of.PID-NUMBER.tmp
    constexpr std::string_view end = ".tmp";
    if (!name.starts_with(of) || name.size() < of.size() + end.size() || !name.ends_with(end))
        return false;
    name = name.substr(of.size(), name.size() - of.size() - end.size());
    const std::size_t dash = name.find('-');
    if (dash == name.npos || dash < 2 || name.front() != '.' || dash + 1 == name.size())
        return false;
    return name.substr(1, dash - 1).find_first_not_of("0123456789") == name.npos &&
           name.substr(dash + 1).find_first_not_of("0123456789abcdef") == name.npos;
}

void remove_leftovers(const std::filesystem::path& directory, std::span<const char* const> names) {
    std::error_code error;
    for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (std::ranges::none_of(names, [&](const char* of) { return is_temporary(name, of); }))
            continue;
        const Descriptor file(
            ::open(entry->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        if (file.value >= 0 && ::flock(file.value, LOCK_EX | LOCK_NB) == 0)
            ::unlink(entry->path().c_str());
    }
}

void sync_directory(const std::filesystem::path& directory) {
    const Descriptor file(
        ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Not every file system can do this for a directory; such a one does it by itself.
    if (file.value >= 0 && ::fsync(file.value) != 0 && errno != EINVAL && errno != EBADF)
        fail("[data] cannot write in '{}': {}", directory.string(), reason(errno));
}

}  // namespace slimgrad
