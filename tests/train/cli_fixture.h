#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/places.h"

namespace cli_test {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

inline std::string text_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

struct Result {
    int status;
    std::string out, err;
};

/// The program, run in a directory of its own for each test.
class Cli : public ::testing::Test {
  protected:
    Cli() : root_(fs::temp_directory_path() / ("slimgrad cli " + std::to_string(getpid()))) {
        fs::remove_all(root_);
        fs::create_directories(root_);
    }
    ~Cli() override { fs::remove_all(root_); }

    /// Starts a program whose output goes into files `name`.out and `name`.err.
    pid_t start(const Words& arguments, const std::string& name = "std",
                const char* program = slimgrad::program_path()) const {
        Words words = arguments;
        words.insert(words.begin(), program);
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        const std::string out = name + ".out", err = name + ".err";
        const pid_t child = fork();
        if (child == 0) {
            if (chdir(root_.c_str()) != 0) _exit(126);
            for (const int signal : {SIGHUP, SIGPIPE}) std::signal(signal, SIG_DFL);
            dup2(open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDOUT_FILENO);
            dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
            execv(program, argv.data());
            _exit(127);
        }
        return child;
    }
    /// Status 128 + n if signal n ended it.
    Result finish(pid_t child, const std::string& name = "std") const {
        int status = 0;
        waitpid(child, &status, 0);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                text_of(root_ / (name + ".out")), text_of(root_ / (name + ".err"))};
    }
    Result run(const Words& arguments) const { return finish(start(arguments)); }
    /// A script for /bin/sh, in which "$SLIMGRAD" is the program.
    Result shell(const std::string& script) const {
        setenv("SLIMGRAD", slimgrad::program_path(), 1);
        return finish(start({"-c", script}, "std", "/bin/sh"));
    }

    /// A short training run, and more words.
    static Words train(const Words& more, const std::string& command = "train") {
        Words words = {command, "--model", "mlp", "--limit-train", "64", "--limit-test",
                       "16",    "--batch", "16",  "--threads",     "1"};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    json run_json(const Words& arguments) const {
        const Result result = run(arguments);
        EXPECT_EQ(result.status, 0) << result.err;
        json document = json::parse(result.out, nullptr, false);
        EXPECT_FALSE(document.is_discarded()) << result.out;
        return document;
    }
    /// Status 2 and one line on standard error that says `part`.
    void expect_refused(const Words& arguments, const std::string& part) const {
        const Result result = run(arguments);
        EXPECT_EQ(result.status, 2) << result.err;
        EXPECT_EQ(result.out, "");
        EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
        EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    }

    fs::path root_;
};

}  // namespace cli_test
