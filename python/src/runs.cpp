// Runs: the training loop of train/, whole.

#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "options_json.h"
#include "precision.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/comparison_directory.h"
#include "train/config.h"
#include "train/report.h"
#include "train/run_directory.h"
#include "train/same_run.h"
#include "train/trainer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace slimgrad::runs {
namespace {

/// The thread setting of the process, put back at the end.
class KeepThreads {
  public:
    KeepThreads() : threads_(std::min<std::int64_t>(threads(), max_threads())) {}
    ~KeepThreads() { set_threads(threads_); }
    KeepThreads(const KeepThreads&) = delete;
    KeepThreads& operator=(const KeepThreads&) = delete;

  private:
    std::int64_t threads_;
};

/// Asked before every step: has Python been interrupted, or does the caller want to stop?
class Stop {
  public:
    explicit Stop(nb::object wish) : wish_(std::move(wish)) {}

    bool operator()(std::int64_t step) {
        const nb::gil_scoped_acquire gil;
        try {
            if (PyErr_CheckSignals() != 0) throw nb::python_error();
            return !wish_.is_none() && nb::cast<bool>(nb::bool_(wish_(step)));
        } catch (...) {
            error_ = std::current_exception();  // raised once the checkpoint is written
            return true;
        }
    }
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }

  private:
    nb::object wish_;
    std::exception_ptr error_;
};

TrainConfig to_config(const nb::dict& options) {
    return config_from_json(options_json("config", options), "train()");
}

/// Throws Error unless these options make a run. Notes on those that have no effect: a value that
/// is the default may come from a file with all of them, and is passed over.
std::vector<std::string> check(const nb::dict& options) {
    const TrainConfig config = to_config(options);
    validate(config);
    const nlohmann::json chosen = slimgrad::to_json(config),
                         defaults = slimgrad::to_json(TrainConfig());
    std::vector<std::string> names;
    for (const auto& [name, value] : chosen.items())
        if (value != defaults.value(name, nlohmann::json())) names.push_back(name);
    return without_effect(config, names);
}

/// Throws Error if one of these runs cannot go into its directory.
void check_places(const nb::list& runs, bool overwrite) {
    std::vector<TrainConfig> configs;
    for (const nb::handle run : runs) configs.push_back(to_config(nb::cast<nb::dict>(run)));
    require_apart(configs);
    for (const TrainConfig& config : configs) RunDirectory::require_free(config.out, overwrite);
}

nb::object train(const std::optional<nb::dict>& options_of_run, const std::string& resume,
                 bool overwrite, bool quiet, nb::object wish) {
    const KeepThreads threads;
    Stop stop(std::move(wish));
    const TrainerOptions options{.overwrite = overwrite,
                                 .quiet = quiet,
                                 .stop = [&](std::int64_t step) { return stop(step); }};
    std::optional<TrainConfig> config;
    if (options_of_run) config = to_config(*options_of_run);
    bool finished = false;
    std::string summary;
    {
        const nb::gil_scoped_release release;
        std::unique_ptr<Trainer> trainer;
        if (config)
            trainer = std::make_unique<Trainer>(*config, options);
        else
            trainer = std::make_unique<Trainer>(std::filesystem::path(resume), options);
        finished = trainer->run();
        if (finished) summary = trainer->summary().dump();
    }
    stop.rethrow();
    return finished ? nb::cast(summary) : nb::none();
}

/// The directory of a comparison, locked until it is closed: a traceback may keep it for longer.
class Comparison {
  public:
    Comparison(const std::string& path, bool overwrite)
        : directory_(std::in_place, path,
                     overwrite ? ComparisonDirectory::Existing::replace
                               : ComparisonDirectory::Existing::refuse) {}
    void write(const std::string& name, const std::string& text) const {
        require(directory_.has_value(), "[compare] the comparison is closed");
        directory_->write(name, text);
    }
    std::string note() const { return directory_ ? directory_->note() : ""; }
    void close() { directory_.reset(); }

  private:
    std::optional<ComparisonDirectory> directory_;
};

/// Name, default as JSON, and what it means and may be, of every option of a run.
std::vector<std::tuple<std::string, std::string, std::string>> options() {
    std::vector<std::tuple<std::string, std::string, std::string>> all;
    const TrainConfig config;
    const nlohmann::json defaults = slimgrad::to_json(config);
    for_each_option(config, [&](const Option& option, const auto&) {
        all.emplace_back(option.name, defaults.value(option.name, nlohmann::json()).dump(),
                         fmt::format("{}; {}", option.help, describe(option.range)));
    });
    return all;
}

}  // namespace

void bind_runs(nb::module_& core) {
    nb::class_<Comparison>(core, "Comparison",
                           "The directory of a comparison, which no other program may use until it "
                           "is closed.")
        .def(nb::init<const std::string&, bool>(), "path"_a, "overwrite"_a)
        .def("write", &Comparison::write, "name"_a, "text"_a,
             "Replaces one of its files as a whole.")
        .def("note", &Comparison::note, "What a user should know of the directory, or nothing.")
        .def("close", &Comparison::close, "Lets others use it.");
    core.def("train", &train, "config"_a.none(), "resume"_a, "overwrite"_a, "quiet"_a,
             "stop"_a.none(),
             "Runs the training loop; the summary as JSON, or None if it stopped.");
    core.def("check_run", &check, "options"_a,
             "Raises sg.Error unless these options make a run; says which of them have no effect.");
    core.def("check_places", &check_places, "runs"_a, "overwrite"_a,
             "Raises sg.Error if one of the runs of a comparison cannot go into its directory.");
    core.def(
        "check_seeds", [](std::int64_t seeds) { check_option("[compare]", seeds_option(), seeds); },
        "seeds"_a, "Raises sg.Error unless a comparison may have so many seeds.");
    core.def("run_options", &options,
             "Name, default as JSON, and what it means and may be, of every option of a run.");
    core.def("write_report", &write_report, "runs"_a, "path"_a,
             nb::call_guard<nb::gil_scoped_release>(),
             "Writes one HTML page that compares finished runs.");
}

}  // namespace slimgrad::runs
