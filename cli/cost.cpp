#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "instant/cost/architectures.h"
#include "train/cost_document.h"
#include "train/table.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

struct Options {
    bool json = false, layers = false;
    CostOptions cost;
};

/// Whole numbers in groups of three digits.
std::string grouped(const json& number) {
    if (number.is_null()) return "-";
    std::string digits = fmt::format("{:.0f}", number.get<double>());
    for (auto i = std::ssize(digits) - 3; i > 0; i -= 3)
        digits.insert(static_cast<std::size_t>(i), " ");
    return digits;
}
std::string percent(const json& share) {
    return share.is_null() ? "-" : fmt::format("{:.2f} %", 100 * share.get<double>());
}
std::string times(const json& ratio) {
    return ratio.is_null() ? "-" : fmt::format("{:.2f}x", ratio.get<double>());
}

struct Row {
    const char* what;
    const char* pointer;
    std::string (*show)(const json&);
};
constexpr Row vanilla_rows[] = {
    {"forward", "/forward", grouped},
    {"g_w", "/g_w", grouped},
    {"g_x", "/g_x", grouped},
    {"backward = g_w + g_x", "/backward", grouped},
    {"  of it, maps that methods compress", "/compressible/backward", grouped},
    {"saved bytes", "/saved_bytes", grouped},
    {"  of them, those maps", "/compressible/saved_bytes", grouped},
};
constexpr Row method_rows[] = {
    {"forward", "/forward", grouped},
    {"compress", "/compress", grouped},
    {"g_w", "/g_w", grouped},
    {"g_x", "/g_x", grouped},
    {"backward = compress + g_w + g_x", "/backward", grouped},
    {"  vanilla's", "/vanilla/backward", grouped},
    {"  times less", "/times_less/backward", times},
    {"saved bytes", "/saved_bytes", grouped},
    {"  vanilla's", "/vanilla/saved_bytes", grouped},
    {"  times less", "/times_less/saved_bytes", times},
    {"calibration, spread over its steps", "/calibration/per_sample", grouped},
    {"  of vanilla's forward and backward", "/calibration/of_vanilla", percent},
    {"  of this method's", "/calibration/of_method", percent},
    {"backward with calibration", "/backward_with_calibration", grouped},
    {"  times less than vanilla", "/times_less/backward_with_calibration", times},
    {"forward, backward and calibration", "/total_with_calibration", grouped},
    {"  times less than vanilla", "/times_less/total_with_calibration", times},
};
constexpr Row once_rows[] = {
    {"projectors, bytes", "/projector_bytes", grouped},
    {"one calibration", "/calibration/total", grouped},
    {"  passes", "/calibration/passes", grouped},
    {"  autocorrelations", "/calibration/gram", grouped},
    {"  decompositions (nominal)", "/calibration/decomposition", grouped},
};

template <std::size_t N>
std::string table_of(const char* title, const Row (&rows)[N], const json& document) {
    Table table{{{title, "paper", "executed"}}};
    for (const Row& row : rows) {
        const json::json_pointer at(row.pointer);
        table.rows.push_back(
            {row.what, row.show(document["paper"].at(at)), row.show(document["executed"].at(at))});
    }
    return table.text();
}

std::string layer_table(const json& layers) {
    Table table{{{"layer", "L", "Cx", "Cy", "side", "rank x", "of", "rank g", "of", "compress",
                  "g_w", "g_x", "saved bytes", "projectors"}}};
    const auto limit = [](const json& r) {
        return r.is_null() ? "-" : fmt::format("{:.1f}", r.get<double>());
    };
    const auto rank = [](const json& layer, const std::string& slot) -> std::string {
        if (layer.at("left_vanilla_" + slot).is_number()) return "exact";
        return grouped(layer.at("rank_" + slot));
    };
    for (const json& layer : layers) {
        std::string side;
        for (const char* key : {"side_x", "side_g"})
            if (layer.at(key).is_string())
                side += (side.empty() ? "" : "/") + layer.at(key).get<std::string>();
        table.rows.push_back(
            {layer.at("name"), grouped(layer.at("L")), grouped(layer.at("Cx")),
             grouped(layer.at("Cy")), side.empty() ? "-" : side, rank(layer, "x"),
             limit(layer.at("break_even_x")), rank(layer, "g"), limit(layer.at("break_even_g")),
             grouped(layer.at("compress")), grouped(layer.at("g_w")), grouped(layer.at("g_x")),
             grouped(layer.at("saved_bytes")), grouped(layer.at("projector_bytes"))});
    }
    return table.text();
}

