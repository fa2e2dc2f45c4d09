#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/download.h"

namespace slimgrad::cli {

/// A data set that can be fetched from its official place.
struct DataSource {
    std::string name;
    std::string folder;  // of the data directory, in which its files are found in the end
    std::string license;
    std::string train_with;  // options that train on it, without the directory
    std::vector<RemoteFile> files;
    /// About how many bytes its archives unpack to; 0 if there are none.
    std::int64_t unpacked = 0;
    /// Puts what was unpacked in order, with the files that are no archives, and returns the
    /// directory that becomes `folder`. Null: what has that name already.
    std::filesystem::path (*arrange)(const std::filesystem::path& unpacked) = nullptr;
};

/// Those that `slimgrad data get` knows.
const std::vector<DataSource>& data_sources();

/// What became of one file.
struct Fetched {
    std::string name;
    bool downloaded;
};

struct FetchOptions {
    std::string mirror{};  // take the files from URL/FILE instead
    /// What is shown while bytes come in, or are unpacked: of a file, and how many it has.
    std::function<Progress(const std::string& name, std::int64_t bytes)> progress{};
};

/// Brings a data set into `directory`/folder, whole and verified or not at all. Nothing is done if
/// archives were unpacked there before: the result is empty. Archives lie in
/// `directory`/folder.fetching until they are unpacked, and a transfer that broke off goes on; one
/// that lies in `directory` already is taken from there, and stays. Throws DownloadError if a
/// transfer fails, and Error if another process fetches the same, the disk has no room for all of
/// it, or a file is not what it should be.
std::vector<Fetched> fetch(const DataSource& source, const std::filesystem::path& directory,
                           const FetchOptions& options = {});

}  // namespace slimgrad::cli
