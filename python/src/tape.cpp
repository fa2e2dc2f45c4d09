// The tape and its values.

#include "autograd/tape.h"

#include <nanobind/stl/map.h>

#include <map>
#include <optional>

#include "autograd/ops.h"
#include "bind.h"
#include "function_adapter.h"
#include "instant/methods/gact.h"
#include "lifetimes.h"
#include "method_options.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

void KeepTape::postcall(PyObject**, std::size_t, nb::handle result) {
    Var* var = nullptr;
    if (!nb::try_cast<Var*>(result, var) || var == nullptr) return;
    const nb::object tape = nb::find(&var->tape());
    if (tape.is_valid()) tie(result, tape);
}

nb::object to_python(const Var& var) {
    nb::object object = nb::cast(var);
    KeepTape::postcall(nullptr, 0, object);
    return object;
}

namespace {

template <class F>
auto with_number(F f) {
    return [f](const Var& a, double b) {
        return f(a, a.tape().constant(Tensor::scalar(to_real(b, "var"))));
    };
}

void bind_var(nb::module_& here) {
    const auto add = [](const Var& a, const Var& b) { return a + b; };
    const auto sub = [](const Var& a, const Var& b) { return a - b; };
    const auto mul = [](const Var& a, const Var& b) { return a * b; };
    const auto scaled = [](const Var& a, double b) { return scale(a, to_real(b, "var")); };
    const char* doc = "Element by element, broadcast as in NumPy.";
    nb::class_<Var> var(here, "Var", nb::type_slots(collected()),
                        "A value on a tape. Operations on it are recorded if a gradient may be "
                        "asked for. It keeps its tape alive; the tape does not keep it.");
    refuse_copies(var, "var", "copy its tensor, var.value");
    var.def_prop_ro("value", &Var::value, nb::rv_policy::copy, "The tensor; shares its memory.")
        .def_prop_ro(
            "shape", [](const Var& v) { return to_tuple(v.shape()); },
            nb::sig("def shape(self) -> tuple[int, ...]"), "The length of each axis.")
        .def_prop_ro(
            "tape", [](const Var& v) { return nb::cast(&v.tape(), nb::rv_policy::reference); },
            nb::sig("def tape(self) -> Tape"), "The tape that it is on.")
        .def_prop_ro("requires_grad", &Var::requires_grad, "Whether backward will reach it.")
        .def(
            "item", [](const Var& v) { return v.value().item(); }, "The value of a scalar.")
        .def(
            "__float__", [](const Var& v) { return v.value().item(); }, "The value of a scalar.")
        .def(
            "numpy", [](const Var& v) { return to_numpy(v.value()); },
            nb::sig("def numpy(self) -> numpy.typing.NDArray"),
            "A NumPy array on the memory of the value.")
        .def(
            "__repr__",
            [](const Var& v) {
                return fmt::format("Var(shape={}, dtype={})", to_string(v.shape()), dtype_name);
            },
            "Shape and dtype.")
        .def("__add__", add, nb::is_operator(), no_gil(), keep_tape(), doc)
        .def("__add__", with_number(add), nb::is_operator(), no_gil(), keep_tape())
        .def("__radd__", with_number(add), nb::is_operator(), no_gil(), keep_tape(), doc)
        .def("__sub__", sub, nb::is_operator(), no_gil(), keep_tape(), doc)
        .def("__sub__", with_number(sub), nb::is_operator(), no_gil(), keep_tape())
        .def("__mul__", mul, nb::is_operator(), no_gil(), keep_tape(), doc)
        .def("__mul__", scaled, nb::is_operator(), no_gil(), keep_tape())
        .def("__rmul__", scaled, nb::is_operator(), no_gil(), keep_tape(), doc)
        .def(
            "__truediv__", [](const Var& a, double b) { return scale(a, to_real(1 / b, "var")); },
            nb::is_operator(), no_gil(), keep_tape(), "Divides by a number.")
        .def(
            "__neg__", [](const Var& a) { return neg(a); }, nb::is_operator(), no_gil(),
            keep_tape(), "-x.")
        .def(
            "__matmul__", [](const Var& a, const Var& b) { return matmul(a, b); },
            nb::is_operator(), no_gil(), keep_tape(), "See sg.matmul.");
}

/// `with tape.tokens(...):`, a TokenScope that opens and closes when Python says so.
class TokenStatement {
  public:
    TokenStatement(Tape& tape, TokenLayout layout) : tape_(tape), layout_(std::move(layout)) {}
    void enter() { scope_.emplace(tape_, layout_); }
    void exit() { scope_.reset(); }

