#include "instant/methods/low_rank_rule.h"

#include "instant/methods/complement.h"
#include "instant/methods/options.h"
#include "nn/padding.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

std::shared_ptr<const Subspace> LowRankRule::p(const LinearCall& call) const {
    return widened(p_, "complement P " + call.input_group, call);
}

std::shared_ptr<const Subspace> LowRankRule::q(const LinearCall& call) const {
    return widened(q_, "complement Q " + call.layer, call);
}

std::shared_ptr<const Projector> LowRankRule::widened(
    const std::shared_ptr<const Projector>& projector, const std::string& purpose,
    const LinearCall& call) const {
    if (!projector || options_.complement == 0) return projector;
    const ComplementShape shape(options_.complement, projector->rank(), projector->dim());
    if (shape.count == 0) return projector;
    // Beside Ũ where rows are weighted: what is projected there is D x, and D⁻¹ g.
    const Tensor& d = projector->weights;
    const Tensor u = d.defined() ? scale_columns(projector->basis, d, -1) : projector->basis;
    Stream stream(call.seed, purpose, call.step);
    const Tensor all =
        with_complement(u, shape.count, options_.scale.value_or(shape.unbiased), stream);
    return std::make_shared<const Projector>(
        Projector{{projector->side, d.defined() ? scale_columns(all, d, 1) : all},
                  projector->energy,
                  projector->signal}
            .with(d));
}

const Subspace& LowRankRule::of_g(const Subspace& p) const {
    const auto& projector = static_cast<const Projector&>(p);  // as p() gives it
    return projector.dual ? *projector.dual : p;
}

Tensor LowRankRule::seen_of(const Tensor& x, const LinearCall& call) const {
    return options_.skip_padding ? without_padding(x, call) : x;
}

std::shared_ptr<const BackwardRule> low_rank_rule(const RuleRequest& request) {
    if (!request.p && !request.q) return nullptr;
    const MethodOptions& o = request.options;
    LowRankRule::Options options;
    options.complement = own_or<std::int64_t>(o, complement_option(), 0);
    if (const double c = own_or<double>(o, complement_scale_option(), 0); c > 0) options.scale = c;
    options.skip_padding = own_or<bool>(o, skip_padding_option(), false);
    return std::make_shared<const LowRankRule>(request.p, request.q, options);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
