#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "instant/methods/low_rank_rule.h"
#include "nn/linear.h"
#include "tensor/allocator.h"
#include "tensor/ops.h"

namespace slimgrad {
namespace {

/// One figure of the kernel's account of this process, in bytes: "VmRSS" now, "VmHWM" at its
/// highest.
std::int64_t process_bytes(const std::string& field) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1)) * 1024;
    return 0;
}

/// Starts a new high-water mark of the process.
bool reset_process_peak() {
    return static_cast<bool>(std::ofstream("/proc/self/clear_refs") << "5");
}

/// BLAS keeps packing buffers of its own once it has used them. They belong to the process, not to
/// a step: touch them before measuring, on memory that is not the library's.
void warm_up_blas(std::int64_t rows, std::int64_t width) {
    std::vector<real> x(static_cast<std::size_t>(rows * width), 1), y(x.size());
    std::vector<real> w(static_cast<std::size_t>(width * width), 1);
    for (const Op op : {Op::none, Op::transpose})
        gemm(rows, width, width, {x.data(), width}, {w.data(), width, op}, y.data(), width);
    gemm(width, width, rows, {x.data(), width, Op::transpose}, {y.data(), width}, w.data(), width);
}

constexpr std::int64_t batch = 512;

struct Peaks {
    double ledger, process;
};

/// A training step of eight linear layers whose activations dwarf their weights.
Peaks step_of_a_deep_chain(const std::shared_ptr<const BackwardRule>& rule) {
    Stream stream(1, "memory");
    std::vector<std::unique_ptr<Linear>> layers;
    for (int i = 0; i < 8; ++i) {
        layers.push_back(std::make_unique<Linear>(256, 256, stream));
        layers.back()->set_rule(rule);
    }
    const auto step = [&](std::int64_t samples) {
        Tape tape;
        Var x = tape.input(Tensor::full({samples, 64, 256}, 1));
        for (const auto& layer : layers) x = layer->forward(x);
        const Tensor gy = Tensor::full(x.shape(), 1);
        tape.backward(x, gy);
        for (const auto& layer : layers) zero_grad(*layer);
    };
    step(1);
    warm_up_blas(batch * 64, 256);
    allocator::trim();
    EXPECT_TRUE(reset_process_peak());
    ledger().reset_peaks();
    const std::int64_t held = ledger().total().live, resident = process_bytes("VmRSS");
    step(batch);
    return {static_cast<double>(ledger().total().peak - held),
            static_cast<double>(process_bytes("VmHWM") - resident)};
}

TEST(Memory, TheLedgersPeakIsThePeakOfTheProcess) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "the sanitizer's own memory would be measured";
#endif
    const Peaks vanilla = step_of_a_deep_chain(ExactRule::instance());
    EXPECT_GT(vanilla.ledger, 8.0 * batch * 64 * 256 * sizeof(real));
    EXPECT_NEAR(vanilla.process / vanilla.ledger, 1, 0.1);
}

TEST(Memory, CompressedActivationsLowerThePeakOfTheProcess) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "the sanitizer's own memory would be measured";
#endif
    auto projector = std::make_shared<Projector>();
    projector->basis = Tensor::full({8, 64}, 0.01F);
    const Peaks low = step_of_a_deep_chain(std::make_shared<LowRankRule>(projector, projector));
    EXPECT_NEAR(low.process / low.ledger, 1, 0.1);
    EXPECT_LT(low.process, 6.0 * batch * 64 * 256 * sizeof(real))
        << "nine would be kept by vanilla";
}

}  // namespace
}  // namespace slimgrad
