#include "train/run_directory.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "data/file.h"
#include "tensor/error.h"

namespace slimgrad {
namespace fs = std::filesystem;

nlohmann::json read_json(const fs::path& file) {
    std::ifstream in(file);
    require(in.good(), "[run] cannot read '{}': {}", file.string(), std::strerror(errno));
    try {
        return nlohmann::json::parse(in);
    } catch (const nlohmann::json::parse_error& error) {
        fail("[run] '{}' is not valid JSON: mistake at byte {}", file.string(), error.byte);
    } catch (const nlohmann::json::exception&) {
        fail("[run] '{}' is not valid JSON: a number in it is out of range", file.string());
    }
}

void write_file(const fs::path& file, const std::string& text) {
    AtomicFile out(file);
    out.write(text);
    out.commit();
}

RunDirectory::RunDirectory(fs::path path) : path_(std::move(path)) {}

RunDirectory RunDirectory::create(const fs::path& path, bool overwrite) {
    require(!path.empty(), "[run] expected a run directory. Hint: --out DIR");
    RunDirectory run(path);
    std::error_code error;
    fs::create_directories(path, error);
    require(!error && fs::is_directory(path), "[run] cannot create the directory '{}': {}",
            path.string(), error ? error.message() : "a file of that name is in the way");
    require(
        overwrite || !fs::exists(run.file("config.json")),
        "[run] '{}' holds another run. Hint: --resume {} continues it, --overwrite starts anew, "
        "another --out keeps both",
        path.string(), path.string());
    run.open_metrics();
    return run;
}

void RunDirectory::discard(const fs::path& path) {
    if (fs::exists(path / "config.json")) return;
    std::error_code error;
    if (fs::file_size(path / "metrics.jsonl", error) == 0)
        fs::remove(path / "metrics.jsonl", error);
    fs::remove(path, error);  // does nothing if other files are there
}

RunDirectory RunDirectory::open(const fs::path& path) {
    RunDirectory run(path);
    require(fs::exists(run.file("config.json")), "[run] '{}' holds no run: it has no config.json",
            path.string());
    run.open_metrics();
    return run;
}

void RunDirectory::begin(const nlohmann::json& config) {
    std::error_code error;
    for (const char* name :
         {"summary.json", "report.html", "model.safetensors", "checkpoint.safetensors"})
        fs::remove(file(name), error);
    truncate_metrics(0);
    write_json("config.json", config);
}

void RunDirectory::open_metrics() {
    metrics_.open(file("metrics.jsonl"), std::ios::app);
    require(metrics_.good(), "[run] cannot write in '{}': {}", path_.string(),
            std::strerror(errno));
}

void RunDirectory::write_json(const std::string& name, const nlohmann::json& json) const {
    write_file(file(name), json.dump(2) + "\n");
}

void RunDirectory::append_metrics(const nlohmann::json& line) {
    metrics_ << line.dump() << std::endl;  // flushed: a reader may follow the run
    require(metrics_.good(), "[run] cannot write '{}': {}", file("metrics.jsonl").string(),
            std::strerror(errno));
}

std::int64_t RunDirectory::metrics_bytes() {
    return static_cast<std::int64_t>(fs::file_size(file("metrics.jsonl")));
}

void RunDirectory::truncate_metrics(std::int64_t bytes) {
    const std::int64_t present = metrics_bytes();
    require(bytes <= present,
            "[run] '{}' is shorter ({} bytes) than the checkpoint says ({} bytes)",
            file("metrics.jsonl").string(), present, bytes);
    fs::resize_file(file("metrics.jsonl"), static_cast<std::uintmax_t>(bytes));
}

}  // namespace slimgrad
