// The layers of nn/, each made from sizes and a seed.

#include "bind.h"
#include "function_adapter.h"
#include "instant/trace.h"
#include "nn/attention.h"
#include "nn/batch_norm.h"
#include "nn/conv2d.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/flatten.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/pooling.h"
#include "nn/relu.h"
#include "nn/silu.h"
#include "nn/softmax.h"

namespace slimgrad::inline SLIMGRAD_PRECISION::python {
namespace {

/// 3 or (3, 5).
Pair to_pair(nb::handle value) {
    if (PyLong_Check(value.ptr())) return {nb::cast<std::int64_t>(value)};
    const auto both = nb::cast<std::pair<std::int64_t, std::int64_t>>(value);
    return {both.first, both.second};
}

Stream weights(std::uint64_t seed) { return {seed, "weights"}; }

/// Modules one after the other; unlike nn/sequential.h it shares them with Python.
class SharedSequential final : public Module {
  public:
    explicit SharedSequential(std::vector<std::shared_ptr<Module>> modules)
        : modules_(std::move(modules)) {}
    const std::vector<std::shared_ptr<Module>>& modules() const { return modules_; }
    Var forward(const Var& x) override {
        Var y = x;
        for (const auto& module : modules_) y = module->forward(y);
        return y;
    }
    void visit(Visitor& visitor) override {
        for (std::size_t i = 0; i < modules_.size(); ++i)
            visitor.module(std::to_string(i), *modules_[i]);
    }
    std::string kind() const override { return "sequential"; }

