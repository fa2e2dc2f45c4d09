#pragma once

#include <memory>
#include <optional>

#include "instant/codec/gact.h"
#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

// GACT as a method: the codec of instant/codec/gact.h, which goes with every rule (instant+gact).

const Option& level_option();        // L1 … L2.2, as its paper names them; none unless given
const Option& bits_option();         // without a level: of every value
const Option& scales_option();       // what shares a scale
const Option& group_size_option();   // elements that do
const Option& adapt_every_option();  // levels L2: steps between choices of bits
const Option& sensitivity_option();  // how these are measured
const Option& gelu_bits_option();    // of the derivatives of GELU and SiLU
const Option& norm_keeps_option();   // what LayerNorm keeps

/// The codec alone, of a method that has one.
std::shared_ptr<GactCodec> gact_codec(const MethodOptions& options);
/// For tapes: sets the codec, and what GELU, SiLU and LayerNorm keep.
void keep_in_few_bits(TapeOptions& tape, const MethodOptions& options);

/// The average of bits that follow from sensitivities; none where all values have the same.
std::optional<double> automatic_bits(const MethodOptions& options);

/// Options that the others leave without effect.
std::vector<Idle> idle_codec_options(const MethodOptions& options);

/// How `codec` is given: a word for what goes with every method.
Option codec_option();

/// Adds GACT to a method as `codec` says: "gact", or "gact:L2" with a level. Throws Error, one line
/// that begins with `where`, for another word, and for a method that has it already.
void add_codec(MethodOptions& options, const std::string& codec, const std::string& where);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
