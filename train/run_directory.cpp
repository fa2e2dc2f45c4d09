#include "train/run_directory.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>

#include "data/digest.h"
#include "data/text_data.h"
#include "tensor/error.h"

namespace slimgrad {
namespace fs = std::filesystem;

namespace {

/// The first files of a new run lie in `prepared` until all are there. Its name becomes `begun`:
/// from then on the run has begun, and whoever finds that folder moves them in.
constexpr const char* prepared = "slimgrad-begin.tmp";
constexpr const char* begun = "slimgrad-begin";

/// What a run makes of its beginning: nothing of it may outlive a new one.
constexpr const char* results[] = {checkpoint_file, "model.safetensors", adapter_file,
                                   "summary.json", "report.html"};
/// What may lie in model_folder.
constexpr const char* model_files[] = {"config.json",       "tokenizer.json",
                                       "vocab.txt",         "tokenizer_config.json",
                                       "added_tokens.json", "special_tokens_map.json"};
/// What is written by AtomicFile, and so may have left temporary files.
constexpr const char* replaced[] = {"config.json", checkpoint_file, "model.safetensors",
                                    adapter_file,  "summary.json",  "report.html"};

/// Whether a file is all that a run leaves that died before it began.
bool is_left(const std::string& name) {
    return name == DirectoryLock::file_name || name == prepared || name == begun ||
           std::ranges::any_of(replaced, [&](const char* of) { return is_temporary(name, of); });
}

bool is_config(const nlohmann::json& json) {
    const auto is_text = [&](const char* key) {
        const auto found = json.find(key);
        return found != json.end() && found->is_string();
    };
    return json.is_object() && is_text("data") && is_text("model") && is_text("method") &&
           is_text("optimizer") && json.contains("seed");
}

bool is_on_texts(const nlohmann::json& config) {
    const auto data = config.find("data");
    if (data == config.end() || !data->is_string()) return false;
    const std::vector<std::string> names = text_data_names();
    return std::ranges::find(names, data->get<std::string>()) != names.end();
}

/// What a run on texts has made of it; not what a link points to, nor a user's own files.
void remove_model(const fs::path& folder) {
    std::error_code error;
    if (fs::is_symlink(folder, error)) fs::remove(folder, error);
    for (const char* name : model_files) fs::remove(folder / name, error);
    fs::remove(folder, error);  // if it is empty
}

void move_file(const fs::path& from, const fs::path& to) {
    std::error_code error;
    fs::rename(from, to, error);
    require(!error, "[run] cannot write '{}': {}", to.string(), error.message());
}

}  // namespace

fs::path config_file(const fs::path& directory) {
    std::error_code none;
    const fs::path moving = directory / begun / "config.json";
    return fs::exists(moving, none) ? moving : directory / "config.json";
}

TrainConfig read_config(const fs::path& run) {
    const fs::path file = config_file(run);
    return config_from_json(read_json(file), file.string());
}

bool is_complete(const fs::path& directory) {
    std::error_code none;
    return !fs::exists(directory / begun / "config.json", none) &&
           fs::exists(directory / "summary.json", none) &&
           fs::exists(directory / "model.safetensors", none);
}

bool holds_run(const fs::path& directory) {
    std::error_code none;
    const fs::path config = config_file(directory);
    if (!(fs::exists(directory / "metrics.jsonl", none) || fs::exists(directory / begun, none)))
        return false;
    return is_config(json_or_nothing(config));
}

std::string fingerprint(const fs::path& directory) {
    if (!holds_run(directory)) return "";
    Digest digest;
    fs::path file = config_file(directory);
    digest.add(read_text(file));
    file.replace_filename("metrics.jsonl");
    std::error_code none;
    if (fs::exists(file, none)) digest.add(read_text(file));
    return fmt::format("{:016x}", digest.value());
}

void RunDirectory::require_free(const fs::path& path, bool overwrite) {
    require(!path.empty(), "[run] expected a run directory. Hint: --out DIR");
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (status.type() == fs::file_type::not_found) return;
    require(!error, "[run] cannot use '{}': {}", path.string(), error.message());
    require(fs::is_directory(status),
            "[run] cannot create the directory '{}': a file of that name is in the way",
            path.string());
    const fs::path config = config_file(path);
    require(!fs::is_regular_file(config, error) || ::access(config.c_str(), R_OK) == 0,
            "[run] cannot read '{}': {}", config.string(), std::generic_category().message(errno));
    if (holds_run(path)) {
        require(overwrite,
                "[run] '{}' holds another run. Hint: --resume {} continues it, --overwrite starts "
                "anew, another --out keeps both",
                path.string(), path.string());
        return;
    }
    fs::directory_iterator entry(path, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        require(is_left(name),
                "[run] '{}' is not empty and holds no run: it has '{}'. Hint: another --out",
                path.string(), name);
    }
    require(!error, "[run] cannot read '{}': {}", path.string(), error.message());
}

RunDirectory RunDirectory::create(const fs::path& path, bool overwrite) {
    require_free(path, overwrite);
    RunDirectory run(path);
    std::error_code error;
    for (fs::path part = fs::absolute(path, error); !error && !fs::exists(part, error);
         part = part.parent_path())
        run.made_.push_back(part);
    fs::create_directories(path, error);
    require(!error, "[run] cannot create the directory '{}': {}", path.string(), error.message());
    run.lock();
    require_free(path, overwrite);  // another program may have been here in between
    run.clean();
    return run;
}

RunDirectory RunDirectory::open(const fs::path& path) {
    std::error_code error;
    const bool exists = fs::exists(config_file(path), error);
    require(!error, "[run] cannot read '{}': {}", path.string(), error.message());
    require(exists, "[run] '{}' holds no run: it has no config.json", path.string());
    RunDirectory run(path);
    run.lock();
    run.clean();
    return run;
}

RunDirectory::~RunDirectory() {
    if (made_.empty()) return;
    lock_.reset();
    std::error_code none;
    for (const fs::path& directory : made_) fs::remove(directory, none);  // if it is empty
}

void RunDirectory::lock() {
    lock_.emplace(path_);
    note_ = lock_->note();
}

void RunDirectory::clean() const {
    std::error_code none;
    fs::remove_all(file(prepared), none);
    if (fs::exists(file(begun), none)) move_in();
    finish();
}

void RunDirectory::finish() const {
    remove_leftovers(path_, replaced);
    remove_leftovers(file(model_folder), model_files);
}

void RunDirectory::begin(const nlohmann::json& config,
                         const std::function<void(const fs::path&)>& save) {
    std::error_code error;
    const fs::path folder = file(prepared);
    fs::create_directory(folder, error);
    require(!error, "[run] cannot write in '{}': {}", path_.string(), error.message());
    try {
        write_file(folder / "config.json", config.dump(2) + "\n");
        MetricsFile(folder / "metrics.jsonl").sync();
        save(folder);
        const fs::path model = file(model_folder);
        require(!fs::exists(folder / model_folder) || !fs::exists(fs::symlink_status(model)) ||
                    is_on_texts(json_or_nothing(file("config.json"))),
                "[run] '{}' is of no run on texts, which this one would replace. Hint: another "
                "--out, or move it",
                model.string());
        sync_directory(folder);
        move_file(folder, file(begun));
    } catch (...) {
        fs::remove_all(folder, error);
        throw;
    }
    made_.clear();
    move_in();
    metrics_.emplace(file("metrics.jsonl"));
}

/// May be done again after it broke off anywhere: what is removed goes before the first file comes.
void RunDirectory::move_in() const {
    std::error_code error;
    const fs::path folder = file(begun), model = file(model_folder);
    sync_directory(path_);
    if (fs::exists(folder / "config.json", error)) {
        const nlohmann::json old = json_or_nothing(file("config.json"));
        for (const char* name : results) fs::remove(file(name), error);
        if (is_on_texts(old)) remove_model(model);
        move_file(folder / "config.json", file("config.json"));
    }
    if (fs::exists(folder / "metrics.jsonl", error))
        move_file(folder / "metrics.jsonl", file("metrics.jsonl"));
    if (fs::exists(folder / model_folder, error)) fs::create_directory(model, error);
    for (fs::directory_iterator entry(folder / model_folder, error), end; !error && entry != end;
         entry.increment(error))
        move_file(entry->path(), model / entry->path().filename());
    fs::remove_all(folder, error);
    sync_directory(path_);
}

void RunDirectory::write_json(const std::string& name, const nlohmann::json& json) const {
    write_file(file(name), json.dump(2) + "\n");
}

void RunDirectory::append_metrics(const nlohmann::json& line) { metrics_->append(line.dump()); }

std::int64_t RunDirectory::sync_metrics() {
    metrics_->sync();
    return metrics_->bytes();
}

bool RunDirectory::cut_metrics(std::int64_t bytes) {
    if (!metrics_) metrics_.emplace(file("metrics.jsonl"));
    return metrics_->cut_to(bytes);
}

}  // namespace slimgrad
