// The FLOP meter and the byte ledger of one precision; python/slimgrad/measure.py dresses them.

#include <nanobind/stl/map.h>

#include <list>

#include "bind.h"
#include "tensor/ledger.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// LayerScope and PhaseScope as Python's context managers need them: opened and closed by hand.
template <class Scope>
class Opened {
  public:
    explicit Opened(std::string name) : name_(std::move(name)) {}
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    void enter() { scopes_.emplace_back(name_); }
    void exit() {
        require(!scopes_.empty(), "[meter] this scope is not open");
        scopes_.pop_back();
    }

  private:
    std::string name_;
    std::list<Scope> scopes_;  // it may be entered again before it is left
};

template <class Scope>
void bind_scope(nb::module_& here, const char* name, const char* doc) {
    nb::class_<Opened<Scope>>(here, name, doc)
        .def(nb::init<std::string>(), "name"_a, "The name that counts go under.")
        .def("enter", &Opened<Scope>::enter, "Opens the scope on this thread.")
        .def("exit", &Opened<Scope>::exit, "Closes it again.");
}

}  // namespace

void bind_measure(nb::module_&, nb::module_& here) {
    bind_scope<LayerScope>(here, "LayerScope", "Counts go under this layer while it is open.");
    bind_scope<PhaseScope>(here, "PhaseScope", "Counts go under this phase while it is open.");
    here.def(
        "meter_add", [](const Int& flops) { meter().add(flops); }, "flops"_a,
        "Adds to the meter of this thread.");
    here.def(
        "meter_counts", [] { return meter().counts(); },
        "What this thread has counted, by layer and phase.");
    here.def(
        "meter_reset", [] { meter().reset(); }, "Forgets every count.");
    here.def(
        "ledger_held",
        [] {
            std::map<std::string, std::pair<std::int64_t, std::int64_t>> all;
            for (std::size_t i = 0; i < category_count; ++i) {
                const auto category = static_cast<Category>(i);
                const Held held = ledger()[category];
                all[std::string(name(category))] = {held.live, held.peak};
            }
            const Held total = ledger().total();
            all["total"] = {total.live, total.peak};
            return all;
        },
        "Bytes held now and at most, by category.");
    here.def(
        "ledger_saved_by_layer", [] { return ledger().saved_by_layer(); },
        "Bytes that each layer keeps for backward now.");
    here.def(
        "ledger_reset_peaks", [] { ledger().reset_peaks(); }, "Peaks fall to the live values.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
