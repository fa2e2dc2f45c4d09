#pragma once

#include <csignal>

namespace slimgrad {

/// While one lives, no signal is handled on this thread, nor on the OpenMP threads that work for
/// it; what comes in the meantime comes afterwards. For calls of oneDNN: its generated kernels for
/// AVX2 let the stack pointer point into a buffer on the heap, and a handler that runs then writes
/// its frame over whatever lies before that buffer. A program's Ctrl-C, Python's and a profiler's
/// are such handlers. Signals of errors (SIGSEGV, SIGFPE, ...) are not held. Costs two system
/// calls.
class SignalsHeld {
  public:
    SignalsHeld();
    ~SignalsHeld();
    SignalsHeld(const SignalsHeld&) = delete;
    SignalsHeld& operator=(const SignalsHeld&) = delete;

  private:
    sigset_t before_;
};

}  // namespace slimgrad
