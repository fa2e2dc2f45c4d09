#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "instant/codec/gact.h"
#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// How much a value's bits matter to the gradient: b of them add about c / (2^b − 1)² to its
/// variance.
struct Sensitivity {
    std::string name;           // KeptAs::name
    std::int64_t elements = 0;  // of the whole batch
    double c = 0;
};

/// Bits that make Σ c / (2^b − 1)² small under Σ b · elements ≤ average · Σ elements, as GACT finds
/// them (Liu et al. 2022, Sec. 4.3): from 32 down the ladder 8, 4, 2, 1, each time where a saved
/// bit costs least, the first of equals. Throws Error for an average below 1, and for
/// sensitivities that are no finite numbers of at least 0.
std::map<std::string, int> allocate_bits(const std::vector<Sensitivity>& values, double average);

/// One step of training without its update, forward and backward, on a tape with this codec and
/// this observer, if there is one. Each time of the same batch, masks and draws.
using Rehearsal = std::function<void(const std::shared_ptr<const Codec>&, TapeObserver*)>;

/// The sensitivities as GACT measures them: for each value three gradients of one batch, of 1 bit
/// in two draws and of 8 bits, with all others as they are. With their squared distances, 0 and 1
/// the two of 1 bit, 2 that of 8: c = max(d01, 2 d02, 2 d12). A step that shows which
/// values there are, and three for each of them. Three sets of gradients are held at a time; the
/// parameters have none afterwards.
std::vector<Sensitivity> sensitivities_by_passes(const std::shared_ptr<GactCodec>& codec,
                                                 Module& model, const Rehearsal& rehearse);

/// Estimates of the same from one step. The value of a call is rounded to 1 bit, and its backward
/// alone runs again. What that adds to the gradients of the call's own parameters counts as it is;
/// of x of a linear layer it is known without running anything,
///
///   c = Σ_bl ‖g_bl‖² Σ_c Var x̃_blc
///
/// What it adds to the gradient that the call hands on, as a share of it, counts with the squared
/// gradients of all parameters below. This c is the variance of one draw; that of three passes, the
/// distance of two, is about twice as large. In this step values are kept in full, as without a
/// codec, and so is the memory that it needs.
std::vector<Sensitivity> sensitivities_by_calls(const std::shared_ptr<GactCodec>& codec,
                                                Module& model, const Rehearsal& rehearse);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
