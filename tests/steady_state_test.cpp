// A training step in the steady state asks the system for nothing: neither the library, nor BLAS,
// nor the C library behind either of them.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <tuple>

#include "instant/calibration/calibrator.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "optim/optimizer.h"
#include "tensor/allocator.h"
#include "tensor/random.h"

#ifdef __has_feature  // clang
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLIMGRAD_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(SLIMGRAD_SANITIZED)
#define SLIMGRAD_COUNTS_ALLOCATIONS 0  // the sanitizer has put its own malloc there
#elif defined(__GLIBC__)
#define SLIMGRAD_COUNTS_ALLOCATIONS 1
#else
#define SLIMGRAD_COUNTS_ALLOCATIONS 0
#endif

namespace {

/// What has been asked for since the program began, by anyone in it.
struct Requests {
    std::int64_t heap = 0;     // blocks from malloc and its kin
    std::int64_t large = 0;    // those of them of 64 KB or more
    std::int64_t mapped = 0;   // those for which malloc went to the system each time
    std::int64_t regions = 0;  // calls of mmap
    std::int64_t arenas = 0;   // bytes that malloc holds from the system
    std::int64_t pool = 0;     // how often the tensors' allocator has grown
};

std::atomic<std::int64_t> heap, large, mapped, regions;

}  // namespace

#if SLIMGRAD_COUNTS_ALLOCATIONS
// These stand in front of the C library's own in the whole process.
extern "C" {
void* __libc_malloc(std::size_t);                 // NOLINT
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT
void* __libc_realloc(void*, std::size_t);         // NOLINT
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT

namespace {
void* counted(void* block, std::size_t bytes) {
    constexpr std::size_t is_mapped = 2;  // glibc's flag in the word before a block
    heap.fetch_add(1, std::memory_order_relaxed);
    if (bytes >= 1u << 16) large.fetch_add(1, std::memory_order_relaxed);
    if (block != nullptr && (static_cast<const std::size_t*>(block)[-1] & is_mapped) != 0)
        mapped.fetch_add(1, std::memory_order_relaxed);
    return block;
}
}  // namespace

void* malloc(std::size_t bytes) { return counted(__libc_malloc(bytes), bytes); }
void* calloc(std::size_t n, std::size_t bytes) {
    return counted(__libc_calloc(n, bytes), n * bytes);
}
void* realloc(void* block, std::size_t bytes) {
    return counted(__libc_realloc(block, bytes), bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) {
    return counted(__libc_memalign(alignment, bytes), bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) {
    *block = memalign(alignment, bytes);
    return *block != nullptr ? 0 : ENOMEM;
}
void* mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) {
    regions.fetch_add(1, std::memory_order_relaxed);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel gives the address as a number
    return reinterpret_cast<void*>(
        syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}
}
#endif

namespace slimgrad {
namespace {

Requests requests() {
    Requests r{heap, large, mapped, regions, 0, allocator::system_requests()};
#if SLIMGRAD_COUNTS_ALLOCATIONS
    const auto info = mallinfo2();
    r.arenas = static_cast<std::int64_t>(info.arena + info.hblkhd);
#endif
    return r;
}

class SteadyState : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(SteadyState, AStepAsksTheSystemForNothing) {
    const auto [name, method] = GetParam();
    ModelConfig config;
    config.dropout = 0.1;
    const std::unique_ptr<Module> model = make_model(name, config);
    const auto optimizer = make_optimizer(*model, {});
    MethodOptions options;
    options.method = method;
    options.rank_x = options.rank_g = 4;
    options.batch = 8;
    Calibrator calibrator(*model, options);
    Stream stream(1, "images");
    const Tensor x = normal({options.batch, 3, 32, 32}, 0, 1, stream);
    const std::vector<std::int32_t> labels = {0, 1, 2, 3, 4, 5, 6, 7};
    std::uint64_t count = 0;
    const auto pass = [&] {
        TapeOptions each_step;
        each_step.step = count++;
        Tape tape(each_step);
        tape.backward(cross_entropy(model->forward(tape.constant(x)), labels));
    };
    const auto step = [&] {
        pass();
        optimizer->step();
        zero_grad(*model);
    };
    calibrator.calibrate(pass);
    zero_grad(*model);

    // Threads meet in another order each time, so malloc's arenas may still grow a little at first;
    // in the end there must be five steps in a row that ask for nothing.
    constexpr int steps = 5;
    Requests before, after;
    for (int attempt = 0; attempt < 20; ++attempt) {
        before = requests();
        for (int i = 0; i < steps; ++i) step();
        after = requests();
        if (after.pool == before.pool && after.arenas == before.arenas &&
            after.mapped == before.mapped && after.regions == before.regions)
            break;
    }
    EXPECT_EQ(after.pool, before.pool);
    EXPECT_EQ(after.arenas, before.arenas);
    EXPECT_EQ(after.mapped, before.mapped);
    EXPECT_EQ(after.regions, before.regions);
    RecordProperty("heap_blocks_a_step", std::to_string((after.heap - before.heap) / steps));
    RecordProperty("large_heap_blocks_a_step",
                   std::to_string((after.large - before.large) / steps));
}

INSTANTIATE_TEST_SUITE_P(Models, SteadyState,
                         testing::Combine(testing::Values("vit-micro", "resnet20"),
                                          testing::Values("vanilla", "instant")),
                         [](const auto& run) {
                             std::string name =
                                 std::string(std::get<0>(run.param)) + "_" + std::get<1>(run.param);
                             std::erase(name, '-');
                             return name;
                         });

TEST(SteadyStateHook, SeesWhatGoesToTheSystem) {
#if !SLIMGRAD_COUNTS_ALLOCATIONS
    GTEST_SKIP() << "there is another malloc";
#endif
    requests();  // makes the allocator itself
    const Requests before = requests();
    void* volatile block = std::malloc(64 << 20);  // above glibc's largest threshold
    const Requests after = requests();
    std::free(block);
    EXPECT_EQ(after.heap - before.heap, 1);
    EXPECT_EQ(after.large - before.large, 1);
    EXPECT_EQ(after.mapped - before.mapped, 1);
    EXPECT_GT(after.arenas, before.arenas);
}

}  // namespace
}  // namespace slimgrad
