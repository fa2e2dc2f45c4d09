// Backward rules: the library's own, and those written in Python.

#include "autograd/gradcheck.h"
#include "bind.h"
#include "executing.h"
#include "function_adapter.h"
#include "instant/methods/low_rank_rule.h"
#include "instant/methods/method.h"
#include "lifetimes.h"
#include "nn/linear_map.h"
#include "saved_view.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// Calls the methods of a Python object: save(x, saved, call), backward(gy, w, saved, call) and, if
/// there is one, forward(x, w, saved, call), with g_y as a matrix.
class PythonRule final : public BackwardRule {
  public:
    explicit PythonRule(nb::object rule)
        : name_(text(nb::object(rule.attr("name")))),
          has_forward_(nb::hasattr(rule, "forward")),
          rule_(std::move(rule)) {}

    std::string name() const override { return name_; }

    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        if (!has_forward_) return BackwardRule::forward(x, saved, call);
        const nb::gil_scoped_acquire gil;
        const Executing executing(8 * sizeof(real));
        const SavedScope view(saved);
        return to_tensor(rule_.get().attr("forward")(x, call.w, view.object(), call),
                         name_.c_str());
    }

    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        const nb::gil_scoped_acquire gil;
        const Executing executing(8 * sizeof(real));
        const SavedScope view(saved);
        rule_.get().attr("save")(x, view.object(), call);
    }

    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        const nb::gil_scoped_acquire gil;
        const Executing executing(8 * sizeof(real));
        const SavedScope view(saved);
        const nb::object result =
            rule_.get().attr("backward")(gy.matrix(), call.w, view.object(), call);
        require(nb::isinstance<nb::tuple>(result) && nb::len(result) == 2,
                "[{}] backward must give a tuple (gx, gw), each a tensor or None", name_);
        LinearGrads grads;
        if (call.needs.gx) grads.gx = given(result[0], "gx");
        if (call.needs.gw) grads.gw = given(result[1], "gw");
        return grads;
    }

    const nb::object& object() const { return rule_.get(); }

  private:
    Tensor given(const nb::object& value, const char* what) const {
        require(!value.is_none(), "[{}] backward must give {}, got None", name_, what);
        return to_tensor(value, name_.c_str());
    }

    std::string name_;
    bool has_forward_;
    PythonObject rule_;
};

/// One of the library's own rules.
struct LibraryRule {
    std::shared_ptr<const BackwardRule> rule;
};

nb::object projector_of(const LibraryRule& self, bool p) {
    const auto* low_rank = dynamic_cast<const LowRankRule*>(self.rule.get());
    const auto& projector = !low_rank ? nullptr : p ? low_rank->p() : low_rank->q();
    return projector ? nb::cast(projector->basis) : nb::none();
}

nb::object side_of(const LibraryRule& self, bool p) {
    const auto* low_rank = dynamic_cast<const LowRankRule*>(self.rule.get());
    const auto& projector = !low_rank ? nullptr : p ? low_rank->p() : low_rank->q();
    return projector ? nb::cast(to_string(projector->side)) : nb::none();
}

void bind_call(nb::module_& here) {
    nb::class_<LinearCall>(here, "LinearCall",
                           "What a rule is told of one call of a linear map: which gradients are "
                           "asked for, where it is, and random numbers of its own.")
        .def_prop_ro(
            "gx", [](const LinearCall& call) { return call.needs.gx; },
            "Whether backward must give g_x.")
        .def_prop_ro(
            "gw", [](const LinearCall& call) { return call.needs.gw; },
            "Whether backward must give g_w; if not, keep nothing of x.")
        .def_ro("layer", &LinearCall::layer, "The layer's path in the model.")
        .def_prop_ro(
            "grid",
            [](const LinearCall& call) {
                const TokenLayout& grid = call.grid();
                return std::tuple(grid.rows, grid.columns, grid.extra);
            },
            "(rows, columns, extra): the grid of the tokens and how many come before it, as the "
            "model states it. Raises sg.Error if it states none.")
        .def_prop_ro(
            "padding",
            [](const LinearCall& call) {
                return call.layout.padding.defined() ? nb::cast(call.layout.padding) : nb::none();
            },
            nb::sig("def padding(self) -> Tensor | None"),
            "(B, L): 1 where a token is padding; None if the model states none.")
        .def_ro("seed", &LinearCall::seed, "The seed of the run.")
        .def_ro("step", &LinearCall::step, "The step of training.")
        .def(
            "normal",
            [](const LinearCall& call, const Ints& shape, const std::string& purpose,
               const Natural& sample) {
                Stream stream = call.stream(purpose, static_cast<std::int64_t>(sample));
                return normal(to_shape(shape), 0, 1, stream);
            },
            "shape"_a, nb::kw_only(), "purpose"_a = "rule", "sample"_a = 0,
            "Standard normal values, a function of purpose, seed, step, layer and sample: the same "
            "in forward and backward, and however a batch is split.");
}

