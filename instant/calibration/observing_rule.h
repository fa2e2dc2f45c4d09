#pragma once

#include <memory>

#include "instant/calibration/gram.h"
#include "instant/calibration/row_energies.h"
#include "nn/backward_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What a layer adds its x and its g_y to; each may be null.
struct LayerStatistics {
    std::shared_ptr<Gram> x{}, g{};
    std::shared_ptr<RowEnergies> rows{};  // of g_y, for the weights of x
    bool skip_padding = false;            // of x

    explicit operator bool() const { return x || g || rows; }
    void add_x(const Tensor& x_matrix, const LinearCall& call) const;
    void add_g(const Tensor& g_matrix, const LinearCall& call) const;
};

/// The exact rule, watched. What it multiplies are the matrices, which it needs in any case.
class ObservingRule final : public BackwardRule {
  public:
    explicit ObservingRule(LayerStatistics statistics) : statistics_(std::move(statistics)) {}
    std::string name() const override { return "observing"; }
    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

  private:
    LayerStatistics statistics_;
};

/// How many samples of a training step are observed: those of `steps` steps are `samples` together,
/// spread evenly.
struct ObservedShare {
    std::int64_t samples = 0, steps = 1;
    /// Of the batch of this step the first so many.
    std::int64_t of(std::uint64_t step) const;
    bool operator==(const ObservedShare&) const = default;
};

/// Another rule, watched: some samples of each step count as observed, x in forward, where it is
/// exact, and g_y as it arrives: what rules of layers above dropped of it is missing.
class WatchedRule final : public BackwardRule {
  public:
    WatchedRule(std::shared_ptr<const BackwardRule> rule, LayerStatistics statistics,
                ObservedShare share)
        : rule_(std::move(rule)), statistics_(std::move(statistics)), share_(share) {}
    std::string name() const override { return rule_->name(); }
    bool applies(const LinearCall& call) const override { return rule_->applies(call); }
    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

  private:
    std::int64_t observed(const LinearCall& call) const;
    void observe(const LinearInput& x, const LinearCall& call) const;

    std::shared_ptr<const BackwardRule> rule_;
    LayerStatistics statistics_;
    ObservedShare share_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
