#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.h"
#include "cli/data_sources.h"
#include "cli/options.h"
#include "cli/output.h"
#include "data/image_data.h"
#include "data/metrics.h"
#include "data/picture_source.h"
#include "data/text_data.h"
#include "tensor/error.h"
#include "train/progress.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Options {
    bool json = false;
    std::string name, data_dir, mirror;
};

/// Where the other data sets come from.
std::string origin(const std::string& name) {
    const auto begins = [&](std::string_view word) { return name.starts_with(word); };
    if (begins("embedded")) return "ships with slimgrad";
    if (begins("image-folder")) return "a folder of your own: train/CLASS/1.jpg, val/CLASS/2.jpg";
    if (begins("cifar")) return "slimgrad data get " + name;
    if (begins("fashion")) return "apt install dataset-fashion-mnist";
    if (begins("paws")) return "https://github.com/google-research-datasets/paws";
    if (begins("mrpc")) return "slimgrad data get mrpc";
    return "https://gluebenchmark.com/tasks";
}

bool is_fetched(const std::string& name) {
    const std::vector<DataSource>& sources = data_sources();
    return std::ranges::find(sources, name, &DataSource::name) != sources.end();
}

bool is_text(const std::string& name) {
    const std::vector<std::string> names = text_data_names();
    return std::ranges::find(names, name) != names.end();
}

int list(const Options& options) {
    json document = json::array();
    const auto show = [&](const std::string& name, const std::string& kind,
                          const std::string& from) {
        document.push_back({{"name", name}, {"kind", kind}, {"from", from}});
        if (!options.json) fmt::print("{:16} {:8} {}\n", name, kind, from);
    };
    const std::vector<std::string> names = data_names();
    for (const std::string& name : names)
        show(name, is_text(name) ? "text" : "images", origin(name));
    for (const DataSource& source : data_sources())  // those that become an image-folder
        if (std::ranges::find(names, source.name) == names.end())
            show(source.name, "pictures", "slimgrad data get " + source.name);
    if (options.json) print_json(document);
    return exit_done;
}

/// "msr_paraphrase_train.txt  42 %", on a terminal only.
Progress progress_of(const std::string& name, std::int64_t bytes) {
    if (!isatty(STDERR_FILENO)) return {};
    return [name, bytes, shown = std::int64_t{-1}](std::int64_t done) mutable {
        const std::int64_t percent = 100 * std::min(done, bytes) / bytes;
        if (std::exchange(shown, percent) == percent) return;
        say(fmt::format("\r{}  {} %{}", name, percent, done >= bytes ? "\n" : ""));
    };
}

int get(const Options& options) {
    const std::vector<DataSource>& sources = data_sources();
    const auto source = std::ranges::find(sources, options.name, &DataSource::name);
    if (source == sources.end()) {
        const std::vector<std::string> names = data_names();
        const bool known = std::ranges::find(names, options.name) != names.end();
        std::vector<std::string> fetched;
        for (const DataSource& each : sources) fetched.push_back(each.name);
        fail("[data] {} '{}'. Known: {}{}",
             known ? "slimgrad does not download" : "unknown data set", options.name,
             fmt::join(fetched, ", "),
             known ? fmt::format(". Hint: {}", origin(options.name)) : "");
    }
    const fs::path directory = fs::path(options.data_dir) / source->folder;
    say(source->license + "\n");
    const std::vector<Fetched> fetched =
        fetch(*source, options.data_dir, {.mirror = options.mirror, .progress = progress_of});
    json files = json::array();
    for (const RemoteFile& file : source->files) {
        const auto found = std::ranges::find(fetched, file.name(), &Fetched::name);
        const bool now = found != fetched.end() && found->downloaded;
        files.push_back({{"name", file.name()},
                         {"bytes", file.bytes},
                         {"sha256", file.sha256},
                         {"downloaded", now}});
        if (!options.json && found != fetched.end())
            fmt::print("{}  {} bytes, {}\n", file.name(), file.bytes,
                       now ? "downloaded and verified" : "was there, verified");
    }
    if (options.json)
        print_json(json{{"name", source->name},
                        {"directory", directory.string()},
                        {"license", source->license},
                        {"files", files}});
    else
        fmt::print("{}{}. To train on it: slimgrad train {} --data-dir '{}'\n", directory.string(),
                   fetched.empty() ? " was there" : "", source->train_with, directory.string());
    return exit_done;
}

