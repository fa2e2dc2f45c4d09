// A signal may come at any moment: its handler must find the stack, whatever kernel runs.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <csignal>

#include "tensor/blas.h"
#include "tensor/kernels/convolution.h"
#include "tensor/kernels/gemm.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

std::uintptr_t stack_begin, stack_end;
pthread_t test_thread;
std::atomic<int> seen, off_the_stack, on_other_threads;

void look(int) {
    ++seen;
    const volatile char here = 0;
    const auto address = reinterpret_cast<std::uintptr_t>(&here);
    if (pthread_equal(pthread_self(), test_thread) == 0)
        ++on_other_threads;
    else if (address < stack_begin || address >= stack_end)
        ++off_the_stack;
}

/// Sends itself a signal all the time.
class Alarm {
  public:
    Alarm() {
        struct sigaction action {};
        action.sa_handler = look;
        action.sa_flags = SA_RESTART;
        sigaction(SIGALRM, &action, &before_);
        ring(50);
    }
    ~Alarm() {
        ring(0);
        sigaction(SIGALRM, &before_, nullptr);
    }

  private:
    static void ring(int microseconds) {
        const timeval time{0, microseconds};
        const itimerval timer{time, time};
        setitimer(ITIMER_REAL, &timer, nullptr);
    }
    struct sigaction before_ {};
};

TEST(Signals, HandlersFindTheStackWhileProductsRun) {
    test_thread = pthread_self();
    pthread_attr_t attributes;
    pthread_getattr_np(test_thread, &attributes);
    void* begin = nullptr;
    std::size_t size = 0;
    pthread_attr_getstack(&attributes, &begin, &size);
    pthread_attr_destroy(&attributes);
    stack_begin = reinterpret_cast<std::uintptr_t>(begin);
    stack_end = stack_begin + size;

    Stream stream(1, "test");
    const Tensor a = normal({384, 128}, 0, 1, stream), b = normal({512, 128}, 0, 1, stream);
    const Tensor x = normal({4, 8, 12, 12}, 0, 1, stream), w = normal({9, 8, 3, 3}, 0, 1, stream);
    const Window2d window{{12, 3}, {12, 3}};
    const int before = threads();
    for (const int n : {1, 2}) {
        set_threads(n);
        // Forward, g_w, g_x, and a product that is small.
        const auto product = [&] {
            const Tensor y = matmul(a, b, Op::none, Op::transpose);
            const Tensor gw = matmul(y, a, Op::transpose, Op::none), gx = matmul(y, gw);
            return matmul(gx.rows(0, 8), gx.rows(0, 24), Op::none, Op::transpose);
        };
        const Tensor expected = product(), y = conv_forward(x, w, window, 1);
        seen = off_the_stack = on_other_threads = 0;
        {
            const Alarm alarm;
            const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
            while (std::chrono::steady_clock::now() < end) {
                ASSERT_TRUE(identical(product(), expected));
                ASSERT_TRUE(identical(conv_forward(x, w, window, 1), y));
            }
        }
        EXPECT_GT(seen, 20) << n << " threads";
        EXPECT_EQ(off_the_stack, 0) << n << " threads";
        // Where oneDNN multiplies, its threads see none at all.
        const bool onednn = gemm_library().starts_with("oneDNN");
        EXPECT_TRUE(!onednn || on_other_threads == 0) << n << " threads: " << on_other_threads;
    }
    set_threads(before);
}

}  // namespace
}  // namespace slimgrad
