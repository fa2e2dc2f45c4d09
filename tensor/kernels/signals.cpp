#include "tensor/kernels/signals.h"

#include <omp.h>

#include <initializer_list>

namespace slimgrad {
namespace {

sigset_t asynchronous() {
    sigset_t all;
    sigfillset(&all);
    for (const int error : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS})
        sigdelset(&all, error);
    return all;
}

const sigset_t held = asynchronous();

/// The threads that OpenMP has made for this one never need a signal. They stay until their number
/// changes, so once is enough until then.
void hold_in_workers() {
    thread_local int last = 1;
    if (omp_in_parallel() != 0) return;
    const int wanted = omp_get_max_threads();
    if (wanted == last) return;
    last = wanted;
#pragma omp parallel num_threads(wanted)
    if (omp_get_thread_num() > 0) pthread_sigmask(SIG_BLOCK, &held, nullptr);
}

}  // namespace

SignalsHeld::SignalsHeld() {
    hold_in_workers();
    pthread_sigmask(SIG_BLOCK, &held, &before_);
}

SignalsHeld::~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace slimgrad
