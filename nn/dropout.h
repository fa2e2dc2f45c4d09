#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// While training, sets each element to 0 with probability p and scales the others by 1 / (1 - p);
/// in evaluation y = x. Keeps one bit an element. The mask of a sample is a function of the tape's
/// seed and step, of the order of random layers in the graph and of the sample's index, so it does
/// not depend on how a batch is split.
class Dropout final : public Module {
  public:
    /// Throws Error unless 0 <= p <= 1.
    explicit Dropout(double p = 0.5);
    /// x: (B, ...).
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "dropout"; }
    double p() const { return p_; }

  private:
    double p_;
};

/// The mask that keeps each of n elements of every sample with probability 1 - p, drawn for the
/// `draw`-th random layer of a graph. Bit b n + i belongs to element i of sample b.
std::shared_ptr<const BitMask> dropout_mask(const TapeOptions& options, std::uint32_t draw,
                                            double p, std::int64_t batch, std::int64_t n);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
