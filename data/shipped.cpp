#include "data/shipped.h"

#include <dlfcn.h>

#include <cstdlib>
#include <system_error>
#include <vector>

#include "tensor/error.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> places() {
    if (const char* const chosen = std::getenv("SLIMGRAD_DATA_DIR"); chosen && *chosen)
        return {chosen};
    std::vector<fs::path> found;
    // In the Python package the data lie beside the module that holds this code.
    Dl_info code{};
    if (dladdr(reinterpret_cast<const void*>(&find_shipped), &code) != 0 && code.dli_fname)
        found.push_back(fs::path(code.dli_fname).parent_path() / "share" / "slimgrad");
    found.insert(found.end(), {SLIMGRAD_SOURCE_DATA_DIR, SLIMGRAD_INSTALL_DATA_DIR});
    // An installation that was moved as a whole: <prefix>/bin/slimgrad, <prefix>/share/slimgrad.
    std::error_code none;
    const fs::path program = fs::read_symlink("/proc/self/exe", none);
    if (!none) found.push_back(program.parent_path().parent_path() / "share" / "slimgrad");
    return found;
}

}  // namespace

fs::path find_shipped(const std::string& folder) {
    std::string looked;
    for (const fs::path& place : places()) {
        fs::path directory = place / folder;
        std::error_code none;
        if (fs::is_directory(directory, none)) return directory;
        looked += fmt::format("{}'{}'", looked.empty() ? "" : ", ", directory.string());
    }
    fail(
        "[data] the data that ship with slimgrad are missing, looked in {}. Hint: set "
        "SLIMGRAD_DATA_DIR to the folder that holds '{}'",
        looked, folder);
}

}  // namespace slimgrad
