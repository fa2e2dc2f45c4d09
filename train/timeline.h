#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "autograd/observer.h"
#include "nn/module.h"
#include "tensor/ledger.h"

namespace slimgrad {

/// Bytes of each category of the ledger, in its order.
using CategoryBytes = std::array<std::int64_t, category_count>;

/// What the ledger said at one moment of a step.
struct Moment {
    double seconds = 0;  // since the step began
    CategoryBytes live{};
    /// At the most that was held at once since the moment before. The total is the ledger's. It is
    /// either reached now, or by temporary values of the call that is executed: all of what it has
    /// beyond the moment before is workspace.
    CategoryBytes peak{};
    bool peak_now = true;
};

/// One call of a function, or the optimiser's update: `begin` and `end` are numbers of moments.
struct TimelineCall {
    enum class Part { forward, backward, update };

    std::string layer;
    Part part = Part::forward;
    std::size_t begin = 0, end = 0;
    std::map<std::string, std::int64_t> flops{};  // by phase: forward, compress, g_w, ...

    std::int64_t total_flops() const;
};
std::string to_string(TimelineCall::Part part);

/// A parameter, its gradient, or a value that a layer keeps for backward, the first to keep its
/// buffer. It is live at the moments from `from` to before `until`.
struct HeldValue {
    Category category = Category::saved;
    std::string layer, slot;  // of a gradient "weight.grad"
    std::string shape{};      // "(128, 65, 64)"; empty in another form than a tensor's
    std::int64_t bytes = 0;
    std::size_t from = 0, until = 0;

    bool live_at(std::size_t moment) const { return from <= moment && moment < until; }
};

/// One training step as it was executed.
struct Timeline {
    std::vector<Moment> moments;
    std::vector<TimelineCall> calls;
    std::vector<HeldValue> held;
    std::size_t after_forward = 0;  // number of a moment

    /// The moment whose peak is the step's, the first of several.
    std::size_t peak_moment() const;
    std::int64_t peak() const;
    /// The moment whose held values are those of the peak of moment `k`.
    std::size_t state_of_peak(std::size_t k) const { return moments.at(k).peak_now ? k : k - 1; }
    /// The call during which a moment's peak was reached; null between calls.
    const TimelineCall* call_at(std::size_t k) const;
    std::int64_t flops() const;
    double seconds() const { return moments.back().seconds; }
};

std::int64_t total(const CategoryBytes& bytes);

/// Watches one step. The clock stands still while it takes notes, so that times are those of the
/// step. It resets the peaks of the ledger.
class TimelineRecorder final : public TapeObserver {
  public:
    /// The model must outlive it.
    explicit TimelineRecorder(Module& model);

    /// The step begins; what is held now is there already.
    void start();
    void forward_ended();
    /// Executes the optimiser's part of the step.
    void update(const std::function<void()>& work);
    Timeline finish();

    void begin(const std::string& name, Pass pass) override;
    void end(const std::string& name, Pass pass) override;
    void kept(const KeptAs& as, const Packed& payload) override;
    void differentiated(const Differentiated& call) override;

  private:
    using Clock = std::chrono::steady_clock;
    using Part = TimelineCall::Part;
    class Note;
    struct Kept {
        std::string slot{}, shape{};
    };
    /// A parameter, and its gradient among the held values, if it has one.
    struct Trained {
        std::string layer, name;
        const Parameter* parameter;
        std::size_t gradient;
    };
    void moment(const Note& note, const Kept& kept);
    void settle_gradients();
    void settle_held(const Kept& kept);
    void release(const std::string& layer, std::int64_t bytes);
    void settle_flops();
    void begin_call(const std::string& name, Part part);
    void end_call();

    std::vector<Trained> trained_;
    Timeline timeline_;
    Clock::time_point start_{};
    Clock::duration paused_{};                                 // of the time since
    std::vector<std::size_t> open_;                            // calls, the innermost last
    std::map<std::string, std::int64_t> flops_;                // by phase, when last looked at
    std::map<std::string, std::int64_t> saved_;                // by layer, when last looked at
    std::map<std::string, std::vector<std::size_t>> holding_;  // by layer: values that are live
};

/// {"peak", "moments": columns, "calls", "held"}: see docs/trace.md.
nlohmann::json to_json(const Timeline& timeline);

/// The events of one process in Chrome's trace format: the calls, and bytes as counters.
void add_chrome_events(nlohmann::json& events, const Timeline& timeline, const std::string& name,
                       int process);

}  // namespace slimgrad
