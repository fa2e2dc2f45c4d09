#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "instant/calibration/observing_rule.h"
#include "instant/methods/method.h"
#include "nn/linear_map.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Whether the layer keeps x for its g_w, and so uses the projector of its input group.
bool keeps_x(const LinearMap& layer);

/// What the layers of a model show of the slots that a method calibrates: C_X by input group, which
/// the first layer of it that trains observes for all, and C_G by layer. Nothing else is kept, so
/// memory does not grow with the number of batches.
class Statistics {
  public:
    struct Entry {
        std::string layer;  // that observes
        std::shared_ptr<Gram> gram;
        std::shared_ptr<RowEnergies>
            rows{};  // of g_y of all that share x, where they are asked for
    };

    explicit Statistics(const MethodOptions& options);

    /// What this layer is to add to; empty where nobody asks for it.
    LayerStatistics of(const LinearMap& layer);

    /// Null if nothing is observed there, or nothing was so far.
    const Entry* x(const std::string& group) const { return find(x_, group); }
    const Entry* g(const std::string& layer) const { return find(g_, layer); }

    /// Throws Error that names the layer where values that are not finite began.
    void require_finite(Module& model) const;
    /// Multiplies every sum: what was seen before counts for less.
    void fade(double factor);

    /// Sums by name: "X." and "D." (rows of g_y) and the input group, "G." and the layer.
    using State = std::vector<RunningSum>;
    State state() const;
    /// Throws Error for a name that belongs to no layer of the model, or sums of another shape.
    void restore(Module& model, const State& state);

  private:
    using Entries = std::map<std::string, Entry>;
    static const Entry* find(const Entries& entries, const std::string& name);

    MethodOptions options_;
    Slots slots_;
    bool weight_rows_, skip_padding_;
    Entries x_, g_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
