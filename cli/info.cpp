#include <fmt/format.h>
#include <omp.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/output.h"
#include "tensor/blas.h"
#include "tensor/kernels/gemm.h"
#include "tensor/kernels/skinny.h"
#include "train/progress.h"

namespace slimgrad::cli {
namespace {

int info(bool json) {
    const BlasInfo& blas_info = blas();
    const std::string why = blas_info.chosen_by_user                  ? "OPENBLAS_CORETYPE"
                            : blas_info.kernels == blas_info.detected ? "OpenBLAS"
                                                                      : "slimgrad";
    if (json) {
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
                                      {"processors", omp_get_num_procs()}};
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
    auto json = std::make_shared<bool>(false);
    add_command(program, "info", "Version, processor, BLAS and the kernels in use, threads",
                "slimgrad info --json", *json);
    return [json] { return info(*json); };
}

}  // namespace slimgrad::cli
