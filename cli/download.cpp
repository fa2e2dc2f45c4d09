#include "cli/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "data/file.h"
#include "tensor/error.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::generic_category().message(error); }

/// The file that bytes are collected in, open for this process alone.
class PartFile {
  public:
    explicit PartFile(fs::path path) : path_(std::move(path)) {
        descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (descriptor_ < 0) fail_with(errno);
        // Between the two calls another process may have completed the file and renamed it.
        if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 || !is_there()) {
            ::close(descriptor_);
            fail("[download] '{}' is in use: another process downloads the same file",
                 path_.string());
        }
    }
    ~PartFile() { ::close(descriptor_); }
    PartFile(const PartFile&) = delete;
    PartFile& operator=(const PartFile&) = delete;

    std::int64_t size() const {
        struct stat status {};
        if (::fstat(descriptor_, &status) != 0) fail_with(errno);
        return status.st_size;
    }
    /// Throws all bytes away.
    void clear() {
        if (::ftruncate(descriptor_, 0) != 0) fail_with(errno);
    }
    void append(const char* data, std::size_t count) {
        if (::lseek(descriptor_, 0, SEEK_END) < 0) fail_with(errno);
        while (count > 0) {
            const ssize_t written = ::write(descriptor_, data, count);
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) fail_with(errno);
            data += written;
            count -= static_cast<std::size_t>(written);
        }
    }
    void remove() { ::unlink(path_.c_str()); }
    void rename_to(const fs::path& target) {
        if (::fsync(descriptor_) != 0 || ::rename(path_.c_str(), target.c_str()) != 0)
            fail_with(errno);
        sync_directory(target.parent_path());
    }
    const fs::path& path() const { return path_; }

  private:
    bool is_there() const {
        struct stat open {
        }, named{};
        return ::fstat(descriptor_, &open) == 0 && ::stat(path_.c_str(), &named) == 0 &&
               open.st_dev == named.st_dev && open.st_ino == named.st_ino;
    }
    [[noreturn]] void fail_with(int error) const {
        fail("[download] cannot write '{}': {}", path_.string(), reason(error));
    }

    fs::path path_;
    int descriptor_ = -1;
};

/// One request, and what its callbacks need.
struct Transfer {
    const RemoteFile& file;
    PartFile& part;
    const Progress& progress;
    std::int64_t done;  // bytes that are there
    bool too_long = false;
    std::exception_ptr error = nullptr;  // exceptions must not pass through libcurl
};

std::size_t take(char* data, std::size_t, std::size_t count, void* user) {
    Transfer& transfer = *static_cast<Transfer*>(user);
    try {
        transfer.done += static_cast<std::int64_t>(count);
        transfer.too_long = transfer.done > transfer.file.bytes;
        if (transfer.too_long) return 0;
        transfer.part.append(data, count);
        if (transfer.progress) transfer.progress(transfer.done);
        return count;
    } catch (...) {
        transfer.error = std::current_exception();
        return 0;
    }
}

using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

Easy make_request() {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    Easy request(ready == CURLE_OK ? curl_easy_init() : nullptr, curl_easy_cleanup);
    if (!request) throw DownloadError("[download] libcurl cannot be initialised");
    return request;
}

/// What a transfer came to: libcurl's code, HTTP's status, and words for people.
struct Outcome {
    CURLcode code;
    long status;
    std::string words;
};

/// Asks for the bytes of the file that `part` lacks.
Outcome fetch(Transfer& transfer) {
    const Easy request = make_request();
    CURL* const curl = request.get();
    std::array<char, CURL_ERROR_SIZE> words{};
    curl_easy_setopt(curl, CURLOPT_URL, transfer.file.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "slimgrad");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);  // nothing for a minute is the end
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words.data());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    if (transfer.done > 0)
        curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.done));
    Outcome outcome{curl_easy_perform(curl), 0, {}};
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &outcome.status);
    outcome.words = words[0] ? words.data() : curl_easy_strerror(outcome.code);
    if (transfer.error) std::rethrow_exception(transfer.error);
    return outcome;
}

/// Brings the missing bytes into `part`.
void complete(const RemoteFile& file, PartFile& part, const Progress& progress) {
    if (part.size() > file.bytes) part.clear();
    const std::int64_t before = part.size();
    if (before == file.bytes) return;
    Transfer transfer{.file = file, .part = part, .progress = progress, .done = before};
    Outcome outcome = fetch(transfer);
    // A server that does not know parts of files: from the beginning, then.
    if (before > 0 && (outcome.code == CURLE_RANGE_ERROR || outcome.status == 416)) {
        part.clear();
        transfer.done = 0;
        outcome = fetch(transfer);
    }
    if (transfer.too_long) {
        part.remove();
        fail("[download] {}: expected {} bytes, got more. Hint: the server may send another file",
             file.url, file.bytes);
    }
    if (outcome.code == CURLE_OK && transfer.done < file.bytes) {
        outcome.code = CURLE_PARTIAL_FILE;
        outcome.words = "the server had no more";
    }
    if (outcome.code != CURLE_OK)
        throw DownloadError(fmt::format(
            "[download] {}: {} ({} of {} bytes are there){}", file.url, outcome.words, part.size(),
            file.bytes, part.size() > 0 ? ". Hint: the same command goes on from here" : ""));
}

}  // namespace

std::string sha256_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(),
                                                                         EVP_MD_CTX_free);
    bool computed = digest && EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) == 1;
    std::vector<char> block(1 << 20);
    while (in && computed) {
        in.read(block.data(), std::ssize(block));
        computed = EVP_DigestUpdate(digest.get(), block.data(),
                                    static_cast<std::size_t>(in.gcount())) == 1;
    }
    require(in.eof(), "[download] cannot read '{}'", file.string());
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned count = 0;
    require(computed && EVP_DigestFinal_ex(digest.get(), bytes.data(), &count) == 1,
            "[download] cannot compute the SHA-256 of '{}'", file.string());
    std::string text;
    for (unsigned i = 0; i < count; ++i) text += fmt::format("{:02x}", bytes[i]);
    return text;
}

bool download(const RemoteFile& file, const fs::path& target, const Progress& progress) {
    std::error_code none;
    if (fs::exists(target, none)) {
        const std::string found = sha256_of(target);
        require(found == file.sha256,
                "[download] '{}' is there with other content: expected SHA-256 {}, got {}. Hint: "
                "remove it to download it again",
                target.string(), file.sha256, found);
        return false;
    }
    if (target.has_parent_path()) {
        fs::create_directories(target.parent_path(), none);
        require(!none, "[download] cannot make the directory '{}': {}",
                target.parent_path().string(), none.message());
    }
    PartFile part(target.string() + ".part");
    complete(file, part, progress);
    const std::string found = sha256_of(part.path());
    if (found != file.sha256) {
        part.remove();
        fail(
            "[download] {}: expected SHA-256 {}, got {}. Hint: the file was damaged on its way or "
            "has been changed there; nothing was kept",
            file.url, file.sha256, found);
    }
    part.rename_to(target);
    return true;
}

}  // namespace slimgrad::cli