  private:
    Tape& tape_;
    TokenLayout layout_;
    std::optional<TokenScope> scope_;
};

void bind_tokens(nb::module_& here, nb::class_<Tape>& tape) {
    nb::class_<TokenStatement>(here, "TokenScope", "What Tape.tokens gives to `with`.")
        .def("__enter__", &TokenStatement::enter, "From here on it holds.")
        .def(
            "__exit__", [](TokenStatement& self, const nb::args&) { self.exit(); },
            nb::sig("def __exit__(self, *error: object) -> None"), "No longer.");
    tape.def(
        "tokens",
        [](Tape& self, const Int& rows, const Int& columns, const Int& extra, nb::handle padding) {
            return std::make_unique<TokenStatement>(
                self,
                TokenLayout{rows, columns, extra,
                            padding.is_none() ? Tensor() : to_tensor(padding, "tape.tokens")});
        },
        nb::kw_only(), "rows"_a = 0, "columns"_a = 0, "extra"_a = 0, "padding"_a = nb::none(),
        nb::keep_alive<0, 1>(),
        nb::sig(
            "def tokens(self, *, rows: int = 0, columns: int = 0, extra: int = 0, padding: object "
            "| None = None) -> TokenScope"),
        "States, inside `with`, how values are tokens: rows x columns of a grid, row by row, after "
        "`extra` others (a class token); padding (B, L) is 1 where a token is none. Rules that "
        "treat tokens as an image, or skip padding, do not guess it.");
}

/// What a method says of tapes, with other bits for some values.
TapeOptions options_of_tape(const std::string& method,
                            const std::optional<std::map<std::string, int>>& kept_bits,
                            const nb::kwargs& options) {
    const MethodOptions asked = to_method_options("tape", method, options);
    TapeOptions tape = tape_options(asked);
    if (!kept_bits) {
        require(!automatic_bits(asked),
                "[tape] levels L2 choose bits in a run, and a tape cannot. Hint: kept_bits, which "
                "sg.lab.allocate_bits finds");
        return tape;
    }
    require(tape.codec != nullptr, "[tape] kept_bits are for a method with gact, got '{}'", method);
    for (const auto& [name, bits] : *kept_bits)
        check_option("[tape] kept_bits: '" + name + "':", bits_option(), std::to_string(bits));
    const std::shared_ptr<GactCodec> codec = gact_codec(asked);
    codec->set_bits(*kept_bits);
    tape.codec = codec;
    return tape;
}

}  // namespace

