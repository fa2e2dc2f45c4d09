#pragma once

#include <functional>
#include <string>
#include <vector>

#include "instant/cost/cost_model.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Something that one call of a training forward keeps for backward, with exact rules and without a
/// codec.
struct KeptValue {
    std::string layer, slot;
    bool activation = false;  // what a codec may pack
    bool linear_x = false;    // the input of a linear map, which a rule may keep in another form
    Shape sample{};           // of an activation, without the axis of the batch
    /// What its buffer takes: for each sample, and once a batch.
    std::int64_t bits_a_sample = 0, bits_a_batch = 0;
    /// The first value in the same buffer, and the first that is the same in shape too: equal
    /// numbers are held once.
    std::size_t buffer = 0, value = 0;

    std::string name() const { return layer + " " + slot; }
};

/// Runs `forward` for two batches of different size, on tapes as `options` say but without their
/// codec, and reports all that is kept, in the order of execution. Parameters and buffers of the
/// model are left out: they would be there anyway. `forward` ends with the loss.
std::vector<KeptValue> trace_kept(
    Module& model, const TapeOptions& options,
    const std::function<void(Tape& tape, std::int64_t batch)>& forward);

/// Bytes that a whole model keeps for a batch, in single precision: `total`, and of each kept value
/// what it adds, in their order; 0 for what another one holds.
struct KeptBytes {
    std::int64_t total = 0;
    std::vector<std::int64_t> of_value;
};

/// In closed form: activations as `codec` keeps them (null: as they are), inputs of linear maps as
/// the rows of `linear` say, which are those of the executed convention for this batch.
KeptBytes kept_bytes(const std::vector<KeptValue>& values, const Codec* codec,
                     const ModelCost& linear, std::int64_t batch);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
