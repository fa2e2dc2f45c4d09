#pragma once

#include <vector>

#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// LoRA (Hu et al. 2022): the linear layers of a model are frozen, and (α/r) B A trains beside each
/// (nn/low_rank_adapter.h). It makes nothing of a backward cheaper by itself: A keeps the x that W
/// would have kept, and g W is still due. With a rule ("lora+instant", INSTANT App. G) all three
/// maps get that rule.

const Option& alpha_option();

/// What trains of what trained before, after --train-blocks has chosen: the adapters, one for each
/// compressible Linear, and whole the Linears that no method compresses (classifiers, BERT's
/// pooler). All else is frozen, as PEFT does: embeddings, LayerNorm, biases, convolutions. Throws
/// Error if the model has adapters already, or nothing would train.
void add_lora(Module& model, const MethodOptions& options, std::uint64_t seed);

/// The same of a chain of layers that are known by their shapes: each adapted one becomes W, A, B.
std::vector<LinearShape> lora_shapes(const std::vector<LinearShape>& layers,
                                     const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
