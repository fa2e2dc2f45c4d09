#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "instant/lab/gradient_study.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// How good the gradients of a rule are for one layer alone, and why they are not better: is it the
// same that is missed each time (bias), or does it average out over the rule's random draws
// (variance)?

/// An estimate with the half width of its interval.
struct Estimate {
    double value = 0, margin = 0;
};

/// The errors e_k = ĝ_k − g of K draws of an approximate gradient, over all batches that were
/// added, as shares of Σ ‖g‖²:
///
///   bias²      the mean of ⟨e_j, e_k⟩ over all pairs j ≠ k, an unbiased estimate of ‖E ĝ − g‖²
///   error²     the mean of ‖e_k‖²
///   variance   error² − bias²
///
/// Intervals are those of the jackknife over the draws.
class DrawErrors {
  public:
    /// One of each draw, K the same each time; K = 1 of a rule that draws nothing.
    void add(const std::vector<Tensor>& draws, const Tensor& exact);
    bool empty() const { return count_ == 0; }
    /// Σ ‖g‖².
    double energy() const { return energy_; }

    /// NaN if nothing was added, or only zeros.
    Estimate error(double confidence = 0.99) const;
    Estimate bias(double confidence = 0.99) const;
    Estimate variance(double confidence = 0.99) const;

  private:
    struct Shares {
        double error, bias;
    };
    /// Over the draws but one; over all where that is none of them.
    Shares shares_without(std::size_t left_out) const;
    template <class F>
    Estimate jackknife(F of, double confidence) const;

    std::size_t count_ = 0;
    double energy_ = 0;
    std::vector<double> products_;  // (K, K): ⟨e_j, e_k⟩
};

struct LayerDraws {
    std::string name;
    DrawErrors gx, gw;
};

/// Each layer alone, as in local_errors: its rule is given the exact x and g_y, `draws` times with
/// another seed. A rule whose second draw equals its first one is asked no more. An entry for every
/// linear map, in order of visit; empty where a gradient is not made. What rules keep as an
/// activation `codec` packs, if there is one.
std::vector<LayerDraws> draw_errors(Module& model, const std::function<void()>& run,
                                    std::int64_t draws, const Codec* codec = nullptr);

/// The best that any subspace of R directions can do: each sample's own leading singular vectors,
/// one subspace for both products, x exact (Eckart and Young). What it costs is not counted.
class OptimalRule final : public BackwardRule {
  public:
    /// Without a side, the shorter axis.
    OptimalRule(std::int64_t rank, std::optional<Side> side) : rank_(rank), side_(side) {}
    std::string name() const override { return "optimum"; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override;
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override;

  private:
    std::int64_t rank_;
    std::optional<Side> side_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
