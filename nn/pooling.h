#pragma once

#include "nn/conv2d.h"
#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct PoolOptions {
    Size2d kernel;
    Size2d stride = 0;  // 0 is the kernel: windows side by side
    Size2d padding = 0;
    bool count_include_pad = true;  // AvgPool2d: pixels of the padding count, as zeros
};

/// What both pooling layers share: a window that slides over (B, C, H, W), H and W apart.
class Pool2d : public Module {
  public:
    void visit(Visitor&) override {}
    const PoolOptions& options() const { return options_; }

  protected:
    /// Throws Error unless kernel and stride are positive and the padding is at most half a kernel.
    Pool2d(const char* kind, const PoolOptions& options);
    /// The window on x. Throws Error unless x is (B, C, H, W) and the kernel fits.
    Window2d window_on(const Var& x) const;

  private:
    PoolOptions options_;
};

/// The mean of each window, with the pixels of the padding or without (PyTorch's
/// count_include_pad).
class AvgPool2d final : public Pool2d {
  public:
    explicit AvgPool2d(const PoolOptions& options) : Pool2d("avg_pool2d", options) {}
    Var forward(const Var& x) override;
    std::string kind() const override { return "avg_pool2d"; }
};

/// The maximum of each window, the first one of equals; NaN wins. Pixels of the padding never do.
class MaxPool2d final : public Pool2d {
  public:
    explicit MaxPool2d(const PoolOptions& options) : Pool2d("max_pool2d", options) {}
    Var forward(const Var& x) override;
    std::string kind() const override { return "max_pool2d"; }
};

/// The mean of each channel: (B, C, H, W) -> (B, C).
class GlobalAvgPool2d final : public Module {
  public:
    /// Throws Error unless x is (B, C, H, W) with at least one pixel.
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "global_avg_pool2d"; }
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
