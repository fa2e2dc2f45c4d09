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
#include "train/comparison.h"
#include "train/config.h"
#include "train/json_file.h"
#include "train/json_text.h"
#include "train/option_json.h"
#include "train/report.h"
#include "train/step_trace.h"
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

/// `source` names the call in messages.
TrainConfig to_config(const nb::dict& options, const char* source) {
    return config_from_json(options_json("config", options), source);
}

/// The options that were chosen: a value that is the default may come from a file with all of them,
/// and is passed over.
std::vector<std::string> chosen(const TrainConfig& config) {
    const nlohmann::json values = slimgrad::to_json(config),
                         defaults = slimgrad::to_json(TrainConfig());
    std::vector<std::string> names;
    for (const auto& [name, value] : values.items())
        if (value != defaults.value(name, nlohmann::json())) names.push_back(name);
    return names;
}

/// Throws Error unless these options make a run. Notes on those that have no effect.
std::vector<std::string> check(const nb::dict& options) {
    const TrainConfig config = to_config(options, "train()");
    validate(config);
    return without_effect(config, chosen(config));
}

nb::object train(const std::optional<nb::dict>& options_of_run, const std::string& resume,
                 bool overwrite, bool quiet, nb::object wish) {
    const KeepThreads threads;
    Stop stop(std::move(wish));
    const TrainerOptions options{.overwrite = overwrite,
                                 .quiet = quiet,
                                 .stop = [&](std::int64_t step) { return stop(step); }};
    std::optional<TrainConfig> config;
    if (options_of_run) config = to_config(*options_of_run, "train()");
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

/// How far a run of a comparison is, in a word.
const char* word_of(ComparedRun::Found found) {
    switch (found) {
        case ComparedRun::Found::other:
            return "other";
        case ComparedRun::Found::part:
            return "part";
        case ComparedRun::Found::whole:
            return "whole";
        default:
            return "nothing";
    }
}

/// What is given to a function beside options of runs, checked like one of these.
nlohmann::json option_of(const char* function, const char* name, nb::handle value) {
    nb::dict one;
    one[name] = value;
    return options_json(function, one).at(name);
}
nlohmann::json argument(const char* name, nb::handle value) {
    return option_of("compare", name, value);
}

/// The comparison of train/, whose runs Python executes: run_one(options as JSON, what is found).
std::string compare(const nb::list& methods, const nb::handle seeds, const nb::handle out,
                    bool overwrite, bool resume, const nb::dict& options_of_runs,
                    const nb::callable& run_one, const nb::callable& note) {
    ComparisonOptions options{
        .seeds = read_integer("[compare]", seeds_option(), argument("seeds", seeds)),
        .out = argument("out", out).get<std::string>(),
        .overwrite = overwrite,
        .resume = resume,
        .base = to_config(options_of_runs, "compare()")};
    options.methods.clear();
    for (const nb::handle method : methods)
        options.methods.push_back(argument("methods", method).get<std::string>());
    options.given = chosen(options.base);
    const auto run = [&](const ComparedRun& one) {
        const nb::gil_scoped_acquire gil;
        run_one(slimgrad::to_json(one.config).dump(), word_of(one.found));
        return true;
    };
    const auto tell = [&](const std::string& text) {
        const nb::gil_scoped_acquire gil;
        note(text);
    };
    const nb::gil_scoped_release release;
    return json_text(slimgrad::compare(options, run, tell));
}

/// One step by each method as a timeline. Ctrl-C ends it between two steps.
std::string trace(const nb::list& methods, const nb::handle warmup_steps, const std::string& out,
                  const std::string& chrome, bool quiet, const nb::dict& options_of_runs,
                  const nb::callable& note) {
    const KeepThreads threads;
    TraceOptions options{
        .methods = {},
        .warmup_steps = read_integer("[trace]", warmup_steps_option(),
                                     option_of("trace", "warmup_steps", warmup_steps)),
        .base = to_config(options_of_runs, "trace()"),
        .quiet = quiet,
        .page = out,
        .chrome = chrome};
    for (const nb::handle method : methods)
        options.methods.push_back(option_of("trace", "methods", method).get<std::string>());
    options.given = chosen(options.base);
    const auto tell = [&](const std::string& text) {
        const nb::gil_scoped_acquire gil;
        note(text);
    };
    const auto between = [] {
        const nb::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
    };
    const nb::gil_scoped_release release;
    return json_text(slimgrad::trace(options, tell, between));
}

/// Name, default as JSON, and what it means and may be, of every option of a run.
std::vector<std::tuple<std::string, std::string, std::string>> options() {
    std::vector<std::tuple<std::string, std::string, std::string>> all;
    const TrainConfig config;
    const nlohmann::json defaults = slimgrad::to_json(config);
    for_each_option(config, [&](const Option& option, const auto&) {
        nlohmann::json initial = defaults.value(option.name, nlohmann::json());
        if (initial.is_null()) write_option(initial, option.initial);
        all.emplace_back(option.name, initial.dump(),
                         fmt::format("{}; {}", option.help, describe(option.range)));
    });
    return all;
}

}  // namespace

void bind_runs(nb::module_& core) {
    core.def("train", &train, "config"_a.none(), "resume"_a, "overwrite"_a, "quiet"_a,
             "stop"_a.none(),
             "Runs the training loop; the summary as JSON, or None if it stopped.");
    core.def("check_run", &check, "options"_a,
             "Raises sg.Error unless these options make a run; says which of them have no effect.");
    core.def(
        "compare", &compare, "methods"_a, "seeds"_a.none(), "out"_a, "overwrite"_a, "resume"_a,
        "options"_a, "run_one"_a, "note"_a,
        "Compares methods and returns what was found as JSON. run_one brings a run to its end, "
        "or raises: it gets the options as JSON, and whether 'nothing' of it is there, "
        "'part' of it, or an 'other' run to replace. note is told what has no effect.");
    core.def("trace", &trace, "methods"_a, "warmup_steps"_a.none(), "out"_a, "chrome"_a, "quiet"_a,
             "options"_a, "note"_a,
             "One training step by each method as a timeline, as JSON. note is told what has no "
             "effect.");
    core.def("run_options", &options,
             "Name, default as JSON, and what it means and may be, of every option of a run.");
    core.def("write_report", &write_report, "runs"_a, "path"_a,
             nb::call_guard<nb::gil_scoped_release>(),
             "Writes one HTML page that compares finished runs.");
}

}  // namespace slimgrad::runs
