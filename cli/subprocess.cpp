#include "cli/subprocess.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <iterator>
#include <thread>
#include <utility>

#include "cli/interrupt.h"
#include "tensor/error.h"

namespace slimgrad::cli {

int run_self(const std::vector<std::string>& arguments) {
    // Everything is prepared before fork: after it, only async-signal-safe calls are allowed.
    std::vector<std::string> words = {"slimgrad"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    const pid_t parent = getpid(), child = fork();
    require(child >= 0, "[compare] cannot start a process: {}", std::strerror(errno));
    if (child == 0) {
        setpgid(0, 0);  // Ctrl-C reaches the parent only, which passes it on once
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) _exit(127);  // it died before that
        const int null = open("/dev/null", O_WRONLY);
        if (null >= 0) dup2(null, STDOUT_FILENO);
        execv("/proc/self/exe", argv.data());
        _exit(127);
    }
    int status = 0;
    bool passed_on = false;
    for (pid_t ended = 0; ended != child;) {
        ended = waitpid(child, &status, WNOHANG);
        require(ended >= 0, "[compare] lost the process of a run: {}", std::strerror(errno));
        if (ended == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
        if (interrupted() && !std::exchange(passed_on, true)) kill(child, SIGTERM);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string ask_self(const std::vector<std::string>& arguments, const std::string& input) {
    std::vector<std::string> words = {"slimgrad"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    int in[2], out[2];
    require(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0,
            "[process] cannot make a pipe: {}", std::strerror(errno));
    // The input is short enough for the pipe to hold it.
    const bool written = write(in[1], input.data(), input.size()) == std::ssize(input);
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execv("/proc/self/exe", argv.data());
        _exit(127);
    }
    for (const int end : {in[0], in[1], out[1]}) close(end);
    std::string answer;
    char buffer[4096];
    for (ssize_t n = 0; child > 0 && (n = read(out[0], buffer, sizeof buffer)) != 0;)
        if (n > 0)
            answer.append(buffer, static_cast<std::size_t>(n));
        else if (errno != EINTR)
            break;
    close(out[0]);
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    require(written && child > 0 && status == 0, "[process] a process of its own failed");
    return answer;
}

}  // namespace slimgrad::cli
