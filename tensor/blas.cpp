#include "tensor/blas.h"

#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <shared_mutex>

#include "tensor/instructions.h"
#include "tensor/option.h"

// Exported by every OpenBLAS built for several processors (DYNAMIC_ARCH), but in no header.
extern "C" {
char* openblas_get_corename();
[[gnu::weak]] void gotoblas_dynamic_init();
[[gnu::weak]] void gotoblas_dynamic_quit();
}

namespace slimgrad {
namespace {

/// The best kernel set of OpenBLAS 0.3.21 for this processor; empty where its own choice is best.
std::string best_kernels() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!limited_to_avx2() && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "Haswell";
#endif
    return "";
}

/// How much of the processor a kernel set uses: 2 for AVX-512, 1 for AVX2, 0 for less. Cooperlake's
/// threaded kernels are reported to give wrong results in 0.3.21, so they count as something to
/// replace.
int level(const std::string& kernels) {
    if (kernels == "SkylakeX" || kernels == "SapphireRapids") return 2;
    for (const char* avx2 : {"Haswell", "Zen", "Cooperlake"})
        if (kernels == avx2) return 1;
    return 0;
}

BlasInfo load() {
    BlasInfo info;
    info.detected = openblas_get_corename();
    info.chosen_by_user = std::getenv("OPENBLAS_CORETYPE") != nullptr;
    const std::string best = best_kernels();
    const bool other = limited_to_avx2() ? info.detected != "Haswell" && info.detected != "Zen"
                                         : level(info.detected) < level(best);
    if (!info.chosen_by_user && gotoblas_dynamic_init && gotoblas_dynamic_quit && other) {
        setenv("OPENBLAS_CORETYPE", best.c_str(), 1);
        gotoblas_dynamic_quit();
        gotoblas_dynamic_init();
        unsetenv("OPENBLAS_CORETYPE");  // a child process makes its own choice
    }
    info.kernels = openblas_get_corename();
    info.config = openblas_get_config();
    info.openmp = openblas_get_parallel() == OPENBLAS_OPENMP;
    return info;
}

}  // namespace

const BlasInfo& blas() {
    static const BlasInfo info = load();
    return info;
}

namespace {
std::atomic<int> chosen_threads = 0;  // 0: nobody has chosen, OpenMP's own default holds

/// Held shared by calls of OpenBLAS, alone by who changes its threads.
std::shared_mutex& calls() {
    static std::shared_mutex& mutex = *new std::shared_mutex;
    return mutex;
}

}  // namespace

BlasCall::BlasCall() : locked_(omp_in_parallel() == 0) {
    if (locked_) calls().lock_shared();
}

BlasCall::~BlasCall() {
    if (locked_) calls().unlock_shared();
}

void set_threads(std::int64_t threads) {
    check_option("[threads]", {"threads", Integers{1, max_threads()}}, threads);
    blas();
    const int count = static_cast<int>(threads);
    const std::unique_lock alone(calls());
    chosen_threads = count;
    omp_set_num_threads(count);
    openblas_set_num_threads(count);
}

std::int64_t max_threads() { return std::max(256, 4 * omp_get_num_procs()); }

void adopt_threads() {
    thread_local int adopted = 0;
    const int chosen = chosen_threads;
    if (chosen != adopted) omp_set_num_threads(adopted = chosen);
}

int threads() {
    adopt_threads();
    return omp_get_max_threads();
}

std::string cpu_name() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "unknown";
}

}  // namespace slimgrad
