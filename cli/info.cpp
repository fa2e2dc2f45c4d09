#include <fmt/ranges.h>
#include <omp.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/output.h"
#include "instant/methods/method.h"
#include "tensor/blas.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/skinny.h"
#include "train/config.h"
#include "train/option_json.h"
#include "train/progress.h"

namespace slimgrad::cli {
namespace {

struct Options {
    bool json = false, methods = false;
};

std::vector<std::string> options_of(const Method& method) {
    std::vector<std::string> names = method.heeds;
    for (const Option& option : method.options) names.push_back(option.name);
    return names;
}

std::string calibrated(const Method& method) {
    const auto [x, g] = method.calibrated;
    return x && g ? "both slots" : x ? "x slot" : g ? "g slot" : "no";
}

/// The table of methods and that of their options, in Markdown: docs/methods.md holds them.
void print_methods() {
    fmt::print(
        "| method | | kept of x | g_x | calibrated | options |\n|---|---|---|---|---|---|\n");
    for (const Method& method : methods()) {
        std::vector<std::string> options = options_of(method);
        for (std::string& option : options) option = fmt::format("`{}`", option);
        fmt::print("| `{}` | {} | {} | {} | {} | {} |\n", method.name, method.help, method.x_slot,
                   method.g_slot, calibrated(method), fmt::join(options, " "));
    }
    fmt::print("\n| option | default | may be | |\n|---|---|---|---|\n");
    const nlohmann::json defaults = to_json(TrainConfig());
    for (const Option& option : method_options()) {
        nlohmann::json initial = defaults.value(option.name, nlohmann::json());
        if (initial.is_null()) write_option(initial, option.initial);
        fmt::print("| `{}` | {} | {} | {} |\n", option.name,
                   initial.is_null()     ? ""
                   : initial.is_string() ? initial.get<std::string>()
                                         : initial.dump(),
                   describe(option.range), option.help);
    }
}

nlohmann::json methods_json() {
    nlohmann::json all = nlohmann::json::array();
    for (const Method& method : methods()) {
        all.push_back({{"name", method.name},
                       {"help", method.help},
                       {"x_slot", method.x_slot},
                       {"g_slot", method.g_slot},
                       {"calibrated", {{"x", method.calibrated.x}, {"g", method.calibrated.g}}},
                       {"options", options_of(method)}});
    }
    return all;
}

int info(const Options& options) {
    if (options.methods && !options.json) {
        print_methods();
        return exit_done;
    }
    const BlasInfo& blas_info = blas();
    const std::string why = blas_info.chosen_by_user                  ? "OPENBLAS_CORETYPE"
                            : blas_info.kernels == blas_info.detected ? "OpenBLAS"
                                                                      : "slimgrad";
    if (options.json) {
        const nlohmann::json document{{"version", SLIMGRAD_VERSION},
                                      {"cpu", cpu_name()},
                                      {"blas", blas_info.config},
                                      {"openmp", blas_info.openmp},
                                      {"kernels_detected", blas_info.detected},
                                      {"kernels", blas_info.kernels},
                                      {"kernels_chosen_by", why},
                                      {"products", gemm_library()},
                                      {"skinny_products", skinny_target()},
                                      {"threads", threads()},
                                      {"processors", omp_get_num_procs()},
                                      {"methods", methods_json()}};
        print_json(document);
        return exit_done;
    }
    fmt::print(
        "slimgrad  {}\ncpu       {}\nproducts  {}; skinny ones by Highway, {}\nblas      {}\n"
        "kernels   {} (chosen by {}; OpenBLAS detected {})\nthreads   {} on {} processors\n",
        SLIMGRAD_VERSION, cpu_name(), gemm_library(), skinny_target(), blas_info.config,
        blas_info.kernels, why, blas_info.detected, threads(), omp_get_num_procs());
    if (!blas_info.openmp)
        say("slimgrad: this OpenBLAS is not its OpenMP variant; expect slow products\n");
    return exit_done;
}

}  // namespace

Action add_info(CLI::App& program) {
    auto options = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "info", "Version, processor, BLAS and the kernels in use, threads; the methods",
        "slimgrad info --json", options->json);
    command->add_flag("--methods", options->methods,
                      "the table of methods and their options instead");
    return [options] { return info(*options); };
}

}  // namespace slimgrad::cli