json describe(const std::vector<std::int32_t>& labels, const std::vector<std::string>& classes) {
    const std::int32_t majority = majority_class(labels);
    return {{"samples", labels.size()},
            {"classes", classes},
            {"majority_class", classes[static_cast<std::size_t>(majority)]},
            {"majority_baseline", {{"accuracy", baseline("accuracy", majority, labels)}}}};
}

/// Decodes every picture.
json describe_pictures(const PictureSource& pictures) {
    const Progress progress = progress_of(pictures.name(), pictures.size());
    for (std::int64_t i = 0; i < pictures.size(); ++i) {
        pictures.picture(i);
        if (progress) progress(i + 1);
    }
    return describe(pictures.labels(), pictures.classes());
}

json describe_text(const TextData& data, std::int32_t majority) {
    json description = describe(data.labels, data.classes);
    for (const std::string& metric : data.metrics)
        description["majority_baseline"][metric] = baseline(metric, majority, data.labels);
    return description;
}

/// Reads a data set as a training would, which checks every byte of it.
int verify(const Options& options) {
    json document{{"name", options.name}};
    if (is_text(options.name)) {
        const TextSplits splits = load_text(options.name, options.data_dir);
        // The majority is that of the training labels: the test set is not for choosing.
        const std::int32_t majority = majority_class(splits.train.labels);
        document["train"] = describe_text(splits.train, majority);
        document["test"] = describe_text(splits.test, majority);
    } else if (options.name == picture_folder_name) {
        const PictureSplits splits = read_picture_folder(options.data_dir);
        document["train"] = describe_pictures(*splits.train);
        document["test"] = describe_pictures(*splits.test);
    } else {
        const std::vector<std::string> names = data_names();
        if (std::ranges::find(names, options.name) == names.end())
            fail("[data] unknown data set '{}'. Known: {}{}", options.name, fmt::join(names, ", "),
                 is_fetched(options.name)
                     ? fmt::format(". Hint: what was fetched is an {}", picture_folder_name)
                     : "");
        const ImageSplits splits = load_images(options.name, options.data_dir);
        document["train"] = describe(splits.train.labels, splits.train.classes);
        document["test"] = describe(splits.test.labels, splits.test.classes);
    }
    if (options.json) {
        print_json(document);
        return exit_done;
    }
    for (const char* const split : {"train", "test"}) {
        const json& part = document[split];
        fmt::print("{} {}: {} samples of {} classes; the majority is {}:", options.name, split,
                   part["samples"].get<std::int64_t>(), part["classes"].size(),
                   part["majority_class"].get<std::string>());
        for (const auto& [metric, value] : part["majority_baseline"].items())
            fmt::print(" {} {:.1f} %", metric, 100 * value.get<double>());
        fmt::print("\n");
    }
    return exit_done;
}

}  // namespace

Action add_data(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* const data = program.add_subcommand("data", "Data sets: list, get, verify");
    data->footer("\nExample:\n  slimgrad data get mrpc --data-dir data-sets");
    data->require_subcommand(1);
    CLI::App* const lists = add_command(*data, "list", "The data sets that slimgrad reads",
                                        "slimgrad data list --json", options->json);
    CLI::App* const gets = add_command(
        *data, "get", "Download a data set from its official place and verify its checksums",
        "slimgrad data get mrpc --data-dir data-sets", options->json);
    CLI::App* const verifies =
        add_command(*data, "verify", "Read a data set as a training would, and describe it",
                    "slimgrad data verify mrpc --data-dir data-sets", options->json);
    for (CLI::App* const command : {gets, verifies})
        add_argument(*command, {"name", AnyText{}, "the data set"}, options->name)->required();
    add_option(*gets, {"data_dir", AnyText{}, "where its folder is made (default: here)"},
               options->data_dir);
    add_option(*gets, {"mirror", AnyText{}, "take the files from URL/FILE instead"},
               options->mirror);
    add_option(*verifies, {"data_dir", AnyText{}, "where its files are"}, options->data_dir);
    return [=] {
        if (lists->parsed()) return list(*options);
        if (verifies->parsed()) return verify(*options);
        try {
            return get(*options);
        } catch (const DownloadError& error) {
            say(fmt::format("slimgrad: {}\n", error.what()));
            return exit_failure;
        }
    };
}

}  // namespace slimgrad::cli
