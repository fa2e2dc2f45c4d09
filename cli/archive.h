#pragma once

#include <filesystem>

#include "cli/download.h"

namespace slimgrad::cli {

/// Unpacks an archive of files and folders (tar, with or without gzip) into a directory, which is
/// made. `progress` is told the bytes of the archive that were
/// read. Throws Error, one line, if it is damaged or no archive, if it holds anything else, as
/// links, or a name that leads out of the directory, and if it cannot be written.
void unpack(const std::filesystem::path& archive, const std::filesystem::path& directory,
            const Progress& progress = {});

}  // namespace slimgrad::cli
