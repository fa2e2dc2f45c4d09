#include "train/comparison_directory.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "data/file.h"
#include "tensor/error.h"
#include "train/html.h"
#include "train/json_file.h"
#include "train/run_directory.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

constexpr const char* findings[] = {"compare.json", "compare.md", "report.html"};

bool holds_comparison(const fs::path& path) {
    const nlohmann::json json = json_or_nothing(path / "compare.json");
    return json.is_object() && json.contains("runs") && json.contains("methods");
}

void require_free(const fs::path& path, ComparisonDirectory::Existing existing) {
    require(!path.empty(), "[compare] expected a directory. Hint: --out DIR");
    require(!holds_run(path), "[compare] '{}' holds a run. Hint: another --out", path.string());
    std::error_code none;
    if (holds_comparison(path)) {
        require(existing != ComparisonDirectory::Existing::refuse,
                "[compare] '{}' holds another comparison. Hint: --resume goes on with it, "
                "--overwrite starts anew, another --out keeps both",
                path.string());
        html::require_replaceable(path / "report.html");
        return;
    }
    for (const char* name : findings)
        require(!fs::exists(fs::symlink_status(path / name, none)),
                "[compare] '{}' holds no comparison, but a file '{}' that one would replace. Hint: "
                "another --out",
                path.string(), name);
}

}  // namespace

ComparisonDirectory::ComparisonDirectory(const fs::path& path, Existing existing)
    : path_(path), lock_(locked(path, existing)) {
    remove_leftovers(path_, findings);
}

DirectoryLock ComparisonDirectory::locked(const fs::path& path, Existing existing) {
    require_free(path, existing);
    std::error_code error;
    fs::create_directories(path, error);
    require(!error, "[compare] cannot create the directory '{}': {}", path.string(),
            error.message());
    DirectoryLock lock(path);
    require_free(path, existing);  // another program may have been here in between
    return lock;
}

void ComparisonDirectory::begin(std::string_view text) const {
    write("compare.json", text);
    std::error_code none;
    for (const char* name : {"compare.md", "report.html"}) fs::remove(path_ / name, none);
}

void ComparisonDirectory::write(const std::string& name, std::string_view text) const {
    write_file(path_ / name, text);
}

}  // namespace slimgrad
