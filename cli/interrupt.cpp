#include "cli/interrupt.h"

#include <atomic>
#include <csignal>

namespace slimgrad::cli {
namespace {

std::atomic<bool> flag{false}, reader_lost{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // as a signal handler must have it

void interrupt(int signal) {
    if (!flag.exchange(true)) return;
    std::signal(signal, SIG_DFL);
    std::raise(signal);  // takes effect when this returns
}

void lose_reader(int) { reader_lost = true; }

void handle(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);  // system calls are not restarted
}

bool is_ignored(int signal) {
    struct sigaction action {};
    return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

void ignore_write_signals() {
    for (const int signal : {SIGPIPE, SIGXFSZ}) handle(signal, SIG_IGN);
}

void catch_interrupts() {
    for (const int signal : {SIGINT, SIGTERM}) handle(signal, interrupt);
    if (!is_ignored(SIGHUP)) handle(SIGHUP, interrupt);
    handle(SIGPIPE, lose_reader);
}

bool interrupted() { return flag || reader_lost; }

}  // namespace slimgrad::cli
