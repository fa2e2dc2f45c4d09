// The layers of nn/, each made from sizes and a seed.

#include "bind.h"
#include "function_adapter.h"
#include "layer_arguments.h"
#include "nn/batch_norm.h"
#include "nn/conv2d.h"
#include "nn/drop_path.h"
#include "nn/dropout.h"
#include "nn/flatten.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/layer_scale.h"
#include "nn/low_rank_adapter.h"
#include "nn/pooling.h"
#include "nn/relu.h"
#include "nn/silu.h"
#include "nn/softmax.h"
#include "nn/upsample.h"
#include "nn/zero_pad.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

void bind_linear_maps(nb::module_& here) {
    nb::class_<LinearMap, Module>(here, "LinearMap", nb::type_slots(collected_layer()),
                                  "A layer whose core is y = x Wᵀ and whose backward is left to a "
                                  "rule: Linear and Conv2d.")
        .def_prop_ro("weight", parameter_of<LinearMap>([](LinearMap& l) { return &l.weight(); }),
                     nb::sig("def weight(self) -> Parameter"),
                     "W: (Cy, Cx), or (Cy, C, kh, kw) of a convolution.")
        .def_prop_rw(
            "rule", [](const LinearMap& self) { return rule_to_python(self.rule()); },
            [](LinearMap& self, nb::object rule) { self.set_rule(adapt_rule(std::move(rule))); },
            nb::for_setter(nb::arg("rule").none()),
            "How backward makes g_w and g_x: a sg.BackwardRule of one's own, the rule of another "
            "layer, or None for the exact one. A Calibrator sets it.")
        .def_prop_rw("compressible", &LinearMap::compressible, &LinearMap::set_compressible,
                     "False where no method compresses: grouped convolutions, heads.")
        .def_prop_rw("input_group", &LinearMap::input_group, &LinearMap::set_input_group,
                     "Layers that multiply the same x carry the same name: they share one P.")
        .def_prop_ro("_own_group", &LinearMap::own_input_group,
                     "The input group that was set by hand, or nothing.");
    nb::class_<Linear, LinearMap> linear(here, "Linear", nb::is_final(),
                                         nb::type_slots(collected_layer()),
                                         "y = x Wᵀ + b on the last axis of x.");
    bind_arguments(linear, [](const Linear& l) {
        const Shape& w = l.weight().value.shape();
        return keywords({{"in_features", object_of(w.at(1))},
                         {"out_features", object_of(w.at(0))},
                         {"bias", object_of(l.bias() != nullptr)}});
    });
    linear
        .def(
            "__init__",
            [](Linear* self, const Int& in_features, const Int& out_features, bool bias,
               const Natural& seed) {
                Stream stream = weights(seed);
                new (self) Linear(in_features, out_features, stream, bias);
            },
            "in_features"_a, "out_features"_a, "bias"_a = true, nb::kw_only(), "seed"_a = 0,
            "x (B, ..., in_features) -> (B, ..., out_features). Weights from U(-1/√in, 1/√in), a "
            "function of the seed.")
        .def_prop_ro("bias", parameter_of<Linear>([](Linear& l) { return l.bias(); }),
                     nb::sig("def bias(self) -> Parameter | None"), "b: (Cy,), or None.")
        .def(
            "add_adapter",
            [](Linear& self, const Int& rank, double alpha, const Natural& seed) {
                self.add_adapter(rank, alpha, seed);
                name_if_unnamed(self);
            },
            "rank"_a = 8, "alpha"_a = 1.0, "seed"_a = 0,
            "Freezes W and b and trains (alpha/rank) B A beside them (LoRA): two linear layers, "
            "lora_A (rank, Cx) and lora_B (Cy, rank), which starts at 0. In a model, call its "
            "name_modules() afterwards. Raises sg.Error if there is one already, or for a rank "
            "beyond the shorter side of W.")
        .def_prop_ro(
            "adapter",
            [](const Linear& self) {
                const LowRankAdapter* adapter = self.adapter();
                return adapter ? std::optional(std::pair(adapter->rank(), adapter->alpha()))
                               : std::nullopt;
            },
            nb::sig("def adapter(self) -> tuple[int, float] | None"),
            "rank and alpha of the adapter, or None.");
    nb::class_<Conv2d, LinearMap> conv(here, "Conv2d", nb::is_final(),
                                       nb::type_slots(collected_layer()),
                                       "A two-dimensional convolution.");
    bind_arguments(conv, [](const Conv2d& c) {
        const Shape& w = c.weight().value.shape();
        const Conv2dOptions& o = c.options();
        return keywords({{"in_channels", object_of(w.at(1) * o.groups)},
                         {"out_channels", object_of(w.at(0))},
                         {"kernel", from_pair(o.kernel)},
                         {"stride", from_pair(o.stride)},
                         {"padding", from_pair(o.padding)},
                         {"dilation", from_pair(o.dilation)},
                         {"groups", object_of(o.groups)},
                         {"bias", object_of(o.bias)}});
    });
    conv.def(
            "__init__",
            [](Conv2d* self, const Int& in_channels, const Int& out_channels, nb::handle kernel,
               nb::handle stride, nb::handle padding, nb::handle dilation, const Int& groups,
               bool bias, const Natural& seed) {
                Stream stream = weights(seed);
                new (self) Conv2d(in_channels, out_channels,
                                  {.kernel = to_pair(kernel, "kernel"),
                                   .stride = to_pair(stride, "stride"),
                                   .padding = to_pair(padding, "padding"),
                                   .dilation = to_pair(dilation, "dilation"),
                                   .groups = groups,
                                   .bias = bias},
                                  stream);
            },
            "in_channels"_a, "out_channels"_a, "kernel"_a.none() = 3, "stride"_a.none() = 1,
            "padding"_a.none() = 0, "dilation"_a.none() = 1, "groups"_a = 1, "bias"_a = true,
            nb::kw_only(), "seed"_a = 0,
            nb::sig("def __init__(self, in_channels: int, out_channels: int, kernel: int | "
                    "tuple[int, int] = 3, stride: int | tuple[int, int] = 1, padding: int | "
                    "tuple[int, int] = 0, dilation: int | tuple[int, int] = 1, groups: int = 1, "
                    "bias: bool = True, *, seed: int = 0) -> None"),
            "x (B, C, H, W) -> (B, out_channels, H', W'). One number stands for both axes.")
        .def_prop_ro("bias", parameter_of<Conv2d>([](Conv2d& c) { return c.bias(); }),
                     nb::sig("def bias(self) -> Parameter | None"), "b: (Cy,), or None.");
}

