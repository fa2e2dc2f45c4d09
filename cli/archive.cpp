#include "cli/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "tensor/error.h"
#include "tensor/option.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;

class Reader {
  public:
    explicit Reader(const fs::path& file) : file_(file) {
        constexpr std::size_t block = 1 << 20;
        archive_read_support_filter_gzip(archive_.get());
        archive_read_support_format_tar(archive_.get());
        check(archive_read_open_filename(archive_.get(), file.c_str(), block));
    }

    /// The next file or folder; null at the end.
    archive_entry* next() {
        archive_entry* entry = nullptr;
        const int status = archive_read_next_header(archive_.get(), &entry);
        if (status == ARCHIVE_EOF) return nullptr;
        check(status);
        return entry;
    }
    /// Calls take(offset, bytes, count) with the pieces of the file that next() gave, in order.
    /// What lies between them is zero.
    template <class Take>
    void content(Take take) {
        const void* bytes = nullptr;
        std::size_t count = 0;
        la_int64_t offset = 0;
        for (;;) {
            const int status = archive_read_data_block(archive_.get(), &bytes, &count, &offset);
            if (status == ARCHIVE_EOF) return;
            check(status);
            take(offset, static_cast<const char*>(bytes), count);
        }
    }
    std::int64_t bytes_read() const { return archive_filter_bytes(archive_.get(), -1); }

  private:
    void check(int status) const {
        if (status == ARCHIVE_OK || status == ARCHIVE_WARN) return;
        const char* const why = archive_error_string(archive_.get());
        fail("[data] cannot unpack '{}': {}", file_.string(), why ? why : "it is damaged");
    }

    fs::path file_;
    std::unique_ptr<archive, decltype(&archive_read_free)> archive_{archive_read_new(),
                                                                    archive_read_free};
};

/// Where an entry goes. Throws Error if that is outside.
fs::path place_of(const char* name, const fs::path& archive, const fs::path& directory) {
    const fs::path path = name ? fs::path(name).lexically_normal() : fs::path();
    require(!path.empty() && path.is_relative() && *path.begin() != "..",
            "[data] '{}' holds the name {}, which leads out of it", archive.string(),
            shown(name ? name : ""));
    return directory / path;
}

/// The content of an entry. Throws Error if it cannot be written.
void write_file(Reader& reader, std::int64_t size, const fs::path& place) {
    std::ofstream file(place, std::ios::binary);
    reader.content([&](std::int64_t offset, const char* bytes, std::size_t count) {
        file.seekp(offset);
        file.write(bytes, static_cast<std::streamsize>(count));
    });
    file.close();
    std::error_code error;
    if (!file)
        error.assign(errno, std::generic_category());
    else
        fs::resize_file(place, static_cast<std::uintmax_t>(size), error);  // it may end in zeros
    require(!error, "[data] cannot write '{}': {}", place.string(), error.message());
}

void make_directories(const fs::path& directory) {
    std::error_code error;
    fs::create_directories(directory, error);
    require(!error, "[data] cannot make the directory '{}': {}", directory.string(),
            error.message());
}

}  // namespace

void unpack(const fs::path& archive, const fs::path& directory, const Progress& progress) {
    make_directories(directory);
    Reader reader(archive);
    while (archive_entry* const entry = reader.next()) {
        const char* const name = archive_entry_pathname(entry);
        const fs::path place = place_of(name, archive, directory);
        const auto type = archive_entry_filetype(entry);
        if (type == AE_IFDIR) {
            make_directories(place);
        } else {
            require(type == AE_IFREG && !archive_entry_hardlink(entry),
                    "[data] '{}' holds {}, expected files and folders alone", archive.string(),
                    shown(name));
            make_directories(place.parent_path());
            write_file(reader, archive_entry_size(entry), place);
        }
        if (progress) progress(reader.bytes_read());
    }
}

}  // namespace slimgrad::cli
