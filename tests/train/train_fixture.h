#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "train/run_directory.h"
#include "train/trainer.h"

namespace slimgrad {

namespace fs = std::filesystem;
using nlohmann::json;

inline std::string message(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

inline std::string text_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// A directory of its own for each test.
class Train : public ::testing::Test {
  protected:
    Train()
        : root_(fs::temp_directory_path() /
                fmt::format("slimgrad_{}_{}",
                            ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                            ::getpid())) {
        fs::remove_all(root_);
        fs::create_directories(root_);
    }
    ~Train() override { fs::remove_all(root_); }

    /// A short run with everything random in it: order, augmentation, dropout.
    TrainConfig small(const std::string& name, const std::string& model) const {
        TrainConfig config;
        config.model = model;
        config.limit_train = 40;
        config.limit_test = 16;
        config.batch = 8;
        config.epochs = 2;
        config.augment = true;
        config.dropout = 0.1;
        config.clip = 1;
        config.warmup = 2;
        config.threads = 1;
        config.out = (root_ / name).string();
        return config;
    }
    /// One on the texts that ship with slimgrad.
    TrainConfig texts(const std::string& name) const {
        TrainConfig config;
        config.data = "embedded-text";
        config.model = "bert-tiny";
        config.limit_train = 40;
        config.limit_test = 20;
        config.batch = 8;
        config.max_length = 40;
        config.epochs = 2;
        config.schedule = "linear";
        config.warmup = 2;
        config.calibrate_every = 3;
        config.calibrate_batches = 2;
        config.threads = 1;
        config.out = (root_ / name).string();
        return config;
    }
    static bool run(const TrainConfig& config, std::int64_t stop_at = -1) {
        Trainer trainer(config, options(stop_at));
        return trainer.run();
    }
    static TrainerOptions options(std::int64_t stop_at = -1) {
        TrainerOptions options{.overwrite = false, .quiet = true, .stop = nullptr};
        if (stop_at >= 0) options.stop = [stop_at](std::int64_t step) { return step >= stop_at; };
        return options;
    }
    json summary(const std::string& name) const { return read_json(root_ / name / "summary.json"); }
    std::string weights(const std::string& name) const {
        return text_of(root_ / name / "model.safetensors");
    }
    /// metrics.jsonl without times.
    std::vector<json> metrics(const std::string& name) const {
        std::vector<json> lines;
        std::ifstream in(root_ / name / "metrics.jsonl");
        for (std::string line; std::getline(in, line);) {
            lines.push_back(json::parse(line));
            lines.back().erase("seconds");
        }
        return lines;
    }

    fs::path root_;
};

}  // namespace slimgrad