void bind_tape(nb::module_&, nb::module_& here) {
    bind_var(here);
    nb::class_<Tape> tape(
        here, "Tape", nb::is_weak_referenceable(), nb::type_slots(collected()),
        "The record of one forward pass, and the backward pass that consumes it.\n\n"
        "    tape = sg.Tape()\n"
        "    x = tape.input(array)\n"
        "    tape.backward(sg.sum(layer(x)))\n"
        "    tape.gradient(x)");
    refuse_copies(tape, "tape", "run forward again on a new one");
    tape.def(
            "__init__",
            [](Tape* self, bool training, bool recording, bool update_statistics,
               const Natural& seed, const Natural& step, const Int& first_sample, bool check_saved,
               const std::string& method,
               const std::optional<std::map<std::string, int>>& kept_bits,
               const nb::kwargs& options) {
                TapeOptions tape = options_of_tape(method, kept_bits, options);
                tape.training = training;
                tape.recording = recording;
                tape.update_statistics = update_statistics;
                tape.seed = seed;
                tape.step = step;
                tape.first_sample = first_sample;
                tape.check_saved = check_saved;
                new (self) Tape(tape);
            },
            nb::kw_only(), "training"_a = true, "recording"_a = true, "update_statistics"_a = true,
            "seed"_a = 0, "step"_a = 0, "first_sample"_a = 0, "check_saved"_a = false,
            "method"_a = "vanilla", "kept_bits"_a = nb::none(), "options"_a,
            "training: layers behave as in training (dropout drops, rules compress); False is "
            "exact evaluation. recording: keep what backward needs. update_statistics: BatchNorm "
            "moves its running statistics. seed, step, first_sample: what dropout masks are drawn "
            "from. check_saved: for debugging, find every change of a kept value before backward, "
            "also through NumPy, by digests of all bytes. method, options: how all layers keep "
            "what they keep, where the method says so: method='gact', bits=4. Rules of linear "
            "layers are not the tape's: see sg.Calibrator. kept_bits: of single values, by layer "
            "and slot of the first that keeps it, {'blocks.0.fc1 x': 1}; 32 leaves one as it is, "
            "and "
            "what no layer keeps is of no consequence.")
        .def_prop_ro("training", &Tape::training, "Whether layers behave as in training.")
        .def(
            "constant",
            [](Tape& tape, nb::handle value) {
                return tape.constant(to_tensor_or_scalar(value, "tape.constant"));
            },
            "value"_a.none(), keep_tape(), nb::sig("def constant(self, value: object) -> Var"),
            "A value without gradient, on the memory of a tensor or array of this precision.")
        .def(
            "input",
            [](Tape& tape, nb::handle value) {
                return tape.input(to_tensor_or_scalar(value, "tape.input"));
            },
            "value"_a.none(), keep_tape(), nb::sig("def input(self, value: object) -> Var"),
            "A value whose gradient can be asked for after backward.")
        .def(
            "parameter",
            [](nb::handle_t<Tape> self, nb::handle_t<Parameter> parameter) {
                tie(self, parameter);
                return nb::cast<Tape&>(self).parameter(nb::cast<Parameter&>(parameter));
            },
            "parameter"_a, keep_tape(), nb::sig("def parameter(self, parameter: Parameter) -> Var"),
            "A parameter; backward adds to its grad.")
        .def(
            "apply",
            [](nb::handle_t<Tape> self, nb::object function, const std::vector<Var>& inputs) {
                // In sight of the collector where the tape is Python's; else the function is held.
                const bool owned = nb::inst_state(self).second;
                if (owned) tie(self, function);
                Tape& tape = nb::cast<Tape&>(self);
                auto adapter = adapt_function(std::move(function), owned);
                const nb::gil_scoped_release release;
                return tape.apply(std::move(adapter), inputs);
            },
            "function"_a.none(), "inputs"_a, keep_tape(),
            nb::sig("def apply(self, function: object, inputs: collections.abc.Sequence[Var]) -> "
                    "Var"),
            "Executes a sg.Function on values of this tape. Raises sg.Error if it counts no FLOPs.")
        .def(
            "backward",
            [](Tape& tape, const Var& y, nb::handle gy) {
                Tensor seed = gy.is_none() ? Tensor() : to_tensor(gy, "backward");
                const nb::gil_scoped_release release;
                tape.backward(y, std::move(seed));
            },
            "y"_a, "gy"_a = nb::none(),
            nb::sig("def backward(self, y: Var, gy: object | None = None) -> None"),
            "Backward from y with the gradient gy of its shape (by default 1, for one element). "
            "Gradients of parameters are added to their grad; a tape runs backward once.")
        .def("gradient", &Tape::gradient, "input"_a,
             "The gradient of an input after backward; zeros if y did not depend on it.")
        .def("__len__", &Tape::size, "Calls recorded and not yet consumed.");
    bind_tokens(here, tape);
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
