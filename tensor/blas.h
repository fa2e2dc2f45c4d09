#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "tensor/error.h"

namespace slimgrad {

/// The BLAS that the library runs on, and whether it uses what this processor offers.
struct BlasInfo {
    std::string config;           // OpenBLAS's own description of its build
    std::string detected;         // the kernels it chose by itself
    std::string kernels;          // the kernels in use
    bool chosen_by_user = false;  // through OPENBLAS_CORETYPE
    bool openmp = false;          // the variant that shares its threads with the library
};

/// Loads the right kernels, once a process, before the first product. OpenBLAS 0.3.21 (Debian
/// bookworm) does not recognise recent processors and falls back to kernels that are two to five
/// times slower; this looks at CPUID and corrects it. A choice that the user made through
/// OPENBLAS_CORETYPE is respected, and a limit of instructions (instructions.h).
const BlasInfo& blas();

/// Threads for the kernels from now on (OpenMP and BLAS), whichever thread of the process calls
/// them. It waits for products that OpenBLAS computes now. Throws Error unless `threads` is from 1
/// to max_threads().
void set_threads(std::int64_t threads);
/// How many threads may be asked for: 256, or four for each processor if that is more. Beyond it a
/// product only waits for its threads, for minutes.
std::int64_t max_threads();
/// Brings the choice of set_threads to the calling thread: OpenMP keeps one for each thread that a
/// process makes by itself. Every tape does so; code without tapes need not unless it minds.
void adopt_threads();
int threads();

/// Lives around every call of OpenBLAS and LAPACK. OpenBLAS drops the buffers of its threads when
/// their number changes, also those that a product in another thread still uses: set_threads waits
/// until no such call is open.
class BlasCall {
  public:
    BlasCall();
    ~BlasCall();
    BlasCall(const BlasCall&) = delete;
    BlasCall& operator=(const BlasCall&) = delete;

  private:
    bool locked_;  // not inside a parallel region, where products run on their own thread alone
};

/// A length as BLAS takes it. Throws Error if it does not fit.
template <class Length>
Length blas_length(std::int64_t length) {
    require(length <= std::numeric_limits<Length>::max(),
            "[blas] a length of {} is more than this BLAS takes", length);
    return static_cast<Length>(length);
}

/// The processor's name, as the system states it.
std::string cpu_name();

}  // namespace slimgrad
