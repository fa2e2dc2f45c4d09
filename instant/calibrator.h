#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "instant/low_rank_rule.h"
#include "instant/method.h"
#include "nn/linear_map.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

/// What a method does with one linear map now; an empty rank is a slot that is not compressed.
struct LayerRanks {
    std::string name;
    std::optional<Side> side_x, side_g;
    std::optional<std::int64_t> rank_x, rank_g;
    std::string note;  // why a layer that the method could compress stays vanilla
};

/// Gives the linear maps of a model their rules (INSTANT, Alg. 1). Before the first calibration,
/// and for the method `vanilla`, they are exact.
///
/// Calibration observes, with compression off, the autocorrelations C_X = Σ_b x_b x_bᵀ and
/// C_G = Σ_b g_b g_bᵀ of each layer (or Σ_b x_bᵀ x_b and Σ_b g_bᵀ g_b on the channel side); nothing
/// else is kept, so memory does not grow with the number of batches. Their leading eigenvectors
/// become P and Q. Layers of one input group share C_X and P.
class Calibrator {
  public:
    /// Throws Error for an unknown method or options out of range. The model must outlive it.
    Calibrator(Module& model, MethodOptions options);

    const MethodOptions& options() const { return options_; }
    /// False for vanilla.
    bool needed() const;

    /// Runs the caller's batches (training forward and backward on tapes with update_statistics
    /// off; each mini-batch's loss weighted by its share of the batch) and installs new projectors.
    /// All FLOPs inside count under the phase `calibrate`. Parameter gradients are left empty. If
    /// the callback throws, or statistics are not finite (Error that names the layer), the old
    /// rules stay.
    void calibrate(const std::function<void()>& run_batches);

    /// Every linear map of the model.
    std::vector<LayerRanks> ranks() const;

    /// The projectors, named for a checkpoint, and their return from one. Restoring throws Error
    /// for names or shapes that do not belong to this model.
    using State = std::vector<std::pair<std::string, Tensor>>;
    State state() const;
    void restore(const State& state);

  private:
    using Projectors = std::map<std::string, std::shared_ptr<const Projector>>;
    void install();

    Module& model_;
    MethodOptions options_;
    Slots slots_;
    Projectors p_;  // by input group
    Projectors q_;  // by layer
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