template <class Norm>
void bind_batch_norm(nb::module_& here, const char* name, const char* doc, const char* shapes) {
    nb::class_<Norm, BatchNorm> norm(here, name, nb::is_final(), nb::type_slots(collected()), doc);
    norm.def(
        "__init__",
        [](Norm* self, const Int& channels, double epsilon, double momentum) {
            new (self) Norm(channels, epsilon, momentum);
        },
        "channels"_a, "epsilon"_a = 1e-5, "momentum"_a = 0.1, shapes);
    bind_arguments(norm, [](const Norm& n) {
        return keywords({{"channels", object_of(n.weight().value.numel())},
                         {"epsilon", object_of(n.epsilon())},
                         {"momentum", object_of(n.momentum())}});
    });
}

void bind_normalisation(nb::module_& here) {
    nb::class_<LayerNorm, Module> norm(here, "LayerNorm", nb::is_final(),
                                       nb::type_slots(collected()),
                                       "Normalises the last axis, then scales and shifts it.");
    norm.def(
        "__init__",
        [](LayerNorm* self, const Int& features, double eps) {
            new (self) LayerNorm(features, eps);
        },
        "features"_a, "eps"_a = 1e-5, "x (..., features) -> the same shape.");
    bind_arguments(norm, [](const LayerNorm& n) {
        return keywords({{"features", object_of(n.features())}, {"eps", object_of(n.eps())}});
    });
    nb::class_<BatchNorm, Module>(here, "BatchNorm", nb::type_slots(collected()),
                                  "What both batch normalisations share.")
        .def_prop_ro("weight", parameter_of<BatchNorm>([](BatchNorm& n) { return &n.weight(); }),
                     nb::sig("def weight(self) -> Parameter"), "γ: (C,).")
        .def_prop_ro("bias", parameter_of<BatchNorm>([](BatchNorm& n) { return &n.bias(); }),
                     nb::sig("def bias(self) -> Parameter"), "β: (C,).")
        .def_prop_ro(
            "running_mean", [](BatchNorm& n) { return n.running_mean(); },
            "The mean that evaluation uses: (C,).")
        .def_prop_ro(
            "running_var", [](BatchNorm& n) { return n.running_var(); },
            "The variance that evaluation uses: (C,).")
        .def_prop_rw("frozen", &BatchNorm::frozen, &BatchNorm::set_frozen,
                     "Whether training uses the running statistics too, and leaves them.");
    bind_batch_norm<BatchNorm1d>(here, "BatchNorm1d", "Batch normalisation of (B, C[, L]).",
                                 "x (B, C) or (B, C, L) -> the same shape.");
    bind_batch_norm<BatchNorm2d>(here, "BatchNorm2d", "Batch normalisation of (B, C, H, W).",
                                 "x (B, C, H, W) -> the same shape.");
    nb::class_<Dropout, Module> dropout(here, "Dropout", nb::is_final(),
                                        nb::type_slots(collected()),
                                        "Drops elements while training; the mask is a function of "
                                        "the tape's seed and step.");
    dropout.def(nb::init<double>(), "p"_a = 0.5, "x (B, ...) -> the same shape.");
    bind_arguments(dropout, [](const Dropout& d) { return keywords({{"p", object_of(d.p())}}); });
    nb::class_<DropPath, Module> path(here, "DropPath", nb::is_final(), nb::type_slots(collected()),
                                      "Stochastic depth: while training, drops the whole branch of "
                                      "a sample.");
    path.def(nb::init<double>(), "p"_a, "x (B, ...) -> the same shape.");
    bind_arguments(path, [](const DropPath& d) { return keywords({{"p", object_of(d.p())}}); });
    nb::class_<LayerScale, Module> scale(here, "LayerScale", nb::is_final(),
                                         nb::type_slots(collected()), "γ ∘ x for each channel.");
    scale.def(
        "__init__",
        [](LayerScale* self, const Int& channels, double initial) {
            new (self) LayerScale(channels, initial);
        },
        "channels"_a, "initial"_a = 1e-5, "x (B, L, C) or (B, C, H, W) -> the same shape.");
    bind_arguments(scale, [](const LayerScale& s) {
        return keywords({{"channels", object_of(s.gamma().value.numel())}});
    });
    scale.def_prop_ro("gamma", parameter_of<LayerScale>([](LayerScale& s) { return &s.gamma(); }),
                      nb::sig("def gamma(self) -> Parameter"), "γ: (C,).");
}

