#pragma once

#include <functional>
#include <memory>

#include "bench/case.h"
#include "instant/calibration/projector.h"
#include "nn/backward_rule.h"
#include "nn/module.h"
#include "tensor/random.h"

namespace slimgrad::bench {

/// A projector with random orthonormal rows. Its rank is cut to the length of its axis.
std::shared_ptr<const Projector> random_projector(Side side, std::int64_t rank, std::int64_t dim,
                                                  Stream& stream);

/// The P and Q of one layer; null where the variant leaves a slot exact.
struct Projectors {
    std::shared_ptr<const Projector> p, q;
};

/// Random projectors for linear maps: sides and ranks as a calibration with fixed ranks would
/// choose them, one P for all layers of an input group. A pure function of the variant and the
/// shapes.
std::vector<Projectors> random_projectors(const std::vector<LinearShape>& shapes,
                                          const Variant& variant, std::int64_t batch);

/// The rule of the variant for one layer, with these projectors if its slots are calibrated. With
/// `plain` its formulas by general products alone, sample by sample: what results are verified
/// against.
std::shared_ptr<const BackwardRule> make_rule(const LinearShape& layer, const Variant& variant,
                                              const Projectors& projectors, std::int64_t batch);

/// The call of one layer of the variant, on an x of this shape.
LinearCall call_of(const LinearShape& layer, const Variant& variant, Shape x_shape, Tensor w);

/// Traces the linear maps that `forward` executes and gives each the rule of the variant.
std::vector<Projectors> install_rules(Module& model, const Variant& variant, std::int64_t batch,
                                      const std::function<void()>& forward);

}  // namespace slimgrad::bench
