// The layers on tokens: attention and tables of vectors.

#include "layer_arguments.h"
#include "nn/attention.h"
#include "nn/embedding.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

void bind_token_layers(nb::module_& here) {
    nb::class_<MultiHeadAttention, Module> attention(
        here, "MultiHeadAttention", nb::is_final(), nb::type_slots(collected_layer()),
        "Self-attention with several heads; Q, K and V share their input, and so one projection of "
        "it.");
    bind_arguments(attention, [](const MultiHeadAttention& a) {
        return keywords({{"embed_dim", object_of(a.embed_dim())},
                         {"heads", object_of(a.heads())},
                         {"dropout", object_of(a.options().dropout)},
                         {"fused_qkv", object_of(a.options().fused_qkv)},
                         {"bias", object_of(a.options().bias)}});
    });
    attention.def(
        "__init__",
        [](MultiHeadAttention* self, const Int& embed_dim, const Int& heads, double dropout,
           bool fused_qkv, bool bias, const Natural& seed) {
            Stream stream = weights(seed);
            new (self) MultiHeadAttention(embed_dim, heads, stream, {dropout, fused_qkv, bias});
            name_modules(*self);
        },
        "embed_dim"_a, "heads"_a, "dropout"_a = 0.0, "fused_qkv"_a = false, "bias"_a = true,
        nb::kw_only(), "seed"_a = 0, "x (B, L, embed_dim) -> the same shape.");
    nb::class_<Embedding, Module> embedding(here, "Embedding", nb::is_final(),
                                            nb::type_slots(collected()),
                                            "A table of vectors, one for each index.");
    bind_arguments(embedding, [](const Embedding& e) {
        const Shape& shape = e.weight().value.shape();
        return keywords({{"count", object_of(shape.at(0))},
                         {"features", object_of(shape.at(1))},
                         {"padding_index", object_of(e.padding_index())}});
    });
    embedding
        .def(
            "__init__",
            [](Embedding* self, const Int& count, const Int& features, const Int& padding_index,
               const Natural& seed) {
                Stream stream = weights(seed);
                new (self) Embedding(count, features, stream, padding_index);
            },
            "count"_a, "features"_a, "padding_index"_a = Embedding::no_padding, nb::kw_only(),
            "seed"_a = 0, "Rows from N(0, 1); the row of padding_index is 0 and gets no gradient.")
        .def(
            "lookup",
            [](nb::handle_t<Embedding> self, nb::handle tape, nb::handle indices) {
                require(nb::isinstance<Tape>(tape), "[embedding] expected a {} tape, got {}",
                        dtype_name, text(tape.type()));
                const Indices32 rows = to_indices(indices, "embedding");
                tie(tape, self);
                return to_python(nb::cast<Embedding&>(self).forward(nb::cast<Tape&>(tape),
                                                                    rows.values, rows.shape));
            },
            "tape"_a.none(), "indices"_a.none(),
            nb::sig("def lookup(self, tape: Tape, indices: object) -> Var"),
            "The rows of integer indices of any shape (B, L): (B, L, features). Raises sg.Error "
            "for "
            "indices that are no integers or outside the table.")
        .def_prop_ro("weight", parameter_of<Embedding>([](Embedding& e) { return &e.weight(); }),
                     nb::sig("def weight(self) -> Parameter"), "The table: (count, features).");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
