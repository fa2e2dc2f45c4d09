#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "instant/calibration/statistics.h"
#include "instant/methods/low_rank_rule.h"
#include "instant/methods/method.h"
#include "instant/methods/sketch_rule.h"
#include "nn/linear_map.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What the last calibration found for one slot of a linear map.
struct CalibratedSlot {
    Side side = Side::token;
    std::int64_t rank = 0;  // R directions of dim
    std::int64_t dim = 0;
    double energy = 1;      // share of Σ σᵢ² that they keep
    double signal = 1;      // share of Σ σᵢ that they keep
    double break_even = 0;  // R* as executed: layers that share one x have one (break_even.h)
    bool vanilla = false;   // left uncompressed since rank > break_even
};

/// What a method does with one linear map now; an empty rank is a slot that is not compressed.
struct LayerRanks {
    std::string name;
    std::optional<Side> side_x, side_g;
    std::optional<std::int64_t> rank_x, rank_g;
    std::string note;  // why a layer, or a slot, that the method could compress stays vanilla
    std::optional<CalibratedSlot> x, g;  // of the last calibration, also if left vanilla
};

/// Gives the linear maps of a model the rules of a method (method.h). Where these need calibrated
/// subspaces (INSTANT, Alg. 1) the layers are exact until the first calibration.
///
/// Calibration observes, with compression off, the autocorrelations C_X = Σ_b x_b x_bᵀ and
/// C_G = Σ_b g_b g_bᵀ of each layer (or Σ_b x_bᵀ x_b and Σ_b g_bᵀ g_b on the channel side,
/// statistics.h). Their leading eigenvectors become P and Q. Layers of one input group share C_X
/// and P. A layer without a token axis (L = 1) stays exact. Either the caller runs batches for
/// calibrate() alone, or ordinary training steps are watched and the subspaces renewed from time to
/// time.
class Calibrator {
  public:
    /// Throws Error for an unknown method or options out of range. The model must outlive it.
    Calibrator(Module& model, MethodOptions options);

    const MethodOptions& options() const { return options_; }
    /// Whether the method has slots to calibrate.
    bool needed() const;

    /// Runs the caller's batches (training forward and backward on tapes with update_statistics
    /// off; each mini-batch's loss weighted by its share of the batch) and installs new projectors.
    /// All FLOPs inside count under the phase `calibrate`. Parameter gradients are left empty. If
    /// the callback throws, or statistics are not finite (Error that names the layer where that
    /// began), the old rules stay.
    void calibrate(const std::function<void()>& run_batches);

    /// What ordinary steps show from now on, until this is called again.
    enum class Watch {
        nothing,
        exactly,  // every layer is exact, as before the first calibration, and observed whole
        share     // layers keep their rules; a share of the samples is observed (WatchedRule)
    };
    void watch(Watch how, ObservedShare share = {});
    /// Installs new projectors, made of what was watched since. What of the sums is left for the
    /// next time is `keep` times as much. Gram products and decompositions count under the phase
    /// `calibrate`, nothing else does. Throws Error as calibrate() does.
    void renew(double keep = 0);

    /// Every linear map of the model.
    std::vector<LayerRanks> ranks() const;

    /// A slot as a checkpoint holds it: "P." and the input group, or "Q." and the layer.
    struct SlotState {
        std::string name;
        CalibratedSlot found;
        Tensor basis;      // undefined if found.vanilla
        Tensor weights{};  // D, of P with weighted rows
    };
    using State = std::vector<SlotState>;
    State state() const;
    /// The sums of what is watched, for a checkpoint too.
    Statistics::State watched() const { return watched_.state(); }
    void restore_watched(const Statistics::State& state) { watched_.restore(model_, state); }
    /// The next ranks of layers whose sketches follow a tolerance, for a checkpoint too.
    std::map<std::string, std::int64_t> sketch_ranks() const;
    /// Throws Error for a layer that follows none.
    void set_sketch_ranks(const std::map<std::string, std::int64_t>& ranks);
    /// What the sketches of each layer did since this was last asked.
    std::map<std::string, SketchRecord> take_sketch_records() const;
    /// Throws Error for names or shapes that do not belong to this model.
    void restore(const State& state);

  private:
    struct Slot {
        CalibratedSlot found;
        std::shared_ptr<const Projector> projector;  // null if left vanilla
    };
    using SlotMap = std::map<std::string, Slot>;

    /// A slot whose rank is still to be chosen.
    struct Decomposed {
        std::string layer;  // that was observed
        Side side = Side::token;
        EigenDecomposition spectrum{};
        Tensor weights{};
        Truncation truncation{};
        std::int64_t most = 1;                   // directions that there are
        double break_even = 0, exact_flops = 0;  // the latter of one sample
        Slot* slot = nullptr;                    // what is to be made of it
    };

    void take_up(const Statistics& seen);
    Decomposed decompose(const Statistics::Entry& seen, const Slot* before,
                         const std::optional<std::int64_t>& rank, std::int64_t in_channels,
                         std::int64_t out_channels) const;
    void spend(double budget, std::vector<Decomposed>& all) const;
    Slot truncated(const Decomposed& one) const;
    std::int64_t complement() const;
    void install();

    Module& model_;
    MethodOptions options_;
    const Method& method_;
    Slots slots_;
    SlotMap x_;                                                          // by input group
    SlotMap g_;                                                          // by layer
    std::map<std::string, std::shared_ptr<const SketchRule>> sketches_;  // by layer
    Watch watch_ = Watch::nothing;
    ObservedShare share_;
    Statistics watched_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
