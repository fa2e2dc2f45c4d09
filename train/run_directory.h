#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "train/json_file.h"

namespace slimgrad {

/// Replaces a file as a whole: whoever reads it finds the old or the new text, never a part.
/// Throws Error if it cannot be written.
void write_file(const std::filesystem::path& file, const std::string& text);

/// The file of a run directory from which a run goes on.
inline constexpr const char* checkpoint_file = "checkpoint.safetensors";

/// Where one run keeps what it makes: config.json, metrics.jsonl, summary.json, model.safetensors,
/// checkpoint.safetensors.
class RunDirectory {
  public:
    /// Makes the directory. Throws Error if it cannot be written or holds another run already,
    /// unless `overwrite`.
    static RunDirectory create(const std::filesystem::path& path, bool overwrite = false);
    /// Removes a directory that create() has made, if nothing was put into it.
    static void discard(const std::filesystem::path& path);
    /// A run that exists. Throws Error if there is none.
    static RunDirectory open(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path file(const std::string& name) const { return path_ / name; }

    /// Removes what an earlier run has left and writes config.json: the directory is taken.
    void begin(const nlohmann::json& config);

    void write_json(const std::string& name, const nlohmann::json& json) const;
    /// Adds one line to metrics.jsonl.
    void append_metrics(const nlohmann::json& line);
    /// How long metrics.jsonl is, with every line written out; and its return to that length.
    std::int64_t metrics_bytes();
    void truncate_metrics(std::int64_t bytes);

  private:
    explicit RunDirectory(std::filesystem::path path);
    void open_metrics();

    std::filesystem::path path_;
    std::ofstream metrics_;
};

}  // namespace slimgrad
