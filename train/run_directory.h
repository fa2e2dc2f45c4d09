#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/file.h"
#include "train/config.h"
#include "train/directory_lock.h"
#include "train/json_file.h"
#include "train/metrics_file.h"

namespace slimgrad {

/// The file of a run directory from which a run goes on.
inline constexpr const char* checkpoint_file = "checkpoint.safetensors";
/// What a run with adapters has learned, alone.
inline constexpr const char* adapter_file = "adapter.safetensors";
/// Where a run on texts keeps the sizes and the vocabulary of its model, in Hugging Face's layout.
inline constexpr const char* model_folder = "model";

/// Whether a directory holds a run: a config.json of slimgrad with metrics.jsonl beside it. A
/// directory of Hugging Face, which has a config.json too, does not. False if it cannot be read.
bool holds_run(const std::filesystem::path& directory);

/// Whether the run there has come to its end, and no new one has begun in its place.
bool is_complete(const std::filesystem::path& directory);

/// Tells a run from one that is begun anew in its place, even with the same options: digits that
/// stand for these and for what it has logged. Empty if no run is there.
std::string fingerprint(const std::filesystem::path& directory);

/// The config.json of a run. While the run is just beginning it may lie in a folder of its own.
std::filesystem::path config_file(const std::filesystem::path& directory);
/// The options that it holds. Throws Error if it cannot be read or is none.
TrainConfig read_config(const std::filesystem::path& run);

/// Where one run keeps what it makes (train/README.md). It belongs to this process alone while the
/// object lives.
class RunDirectory {
  public:
    /// Throws Error unless a new run may go there: nothing is there, an empty directory, or, with
    /// `overwrite`, another run. Nothing is touched.
    static void require_free(const std::filesystem::path& path, bool overwrite);
    /// Makes the directory and locks it, and leaves what it holds as it is until begin(). Throws
    /// Error if it is not free, in use, or cannot be written.
    static RunDirectory create(const std::filesystem::path& path, bool overwrite = false);
    /// A run that exists, locked, without what processes that died have left. Throws Error if there
    /// is none, or it is in use.
    static RunDirectory open(const std::filesystem::path& path);
    /// Removes what create() has made if no run has begun there.
    ~RunDirectory();
    RunDirectory(RunDirectory&& other) noexcept = default;
    RunDirectory& operator=(RunDirectory&&) = delete;

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path file(const std::string& name) const { return path_ / name; }
    /// What a user should know of it, or nothing.
    const std::string& note() const { return note_; }

    /// The new run takes the directory: config.json, an empty metrics.jsonl and what `save` writes
    /// into the directory it is given take the place of all that an earlier run has left; other
    /// files stay. If this throws, or the process dies in it, the earlier run is whole or gone.
    void begin(const nlohmann::json& config,
               const std::function<void(const std::filesystem::path&)>& save);
    /// The run is complete: removes what earlier processes that died have left.
    void finish() const;

    void write_json(const std::string& name, const nlohmann::json& json) const;
    /// Adds one line to metrics.jsonl.
    void append_metrics(const nlohmann::json& line);
    /// How long metrics.jsonl is, with every line on disk.
    std::int64_t sync_metrics();
    /// Returns to that length. False if lines are missing: then as many stay as there are.
    bool cut_metrics(std::int64_t bytes);

  private:
    explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}
    void lock();
    void clean() const;
    void move_in() const;

    std::filesystem::path path_;
    std::vector<std::filesystem::path> made_;  // directories that are new, until a run begins
    std::optional<DirectoryLock> lock_;
    std::optional<MetricsFile> metrics_;
    std::string note_;
};

}  // namespace slimgrad
