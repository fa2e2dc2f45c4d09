#include "tensor/instructions.h"

#include <hwy/targets.h>

#include <cstdlib>
#include <string>

#include "tensor/error.h"
#include "tensor/option.h"

namespace slimgrad {
namespace {

bool has_avx2() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
    return false;
#endif
}

bool limit() {
    const char* asked = std::getenv("SLIMGRAD_ISA");
    if (!asked || !*asked) return false;
    require(std::string(asked) == "avx2", "[blas] SLIMGRAD_ISA: expected avx2 or nothing, got {}",
            shown(asked));
    require(has_avx2(), "[blas] SLIMGRAD_ISA asks for AVX2, which this processor does not have");
#if defined(__x86_64__)
    hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());  // should kernels have run already
#endif
    // oneDNN reads it before its first product; under its newer name in its newer releases.
    for (const char* name : {"DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"}) setenv(name, "AVX2", 1);
    return true;
}

}  // namespace

bool limited_to_avx2() {
    static const bool limited = limit();
    return limited;
}

}  // namespace slimgrad