  private:
    std::vector<std::shared_ptr<Module>> modules_;
};

void bind_linear_maps(nb::module_& here) {
    nb::class_<LinearMap, Module>(here, "LinearMap",
                                  "A layer whose core is y = x Wᵀ and whose backward is left to a "
                                  "rule: Linear and Conv2d.")
        .def_prop_ro("weight", &LinearMap::weight, nb::rv_policy::reference_internal,
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
                     "Layers that multiply the same x carry the same name: they share one P.");
    nb::class_<Linear, LinearMap>(here, "Linear", nb::is_final(),
                                  "y = x Wᵀ + b on the last axis of x.")
        .def(
            "__init__",
            [](Linear* self, std::int64_t in_features, std::int64_t out_features, bool bias,
               std::uint64_t seed) {
                Stream stream = weights(seed);
                new (self) Linear(in_features, out_features, stream, bias);
            },
            "in_features"_a, "out_features"_a, "bias"_a = true, nb::kw_only(), "seed"_a = 0,
            "x (B, ..., in_features) -> (B, ..., out_features). Weights from U(-1/√in, 1/√in), a "
            "function of the seed.")
        .def_prop_ro("bias", &Linear::bias, nb::rv_policy::reference_internal,
                     nb::sig("def bias(self) -> Parameter | None"), "b: (Cy,), or None.");
    nb::class_<Conv2d, LinearMap>(here, "Conv2d", nb::is_final(), "A two-dimensional convolution.")
        .def(
            "__init__",
            [](Conv2d* self, std::int64_t in_channels, std::int64_t out_channels, nb::handle kernel,
               nb::handle stride, nb::handle padding, nb::handle dilation, std::int64_t groups,
               bool bias, std::uint64_t seed) {
                Stream stream = weights(seed);
                new (self) Conv2d(in_channels, out_channels,
                                  {.kernel = to_pair(kernel),
                                   .stride = to_pair(stride),
                                   .padding = to_pair(padding),
                                   .dilation = to_pair(dilation),
                                   .groups = groups,
                                   .bias = bias},
                                  stream);
            },
            "in_channels"_a, "out_channels"_a, "kernel"_a = 3, "stride"_a = 1, "padding"_a = 0,
            "dilation"_a = 1, "groups"_a = 1, "bias"_a = true, nb::kw_only(), "seed"_a = 0,
            nb::sig("def __init__(self, in_channels: int, out_channels: int, kernel: int | "
                    "tuple[int, int] = 3, stride: int | tuple[int, int] = 1, padding: int | "
                    "tuple[int, int] = 0, dilation: int | tuple[int, int] = 1, groups: int = 1, "
                    "bias: bool = True, *, seed: int = 0) -> None"),
            "x (B, C, H, W) -> (B, out_channels, H', W'). One number stands for both axes.")
        .def_prop_ro("bias", &Conv2d::bias, nb::rv_policy::reference_internal,
                     nb::sig("def bias(self) -> Parameter | None"), "b: (Cy,), or None.");
}

void bind_normalisation(nb::module_& here) {
    nb::class_<LayerNorm, Module>(here, "LayerNorm", nb::is_final(),
                                  "Normalises the last axis, then scales and shifts it.")
        .def(nb::init<std::int64_t, double>(), "features"_a, "eps"_a = 1e-5,
             "x (..., features) -> the same shape.");
    nb::class_<BatchNorm, Module>(here, "BatchNorm", "What both batch normalisations share.")
        .def_prop_ro("weight", &BatchNorm::weight, nb::rv_policy::reference_internal, "γ: (C,).")
        .def_prop_ro("bias", &BatchNorm::bias, nb::rv_policy::reference_internal, "β: (C,).")
        .def_prop_ro("running_mean", &BatchNorm::running_mean, nb::rv_policy::copy,
                     "The mean that evaluation uses: (C,).")
        .def_prop_ro("running_var", &BatchNorm::running_var, nb::rv_policy::copy,
                     "The variance that evaluation uses: (C,).");
    nb::class_<BatchNorm1d, BatchNorm>(here, "BatchNorm1d", nb::is_final(),
                                       "Batch normalisation of (B, C[, L]).")
        .def(nb::init<std::int64_t, double, double>(), "channels"_a, "epsilon"_a = 1e-5,
             "momentum"_a = 0.1, "x (B, C) or (B, C, L) -> the same shape.");
    nb::class_<BatchNorm2d, BatchNorm>(here, "BatchNorm2d", nb::is_final(),
                                       "Batch normalisation of (B, C, H, W).")
        .def(nb::init<std::int64_t, double, double>(), "channels"_a, "epsilon"_a = 1e-5,
             "momentum"_a = 0.1, "x (B, C, H, W) -> the same shape.");
    nb::class_<Dropout, Module>(here, "Dropout", nb::is_final(),
                                "Drops elements while training; the mask is a function of the "
                                "tape's seed and step.")
        .def(nb::init<double>(), "p"_a = 0.5, "x (B, ...) -> the same shape.");
}

void bind_activations(nb::module_& here) {
    nb::class_<ReLU, Module>(here, "ReLU", nb::is_final(), "max(x, 0); keeps one bit an element.")
        .def(nb::init<>());
    nb::class_<SiLU, Module>(here, "SiLU", nb::is_final(), "x σ(x); keeps x.").def(nb::init<>());
    nb::class_<GELU, Module>(here, "GELU", nb::is_final(), "x Φ(x); keeps x.")
        .def(
            "__init__",
            [](GELU* self, const std::string& form) {
                require(form == "erf" || form == "tanh",
                        "[gelu] unknown form '{}'; known: erf, tanh", form);
                new (self) GELU(form == "erf" ? GELU::Form::erf : GELU::Form::tanh);
            },
            "form"_a = "erf", "form: 'erf', or 'tanh' for the approximation.");
    nb::class_<Softmax, Module>(here, "Softmax", nb::is_final(), "Softmax over the last axis.")
        .def(nb::init<>());
    nb::class_<Flatten, Module>(here, "Flatten", nb::is_final(), "(B, ...) -> (B, C).")
        .def(nb::init<>());
}

template <class Pool>
void bind_pool(nb::module_& here, const char* name, const char* doc) {
    nb::class_<Pool, Module>(here, name, nb::is_final(), doc)
        .def(
            "__init__",
            [](Pool* self, nb::handle kernel, nb::handle stride, nb::handle padding) {
                new (self) Pool(PoolOptions{to_pair(kernel), to_pair(stride), to_pair(padding)});
            },
            "kernel"_a, "stride"_a = 0, "padding"_a = 0,
            nb::sig("def __init__(self, kernel: int | tuple[int, int], stride: int | tuple[int, "
                    "int] = 0, padding: int | tuple[int, int] = 0) -> None"),
            "x (B, C, H, W) -> (B, C, H', W'). stride 0 is the kernel.");
}

void bind_attention(nb::module_& here) {
    nb::class_<MultiHeadAttention, Module>(here, "MultiHeadAttention", nb::is_final(),
                                           "Self-attention with several heads; Q, K and V share "
                                           "their input, and so one projection of it.")
        .def(
            "__init__",
            [](MultiHeadAttention* self, std::int64_t embed_dim, std::int64_t heads, double dropout,
               bool fused_qkv, bool bias, std::uint64_t seed) {
                Stream stream = weights(seed);
                new (self) MultiHeadAttention(embed_dim, heads, stream, {dropout, fused_qkv, bias});
                name_modules(*self);
            },
            "embed_dim"_a, "heads"_a, "dropout"_a = 0.0, "fused_qkv"_a = false, "bias"_a = true,
            nb::kw_only(), "seed"_a = 0, "x (B, L, embed_dim) -> the same shape.");
    nb::class_<Embedding, Module>(here, "Embedding", nb::is_final(),
                                  "A table of vectors, one for each index.")
        .def(
            "__init__",
            [](Embedding* self, std::int64_t count, std::int64_t features,
               std::int64_t padding_index, std::uint64_t seed) {
                Stream stream = weights(seed);
                new (self) Embedding(count, features, stream, padding_index);
            },
            "count"_a, "features"_a, "padding_index"_a = Embedding::no_padding, nb::kw_only(),
            "seed"_a = 0, "Rows from N(0, 1); the row of padding_index is 0 and gets no gradient.")
        .def(
            "lookup",
            [](nb::handle self, nb::handle tape, nb::handle indices) {
                const nb::object array = nb::module_::import_("numpy").attr("ascontiguousarray")(
                    indices, "dtype"_a = "int32");
                const auto values =
                    nb::cast<std::vector<std::int32_t>>(array.attr("ravel")().attr("tolist")());
                nb::keep_alive_obj(tape, self);
                return to_python(nb::cast<Embedding&>(self).forward(
                    nb::cast<Tape&>(tape), values, nb::cast<Shape>(nb::list(array.attr("shape")))));
            },
            "tape"_a, "indices"_a, nb::sig("def lookup(self, tape: Tape, indices: object) -> Var"),
            "The rows of integer indices of any shape (B, L): (B, L, features).")
        .def_prop_ro("weight", &Embedding::weight, nb::rv_policy::reference_internal,
                     "The table: (count, features).");
}

}  // namespace

void bind_layers(nb::module_& core, nb::module_& here) {
    bind_linear_maps(here);
    bind_normalisation(here);
    bind_activations(here);
    bind_pool<AvgPool2d>(here, "AvgPool2d", "The mean of each window.");
    bind_pool<MaxPool2d>(here, "MaxPool2d", "The maximum of each window.");
    nb::class_<GlobalAvgPool2d, Module>(here, "GlobalAvgPool2d", nb::is_final(),
                                        "(B, C, H, W) -> (B, C).")
        .def(nb::init<>());
    bind_attention(here);
    nb::class_<SharedSequential, Module>(here, "Sequential", nb::is_final(),
                                         "Modules one after the other, named 0, 1, …")
        .def(
            "__init__",
            [](SharedSequential* self, const nb::args& modules) {
                new (self) SharedSequential(
                    nb::cast<std::vector<std::shared_ptr<Module>>>(nb::list(modules)));
                name_modules(*self);
            },
            nb::sig("def __init__(self, *modules: Module) -> None"), "The modules, in order.")
        .def(
            "__len__", [](const SharedSequential& self) { return self.modules().size(); },
            "How many modules.")
        .def(
            "__getitem__",
            [](const SharedSequential& self, std::size_t i) {
                require(i < self.modules().size(), "[sequential] there is no module {}", i);
                return self.modules()[i];
            },
            "The i-th module.");
    core.def(
        "linear_maps",
        [](nb::handle_t<Module> model) {
            nb::typed<nb::list, LinearMap> list;
            for (LinearMap* layer : linear_maps(nb::cast<Module&>(model)))
                list.append(part_of(model, layer));
            return list;
        },
        "model"_a, "Every linear map of a model: the layers that can be given a backward rule.");
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION::python
