// Optimisers, schedules, clipping.

#include "optim/optimizer.h"

#include "bind.h"
#include "instant/methods/method.h"
#include "lifetimes.h"
#include "method_options.h"
#include "optim/clip.h"
#include "optim/schedule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

void bind_optim(nb::module_& core, nb::module_& here) {
    nb::class_<Optimizer> optimizer(
        here, "Optimizer", nb::type_slots(collected()),
        "Updates parameters from the gradients that backward has left in them. Frozen parameters "
        "and those without gradient are left alone.");
    refuse_copies(optimizer, "optimizer",
                  "keep optimizer.state and optimizer.steps, and write them into a new one of the "
                  "copied model");
    optimizer.def_prop_ro("name", &Optimizer::name, "sgd, adam or adamw.")
        .def("step", &Optimizer::step, no_gil(), "One update.")
        .def(
            "set_projection",
            [](Optimizer& self, nb::handle_t<Module> model, const std::string& method,
               const nb::kwargs& options) {
                Module& module = to_module(model);
                name_if_unnamed(module);
                auto projection =
                    make_projection(module, to_method_options("optimizer", method, options));
                require(projection != nullptr, "[optimizer] method '{}' projects no gradients",
                        method);
                self.set_projection(std::move(projection));
            },
            "model"_a, "method"_a = "galore", "options"_a,
            nb::sig("def set_projection(self, model: Module, method: str = 'galore', **options: "
                    "object) -> None"),
            "Puts the gradients of the model's linear layers in subspaces before each update, as "
            "method='galore' does: rank= (or ratio=), redraw_every=, scale=, moments=. Call it "
            "before the first step; sg.train does it by itself. Raises sg.Error for a method that "
            "projects no gradients, and for a model with nothing to project.")
        .def_prop_rw("lr", &Optimizer::lr, &Optimizer::set_lr, "The learning rate.")
        .def_prop_rw(
            "steps", &Optimizer::steps,
            [](Optimizer& self, const Int& steps) { self.set_steps(steps); },
            "How many updates so far.")
        .def_prop_ro(
            "state",
            [](Optimizer& self) {
                nb::dict state;
                self.visit_state(
                    [&](const std::string& name, Tensor& t) { state[name.c_str()] = nb::cast(t); });
                return state;
            },
            nb::sig("def state(self) -> dict[str, Tensor]"),
            "Running values by exp_avg.<parameter> and the like; writing to them restores them.");
    core.def(
        "make_optimizer",
        [](nb::handle_t<Module> model, const std::string& name, double lr, double momentum,
           bool nesterov, double beta1, double beta2, double epsilon, double weight_decay) {
            Module& module = to_module(model);
            name_if_unnamed(module);
            nb::object optimizer = nb::cast(make_optimizer(
                module, {name, lr, momentum, nesterov, beta1, beta2, epsilon, weight_decay}));
            keep_parts(optimizer, model);
            return nb::typed<nb::object, Optimizer>(optimizer);
        },
        "model"_a, "name"_a, "lr"_a, "momentum"_a = 0.0, "nesterov"_a = false, "beta1"_a = 0.9,
        "beta2"_a = 0.999, "epsilon"_a = 1e-8, "weight_decay"_a = 0.0,
        "An optimiser by name. Raises sg.Error for an unknown name or a value out of range.");
    core.def(
        "clip_grad_norm",
        [](nb::handle_t<Module> model, double max_norm) {
            Module& module = to_module(model);
            const nb::gil_scoped_release release;
            return clip_grad_norm(module, max_norm);
        },
        "model"_a, "max_norm"_a,
        "Scales all gradients so that their joint length is at most max_norm; returns the length "
        "before.");
    if (sizeof(real) == 4) {
        core.def(
            "lr_factor",
            [](const std::string& schedule, const Int& step, const Int& total_steps,
               const Int& warmup, const Int& step_size, double gamma, double min_lr_rate) {
                return Schedule({schedule, total_steps, warmup, step_size, gamma, min_lr_rate})
                    .factor(step);
            },
            "schedule"_a, "step"_a, "total_steps"_a, "warmup"_a = 0, "step_size"_a = 0,
            "gamma"_a = 0.1, "min_lr_rate"_a = 0.0,
            "The factor of the base learning rate at a step: 'constant', 'step', 'cosine' or "
            "'linear', after a linear warm-up.");
    }
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
