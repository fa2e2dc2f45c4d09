#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.h"
#include "cli/download.h"
#include "cli/options.h"
#include "cli/output.h"
#include "data/image_data.h"
#include "data/metrics.h"
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

/// A data set that can be fetched: its files go into `folder` of the data directory.
struct Source {
    std::string name, folder, license;
    std::vector<RemoteFile> files;
};

const std::vector<Source>& sources() {
    static const std::vector<Source> table{
        {"mrpc",
         "MRPC",
         "Microsoft Research Paraphrase Corpus (Dolan and Brockett 2005), MSR-SSLA: for "
         "non-commercial use, "
         "https://www.microsoft.com/en-us/download/details.aspx?id=52398",
         {{"https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_train.txt",
           1022669, "61a88818ec384d8465297dda1883b469f1b22d442ab90183d13e06233b180591"},
          {"https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_test.txt", 431156,
           "0360d0d3427a0ae14882e2b3a799df0fab6cb5203d5e8ee481949283da62acb6"},
          {"https://dl.fbaipublicfiles.com/glue/data/mrpc_dev_ids.tsv", 6222,
           "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7"}}}};
    return table;
}

/// Where the other data sets come from.
std::string origin(const std::string& name) {
    const auto begins = [&](std::string_view word) { return name.starts_with(word); };
    if (begins("embedded")) return "ships with slimgrad";
    if (begins("cifar")) return "https://www.cs.toronto.edu/~kriz/cifar.html";
    if (begins("fashion")) return "apt install dataset-fashion-mnist";
    if (begins("paws")) return "https://github.com/google-research-datasets/paws";
    if (begins("mrpc")) return "slimgrad data get mrpc";
    return "https://gluebenchmark.com/tasks";
}

bool is_text(const std::string& name) {
    const std::vector<std::string> names = text_data_names();
    return std::ranges::find(names, name) != names.end();
}

int list(const Options& options) {
    json document = json::array();
    for (const std::string& name : data_names()) {
        const std::string kind = is_text(name) ? "text" : "images";
        document.push_back({{"name", name}, {"kind", kind}, {"from", origin(name)}});
        if (!options.json) fmt::print("{:16} {:8} {}\n", name, kind, origin(name));
    }
    if (options.json) print_json(document);
    return exit_done;
}

/// "msr_paraphrase_train.txt  42 %", on a terminal only.
Progress progress_of(const std::string& name, std::int64_t bytes) {
    if (!isatty(STDERR_FILENO)) return {};
    return [name, bytes, shown = std::int64_t{-1}](std::int64_t done) mutable {
        const std::int64_t percent = 100 * done / bytes;
        if (std::exchange(shown, percent) == percent) return;
        say(fmt::format("\r{}  {} %{}", name, percent, done == bytes ? "\n" : ""));
    };
}

int get(const Options& options) {
    const auto source = std::ranges::find(sources(), options.name, &Source::name);
    if (source == sources().end()) {
        const std::vector<std::string> names = data_names();
        const bool known = std::ranges::find(names, options.name) != names.end();
        fail("[data] {} '{}'. Known: mrpc{}",
             known ? "slimgrad does not download" : "unknown data set", options.name,
             known ? fmt::format(". Hint: {}", origin(options.name)) : "");
    }
    const fs::path directory = fs::path(options.data_dir) / source->folder;
    say(source->license + "\n");
    json files = json::array();
    for (RemoteFile file : source->files) {
        const std::string name = file.url.substr(file.url.rfind('/') + 1);
        if (!options.mirror.empty())
            file.url = options.mirror + (options.mirror.ends_with('/') ? "" : "/") + name;
        const bool fetched = download(file, directory / name, progress_of(name, file.bytes));
        files.push_back({{"name", name},
                         {"bytes", file.bytes},
                         {"sha256", file.sha256},
                         {"downloaded", fetched}});
        if (!options.json)
            fmt::print("{}  {} bytes, {}\n", (directory / name).string(), file.bytes,
                       fetched ? "downloaded and verified" : "was there, verified");
    }
    if (options.json)
        print_json(json{{"name", source->name},
                        {"directory", directory.string()},
                        {"license", source->license},
                        {"files", files}});
    return exit_done;
}

template <class Data>
json describe(const Data& data) {
    const std::int32_t majority = majority_class(data.labels);
    return {{"samples", data.size()},
            {"classes", data.classes},
            {"majority_class", data.classes[static_cast<std::size_t>(majority)]},
            {"majority_baseline", {{"accuracy", baseline("accuracy", majority, data.labels)}}}};
}

json describe_text(const TextData& data, std::int32_t majority) {
    json description = describe(data);
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
    } else {
        const std::vector<std::string> names = data_names();
        if (std::ranges::find(names, options.name) == names.end())
            fail("[data] unknown data set '{}'. Known: {}", options.name, fmt::join(names, ", "));
        const ImageSplits splits = load_images(options.name, options.data_dir);
        document["train"] = describe(splits.train);
        document["test"] = describe(splits.test);
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