void bind_products(nb::module_& core) {
    core.def("linear_forward", &linear_forward, "x"_a, "w"_a, no_gil(),
             "y = x Wᵀ: (B, L, Cx), (Cy, Cx) -> (B, L, Cy), counted under the phase `forward`.");
    core.def("linear_gw", &linear_gw, "gy"_a, "x"_a, no_gil(),
             "g_w = Σ_b g_bᵀ x_b: (B, L, Cy), (B, L, Cx) -> (Cy, Cx), counted under `g_w`.");
    core.def("linear_gx", &linear_gx, "gy"_a, "w"_a, no_gil(),
             "g_x = g W: (B, L, Cy), (Cy, Cx) -> (B, L, Cx), counted under `g_x`.");
}

}  // namespace

std::shared_ptr<const BackwardRule> adapt_rule(nb::object rule) {
    if (rule.is_none()) return ExactRule::instance();
    if (nb::isinstance<LibraryRule>(rule)) return nb::cast<LibraryRule&>(rule).rule;
    require(nb::hasattr(rule, "save") && nb::hasattr(rule, "backward"),
            "[rule] expected a sg.BackwardRule with save and backward, a rule of another layer, or "
            "None for the exact one; got {}",
            text(rule.type()));
    return std::make_shared<const PythonRule>(std::move(rule));
}

PyObject* python_object_of(const BackwardRule& rule) {
    const auto* python = dynamic_cast<const PythonRule*>(&rule);
    return python ? python->object().ptr() : nullptr;
}

nb::object rule_to_python(const std::shared_ptr<const BackwardRule>& rule) {
    if (const auto* python = dynamic_cast<const PythonRule*>(rule.get())) return python->object();
    return nb::cast(LibraryRule{rule});
}

void bind_rules(nb::module_& core, nb::module_& here) {
    bind_call(here);
    nb::class_<LinearInput>(here, "LinearInput",
                            "The input of a linear map: what the layer was given, and the matrix "
                            "that is multiplied (unfolded, for a convolution).")
        .def_prop_ro("held", &LinearInput::held, nb::rv_policy::copy,
                     "The tensor that the layer was given; keep this, not the unfolded copy.")
        .def_prop_ro("matrix", &LinearInput::matrix, nb::rv_policy::copy, "x: (B, L, Cx).");
    nb::class_<LibraryRule> rule(here, "LibraryRule",
                                 "A rule of the library: exact, or low-rank after a calibration.");
    refuse_copies(rule, "rule", "the projectors are in the state() of the calibrator");
    rule.def_prop_ro(
            "name", [](const LibraryRule& self) { return self.rule->name(); },
            "vanilla, compress-x, compress-gy or instant.")
        .def_prop_ro(
            "P", [](const LibraryRule& self) { return projector_of(self, true); },
            nb::sig("def P(self) -> Tensor | None"),
            "The projector of x: (R, L) on the token side, (R, Cx) on the channel side.")
        .def_prop_ro(
            "Q", [](const LibraryRule& self) { return projector_of(self, false); },
            nb::sig("def Q(self) -> Tensor | None"), "The projector of g_y.")
        .def_prop_ro(
            "side_x", [](const LibraryRule& self) { return side_of(self, true); },
            nb::sig("def side_x(self) -> str | None"), "'token' or 'channel'.")
        .def_prop_ro(
            "side_g", [](const LibraryRule& self) { return side_of(self, false); },
            nb::sig("def side_g(self) -> str | None"), "'token' or 'channel'.")
        .def(
            "__repr__",
            [](const LibraryRule& self) { return fmt::format("<rule {}>", self.rule->name()); },
            "The rule's name.");
    bind_products(core);
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
