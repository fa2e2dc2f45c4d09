// Methods and their calibration.

#include "bind.h"
#include "instant/calibration/calibrator.h"
#include "lifetimes.h"
#include "method_options.h"
#include "nn/low_rank_adapter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

void bind_ranks(nb::module_& here) {
    const auto word = [](const std::optional<Side>& side) {
        return side ? std::optional(to_string(*side)) : std::nullopt;
    };
    nb::class_<LayerRanks>(here, "LayerRanks",
                           "What a method does with one linear map; None: not compressed.")
        .def_ro("name", &LayerRanks::name, "The layer's path.")
        .def_ro("rank_x", &LayerRanks::rank_x, "Rows of P.")
        .def_ro("rank_g", &LayerRanks::rank_g, "Rows of Q.")
        .def_prop_ro(
            "side_x", [word](const LayerRanks& r) { return word(r.side_x); },
            "'token' or 'channel'.")
        .def_prop_ro(
            "side_g", [word](const LayerRanks& r) { return word(r.side_g); },
            "'token' or 'channel'.")
        .def_ro("note", &LayerRanks::note, "Why a layer, or a slot of it, stays vanilla.")
        .def_ro("x", &LayerRanks::x, "What the last calibration found for x.")
        .def_ro("g", &LayerRanks::g, "What the last calibration found for g_y.")
        .def(
            "__repr__",
            [](const LayerRanks& r) {
                const auto show = [](const std::optional<std::int64_t>& rank) {
                    return rank ? std::to_string(*rank) : "None";
                };
                return fmt::format("LayerRanks('{}', rank_x={}, rank_g={}{})", r.name,
                                   show(r.rank_x), show(r.rank_g),
                                   r.note.empty() ? "" : ", note='" + r.note + "'");
            },
            "Name and ranks.");
}

void bind_slots(nb::module_& here) {
    nb::class_<CalibratedSlot>(here, "CalibratedSlot",
                               "What the last calibration found for x or g_y of a linear map.")
        .def(
            "__getstate__",
            [](const CalibratedSlot& s) {
                return std::make_tuple(to_string(s.side), s.rank, s.dim, s.energy, s.signal,
                                       s.break_even, s.vanilla);
            },
            "For pickle and copy.")
        .def(
            "__setstate__",
            [](CalibratedSlot& s, const std::tuple<std::string, std::int64_t, std::int64_t, double,
                                                   double, double, bool>& state) {
                const auto& [side, rank, dim, energy, signal, break_even, vanilla] = state;
                new (&s) CalibratedSlot{parse_side(side).value_or(Side::token),
                                        rank,
                                        dim,
                                        energy,
                                        signal,
                                        break_even,
                                        vanilla};
            },
            "state"_a, "For pickle and copy.")
        .def_prop_ro(
            "side", [](const CalibratedSlot& s) { return to_string(s.side); },
            "'token' or 'channel'.")
        .def_ro("rank", &CalibratedSlot::rank, "R.")
        .def_ro("dim", &CalibratedSlot::dim, "The length of the axis that R shortens.")
        .def_ro("energy", &CalibratedSlot::energy, "The share of Σ σᵢ² that R directions keep.")
        .def_ro("signal", &CalibratedSlot::signal, "The share of Σ σᵢ that they keep.")
        .def_ro("break_even", &CalibratedSlot::break_even,
                "The rank beyond which compression costs more FLOPs than it saves.")
        .def_ro("vanilla", &CalibratedSlot::vanilla,
                "Whether the slot was left uncompressed for that reason.");
    nb::class_<Calibrator::SlotState>(here, "SlotState", "A calibrated slot with its projector.")
        .def(
            "__getstate__",
            [](const Calibrator::SlotState& s) {
                return nb::make_tuple(s.name, s.found,
                                      s.basis.defined() ? nb::cast(s.basis) : nb::none(),
                                      s.weights.defined() ? nb::cast(s.weights) : nb::none());
            },
            nb::sig("def __getstate__(self) -> tuple"), "For pickle and copy.")
        .def(
            "__setstate__",
            [](Calibrator::SlotState& s,
               const std::tuple<std::string, CalibratedSlot, std::optional<Tensor>,
                                std::optional<Tensor>>& state) {
                const auto& [name, found, basis, weights] = state;
                new (&s) Calibrator::SlotState{name, found, basis.value_or(Tensor()),
                                               weights.value_or(Tensor())};
            },
            "state"_a, "For pickle and copy.")
        .def_ro("name", &Calibrator::SlotState::name,
                "'P.' and the group of layers that share x, or 'Q.' and the layer.")
        .def_ro("found", &Calibrator::SlotState::found, "What the calibration found.")
        .def_prop_ro(
            "basis",
            [](const Calibrator::SlotState& s) {
                return s.basis.defined() ? std::optional(s.basis) : std::nullopt;
            },
            "The projector (R, n); None if the slot was left vanilla.");
}

