#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The FLOP counter. Kernels add what they execute (one FLOP for each addition, multiplication,
/// comparison, division and elementary function; 2 m n k for a product), and the count lands under
/// the layer and the phase (`forward`, `compress`, `g_w`, `g_x`, `g_b`, `backward`, `calibrate`,
/// `optimizer`) that are open at that moment. Each thread has a meter of its own.
class Meter {
  public:
    using Key = std::pair<std::string, std::string>;  // layer, phase

    void add(std::int64_t flops);

    std::int64_t total() const;
    /// All layers, one phase.
    std::int64_t phase(std::string_view phase) const;
    std::int64_t count(const std::string& layer, const std::string& phase) const;
    const std::map<Key, std::int64_t>& counts() const { return counts_; }

    /// How many times a kernel counted: it tells an operation that costs nothing from one that
    /// forgot to count.
    std::int64_t events() const { return events_; }

    /// Forgets every count; open scopes stay open.
    void reset();

  private:
    friend class LayerScope;
    friend class PhaseScope;
    friend const std::string& current_layer();

    std::map<Key, std::int64_t> counts_;
    Key open_;
    bool phase_pinned_ = false;
    std::int64_t* slot_ = nullptr;
    std::int64_t events_ = 0;
};

/// The meter of this thread.
Meter& meter();

/// The layer that is open on this thread; empty outside all layers.
const std::string& current_layer();

/// Names the layer for all that is counted while it lives; the innermost one wins.
class LayerScope {
  public:
    explicit LayerScope(std::string layer);
    ~LayerScope();
    LayerScope(const LayerScope&) = delete;
    LayerScope& operator=(const LayerScope&) = delete;

  private:
    std::string outer_;
};

/// Names the phase for all that is counted while it lives. The innermost one wins, unless an outer
/// one is pinned: whatever runs inside a pinned `calibrate` is calibration.
class PhaseScope {
  public:
    explicit PhaseScope(std::string phase, bool pinned = false);
    ~PhaseScope();
    PhaseScope(const PhaseScope&) = delete;
    PhaseScope& operator=(const PhaseScope&) = delete;

  private:
    std::string outer_;
    bool outer_pinned_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