/// A layer whose constructor takes nothing.
template <class L>
void bind_plain(nb::module_& here, const char* name, const char* doc) {
    nb::class_<L, Module> type(here, name, nb::is_final(), nb::type_slots(collected()), doc);
    type.def(nb::init<>());
    bind_arguments(type, [](const L&) { return nb::dict(); });
}

void bind_activations(nb::module_& here) {
    bind_plain<ReLU>(here, "ReLU", "max(x, 0); keeps one bit an element.");
    bind_plain<ReLU6>(here, "ReLU6", "min(max(x, 0), 6); keeps one bit an element.");
    bind_plain<SiLU>(here, "SiLU", "x σ(x); keeps x.");
    bind_plain<Softmax>(here, "Softmax", "Softmax over the last axis.");
    bind_plain<Flatten>(here, "Flatten", "(B, ...) -> (B, C).");
    bind_plain<GlobalAvgPool2d>(here, "GlobalAvgPool2d", "(B, C, H, W) -> (B, C).");
    nb::class_<GELU, Module> gelu(here, "GELU", nb::is_final(), nb::type_slots(collected()),
                                  "x Φ(x); keeps x.");
    gelu.def(
        "__init__",
        [](GELU* self, const std::string& form) {
            require(form == "erf" || form == "tanh", "[gelu] unknown form '{}'; known: erf, tanh",
                    form);
            new (self) GELU(form == "erf" ? GELU::Form::erf : GELU::Form::tanh);
        },
        "form"_a = "erf", "form: 'erf', or 'tanh' for the approximation.");
    bind_arguments(gelu, [](const GELU& g) {
        return keywords({{"form", object_of(g.form() == GELU::Form::erf ? "erf" : "tanh")}});
    });
}

nb::dict pool_arguments(const PoolOptions& o) {
    return keywords({{"kernel", from_pair(o.kernel)},
                     {"stride", from_pair(o.stride)},
                     {"padding", from_pair(o.padding)}});
}

