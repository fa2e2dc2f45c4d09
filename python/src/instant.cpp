// Methods and their calibration.

#include "bind.h"
#include "instant/calibrator.h"

namespace slimgrad::inline SLIMGRAD_PRECISION::python {
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
        .def_ro("note", &LayerRanks::note, "Why a layer stays vanilla.")
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

Calibrator::State to_state(const nb::dict& dict) {
    Calibrator::State state;
    for (const auto [name, basis] : dict)
        state.emplace_back(nb::cast<std::string>(name), to_tensor(basis, "calibrator"));
    return state;
}

}  // namespace

void bind_instant(nb::module_& core, nb::module_& here) {
    bind_ranks(here);
    nb::class_<Calibrator>(here, "Calibrator",
                           "Gives the linear maps of a model their backward rules. Before the "
                           "first calibration they are exact.\n\n"
                           "    calibrator = sg.Calibrator(model, method='instant', epsilon=0.95)\n"
                           "    calibrator.calibrate(run_batches)")
        .def(
            "__init__",
            [](nb::handle_t<Calibrator> self, nb::handle_t<Module> model, const std::string& method,
               double epsilon, std::int64_t oversample, std::optional<std::int64_t> rank_x,
               std::optional<std::int64_t> rank_g, const std::string& side,
               const std::string& offset) {
                Module& module = nb::cast<Module&>(model);
                new (nb::inst_ptr<Calibrator>(self))
                    Calibrator(module, {.method = method,
                                        .epsilon = epsilon,
                                        .oversample = oversample,
                                        .rank_x = rank_x,
                                        .rank_g = rank_g,
                                        .side = parse_side(side),
                                        .offset = parse_offset(offset)});
                nb::inst_mark_ready(self);
                keep_parts(self, module);
            },
            "model"_a, "method"_a = "instant", "epsilon"_a = 0.95, "oversample"_a = 0,
            "rank_x"_a = nb::none(), "rank_g"_a = nb::none(), "side"_a = "auto",
            "offset"_a = "energy",
            nb::sig("def __init__(self, model: Module, method: str = 'instant', epsilon: float = "
                    "0.95, oversample: int = 0, rank_x: int | None = None, rank_g: int | None = "
                    "None, side: str = 'auto', offset: str = 'energy') -> None"),
            "method: vanilla, compress-x, compress-gy, instant. epsilon: the share of the energy Σ "
            "σᵢ² that the rank keeps; oversample: directions added; rank_x, rank_g: fixed ranks "
            "instead. side: token, channel, or auto for the shorter axis. offset: none, energy or "
            "signal. Raises sg.Error for an unknown word or a value out of range.")
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
        .def("ranks", &Calibrator::ranks, "Every linear map of the model with its ranks.")
        .def(
            "state",
            [](const Calibrator& self) {
                nb::dict dict;
                for (const auto& [name, basis] : self.state()) dict[name.c_str()] = nb::cast(basis);
                return dict;
            },
            nb::sig("def state(self) -> dict[str, Tensor]"), "The projectors, by name.")
        .def(
            "restore",
            [](Calibrator& self, const nb::dict& state) { self.restore(to_state(state)); },
            "state"_a, nb::sig("def restore(self, state: dict[str, Tensor]) -> None"),
            "Installs projectors that state() gave.");
    if (sizeof(real) == 4) core.def("method_names", &method_names, "The methods, by name.");
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION::python
