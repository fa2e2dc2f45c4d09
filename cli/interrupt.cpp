#include "cli/interrupt.h"

#include <atomic>
#include <csignal>

namespace slimgrad::cli {
namespace {

std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // as a signal handler must have it

void raise_flag(int) { flag = true; }

}  // namespace

void catch_interrupts() {
    struct sigaction action {};
    action.sa_handler = raise_flag;
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // system calls are not restarted
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return flag; }

}  // namespace slimgrad::cli