void bind_pools(nb::module_& here) {
    constexpr const char* shapes = "x (B, C, H, W) -> (B, C, H', W'). stride 0 is the kernel.";
    nb::class_<MaxPool2d, Module> most(here, "MaxPool2d", nb::is_final(),
                                       nb::type_slots(collected()), "The maximum of each window.");
    bind_arguments(most, [](const MaxPool2d& p) { return pool_arguments(p.options()); });
    most.def(
        "__init__",
        [](MaxPool2d* self, nb::handle kernel, nb::handle stride, nb::handle padding) {
            new (self) MaxPool2d(PoolOptions{to_pair(kernel, "kernel"), to_pair(stride, "stride"),
                                             to_pair(padding, "padding")});
        },
        "kernel"_a.none(), "stride"_a.none() = 0, "padding"_a.none() = 0,
        nb::sig("def __init__(self, kernel: int | tuple[int, int], stride: int | tuple[int, "
                "int] = 0, padding: int | tuple[int, int] = 0) -> None"),
        shapes);

    nb::class_<AvgPool2d, Module> mean(here, "AvgPool2d", nb::is_final(),
                                       nb::type_slots(collected()),
                                       "The mean of each window, with the pixels of the padding or "
                                       "without.");
    bind_arguments(mean, [](const AvgPool2d& p) {
        nb::dict arguments = pool_arguments(p.options());
        arguments["count_include_pad"] = p.options().count_include_pad;
        return arguments;
    });
    mean.def(
        "__init__",
        [](AvgPool2d* self, nb::handle kernel, nb::handle stride, nb::handle padding,
           bool count_include_pad) {
            new (self) AvgPool2d(PoolOptions{to_pair(kernel, "kernel"), to_pair(stride, "stride"),
                                             to_pair(padding, "padding"), count_include_pad});
        },
        "kernel"_a.none(), "stride"_a.none() = 0, "padding"_a.none() = 0,
        "count_include_pad"_a = true,
        nb::sig("def __init__(self, kernel: int | tuple[int, int], stride: int | tuple[int, "
                "int] = 0, padding: int | tuple[int, int] = 0, count_include_pad: bool = True) -> "
                "None"),
        shapes);
}

void bind_image_layers(nb::module_& here) {
    nb::class_<SamePad2d, Module> pad(here, "SamePad2d", nb::is_final(),
                                      nb::type_slots(collected()),
                                      "Zeros around an image, as TensorFlow pads for a window.");
    pad.def(
        "__init__",
        [](SamePad2d* self, nb::handle kernel, nb::handle stride) {
            new (self) SamePad2d(to_pair(kernel, "kernel"), to_pair(stride, "stride"));
        },
        "kernel"_a.none(), "stride"_a.none() = 1,
        nb::sig("def __init__(self, kernel: int | tuple[int, int], stride: int | tuple[int, "
                "int] = 1) -> None"),
        "x (B, C, H, W) -> (B, C, H', W').");
    bind_arguments(pad, [](const SamePad2d& p) {
        return keywords({{"kernel", from_pair(p.kernel())}, {"stride", from_pair(p.stride())}});
    });
    nb::class_<UpsampleBilinear2d, Module> up(here, "UpsampleBilinear2d", nb::is_final(),
                                              nb::type_slots(collected()),
                                              "Images a whole number of times as large.");
    up.def(
        "__init__",
        [](UpsampleBilinear2d* self, const Int& factor) { new (self) UpsampleBilinear2d(factor); },
        "factor"_a, "x (B, C, H, W) -> (B, C, factor H, factor W).");
    bind_arguments(up, [](const UpsampleBilinear2d& u) {
        return keywords({{"factor", object_of(u.factor())}});
    });
}

}  // namespace

void bind_layers(nb::module_& core, nb::module_& here) {
    bind_linear_maps(here);
    bind_normalisation(here);
    bind_activations(here);
    bind_pools(here);
    bind_image_layers(here);
    core.def(
        "linear_maps",
        [](nb::handle_t<Module> model) {
            nb::typed<nb::list, LinearMap> list;
            Module& root = to_module(model);
            const Owners owners(model, root);
            for_each_module(root, [&](const std::string& path, Module& part) {
                if (auto* layer = dynamic_cast<LinearMap*>(&part))
                    list.append(part_of(owners.of(path), layer));
            });
            return list;
        },
        "model"_a, "Every linear map of a model: the layers that can be given a backward rule.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