/// What the ranks mean for break-even, in a line; empty if there is nothing to say.
std::string break_even_line(const json& slots, const std::string& choice) {
    const bool left = choice == "vanilla";
    const json& count = slots.at(left ? "left_vanilla" : "beyond_break_even");
    const int x = count.at("x"), g = count.at("g");
    if (x + g == 0) return "";
    return fmt::format(
        "{} x slots and {} g slots {}\n", x, g,
        left ? "are left exact: compressed to this rank they would cost more FLOPs"
             : "cost more FLOPs than exact ones (--break-even vanilla leaves those exact)");
}

/// What the whole model keeps a sample, and the ten values that take most of it.
std::string whole_model_text(const json& whole) {
    constexpr std::size_t most = 10;
    Table table{{{"largest kept values", "slot", "bytes a sample"}}};
    for (const json& holder : whole["holders"]) {
        if (table.rows.size() > most) break;
        table.rows.push_back({holder["layer"], holder["slot"], grouped(holder["saved_bytes"])});
    }
    return fmt::format(
        "\nwhole model, loss included: {} saved bytes a sample, vanilla's {} ({})\n{}",
        grouped(whole["saved_bytes"]), grouped(whole["vanilla"]["saved_bytes"]),
        times(whole["times_less"]["saved_bytes"]), table.text());
}

int cost(const Options& options) {
    const CostOptions& o = options.cost;
    const json document = cost_document(o);
    if (options.json) {
        print_json(document);
        return exit_done;
    }
    fmt::print("{} {} {}, batch {}\n", o.model, o.train_blocks,
               document["method"].get<std::string>(), o.batch);
    if (o.method == "vanilla") {
        fmt::print("{}", table_of("a sample", vanilla_rows, document));
    } else {
        const bool heeds_break_even =
            std::ranges::count(find_method(o.method).heeds, "break_even") > 0;
        const std::string once =
            fmt::format("in all (calibration: {} batches of {})", o.calibrate_batches, o.batch);
        fmt::print(
            "{}\n{}{}", table_of("a sample", method_rows, document),
            table_of(once.c_str(), once_rows, document),
            heeds_break_even ? break_even_line(document["executed"]["slots"], o.break_even) : "");
    }
    if (options.layers)
        for (const char* convention : {"paper", "executed"})
            fmt::print("\n{}; \"of\" is the break-even rank of the slot before it\n{}", convention,
                       layer_table(document[convention]["layers"]));
    if (document.contains("whole_model"))
        fmt::print("{}", whole_model_text(document["whole_model"]));
    return exit_done;
}

}  // namespace

Action add_cost(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "cost", "FLOPs and bytes of the linear maps in closed form, in both conventions",
        "slimgrad cost --model bert-base --tokens 512 --train-blocks last:1 --method instant "
        "--rank-x 8 --rank-g 8",
        options->json);
    command->add_flag("--layers", options->layers, "a table of all layers as well");
    for_each_option(options->cost, [&](const Option& option, auto& value) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, bool>)
            command->add_flag(flag(option.name), value, option.help);
        else
            add_option(*command, option, value);
    });
    return [options, command] {
        print_notes(without_effect(options->cost, given(*command)));
        return cost(*options);
    };
}

}  // namespace slimgrad::cli