void construct(nb::handle_t<Calibrator> self, nb::handle_t<Module> model, const std::string& method,
               const nb::kwargs& options) {
    Module& module = to_module(model);
    name_if_unnamed(module);
    const MethodOptions asked = to_method_options("calibrator", method, options);
    const Method& entry = find_method(method);
    require(!entry.adapt || has_adapters(module),
            "[calibrator] '{}' trains adapters, and the model has none. Hint: sg.adapt(model, "
            "method='{}') first",
            method, method);
    require(!entry.projection || entry.rule,
            "[calibrator] '{}' changes nothing in the layers. Hint: "
            "optimizer.set_projection(model, method='{}')",
            method, method);
    new (nb::inst_ptr<Calibrator>(self)) Calibrator(module, asked);
    nb::inst_mark_ready(self);
    keep_parts(self, model);
}

void watch(Calibrator& calibrator, const std::string& how, std::int64_t samples,
           std::int64_t steps) {
    check_option("[calibrator]", {"how", Words{{"nothing", "exactly", "share"}}}, how);
    const bool share = how == "share";
    require(!share || (samples >= 0 && steps >= 1),
            "[calibrator] expected a share of samples >= 0 in steps >= 1, got {} in {}", samples,
            steps);
    using Watch = Calibrator::Watch;
    calibrator.watch(share              ? Watch::share
                     : how == "exactly" ? Watch::exactly
                                        : Watch::nothing,
                     share ? ObservedShare{samples, steps} : ObservedShare{});
}

nb::dict sketches(const Calibrator& calibrator) {
    nb::dict all;
    for (const auto& [layer, record] : calibrator.take_sketch_records()) {
        nb::dict of_layer;
        of_layer["calls"] = record.calls;
        of_layer["exact"] = record.exact;
        if (const auto made = static_cast<double>(record.calls - record.exact); made > 0) {
            of_layer["rank"] = static_cast<double>(record.ranks) / made;
            of_layer["kept"] = record.kept / made;
            of_layer["least_kept"] = record.least_kept;
        }
        all[nb::cast(layer)] = of_layer;
    }
    return all;
}

}  // namespace

void bind_instant(nb::module_& here) {
    bind_slots(here);
    bind_ranks(here);
    nb::class_<Calibrator> calibrator(
        here, "Calibrator", nb::type_slots(collected()),
        "Gives the linear maps of a model their backward rules. Before the first calibration they "
        "are exact.\n\n"
        "    calibrator = sg.Calibrator(model, method='instant', epsilon=0.95)\n"
        "    calibrator.calibrate(run_batches)");
    refuse_copies(calibrator, "calibrator",
                  "keep calibrator.state() and restore() it on a calibrator of the copied model");
    calibrator
        .def("__init__", &construct, "model"_a, "method"_a = "instant", "options"_a,
             nb::sig("def __init__(self, model: Module, method: str = 'instant', "
                     "*, " SLIMGRAD_METHOD_SIGNATURE ") -> None"),
             "method: one of sg.method_names(), or several with + between them. epsilon: the share "
             "of the energy "
             "Σ σᵢ² that the rank keeps; oversample: directions added; rank_x, rank_g: fixed ranks "
             "instead. side: token, channel, or auto for the shorter axis; side_x, side_g: for one "
             "slot. offset: none, energy or signal. min_tokens: layers that see fewer stay exact. "
             "break_even: report, or vanilla to leave slots beyond their break-even rank exact; "
             "batch: samples of a step, for that rank. Other options are the method's own. Of "
             "methods "
             "that do more than this, sg.adapt() comes before it (lora) and "
             "optimizer.set_projection() after it (galore). Raises sg.Error for an unknown word or "
             "a "
             "value out of range.")
        .def_prop_ro("needed", &Calibrator::needed, "False for vanilla.")
        .def(
            "calibrate",
            [](Calibrator& self, const nb::callable& run_batches) {
                self.calibrate([&] { run_batches(); });
            },
            "run_batches"_a,
            nb::sig("def calibrate(self, run_batches: collections.abc.Callable[[], object]) -> "
                    "None"),
            "Calls run_batches(), which runs forward and backward of training batches on tapes "
            "with update_statistics=False, then installs new projectors. Parameter gradients are "
            "left empty; if it raises, the old rules stay.")
        .def("watch", &watch, "how"_a, "samples"_a = 0, "steps"_a = 1,
             nb::sig("def watch(self, how: str, samples: int = 0, steps: int = 1) -> None"),
             "Instead of calibrate(): what ordinary training steps show from now on. 'exactly': "
             "every "
             "layer is exact, as before the first calibration, and observed whole. 'share': layers "
             "keep their rules, and of every `steps` steps `samples` samples are observed, spread "
             "evenly. 'nothing': no more. Raises sg.Error for another word.")
        .def(
            "renew", &Calibrator::renew, "keep"_a = 0.0,
            "Installs new projectors, made of what was watched since the last time. keep: how much "
            "of those sums still counts the next time.")
        .def(
            "sketches", &sketches, nb::sig("def sketches(self) -> dict[str, dict[str, float]]"),
            "What the sketches of each layer did since this was last asked: calls, how many of "
            "them "
            "were left exact, and of the others the mean rank, and the mean and the least share of "
            "the gradients' energy that was kept.")
        .def("ranks", &Calibrator::ranks, "Every linear map of the model with its ranks.")
        .def("state", &Calibrator::state, "All projectors, for restore().")
        .def("restore", &Calibrator::restore, "state"_a,
             "Installs projectors that state() gave, on this model or one like it.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
