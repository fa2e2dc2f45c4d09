#pragma once

#include <map>
#include <memory>
#include <string>

#include "autograd/matrix_basis.h"
#include "instant/methods/method.h"
#include "optim/projection.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// GaLore (Zhao et al. 2024): the gradient G of a matrix W (Cy, Cx) is projected onto its own
/// leading singular vectors, found anew every so many steps, and the optimiser works on R.
///
///   Cy ≥ Cx:  R = G Vᵀ  (Cy, r)    W ← W - lr · α · ρ(R) V      V (r, Cx): right ones, as rows
///   Cy < Cx:  R = U G   (r, Cx)    W ← W - lr · α · Uᵀ ρ(R)     U (r, Cy): left ones, as rows
///
/// Filters (Cy, C, kh, kw) are matrices (Cy, C·kh·kw). Their paper keeps the moments as they are
/// when the basis changes. FLOPs count under `optimizer`: 2 Cy Cx r to project and again to expand;
/// for a new basis one comparison an element and the nominal 14 p q² + 8 q³ (p ≥ q the axes). A
/// gradient that a rule has left on a basis of its own stays there (galore+compact).
class Galore final : public GradientProjection {
  public:
    struct Target {
        Shape shape;  // of the parameter
        std::int64_t rank;
    };
    /// By the names of the parameters. Throws Error unless each rank fits its matrix.
    Galore(const std::map<std::string, Target>& targets, std::int64_t redraw_every,
           MatrixBasis::Options options);

    Grad project(const std::string& name, const Parameter& parameter, std::int64_t step) override;
    void visit_state(const std::function<void(const std::string&, Tensor&)>& f) override;
    std::vector<StateSpace> spaces() const override;
    void set_space(const StateSpace& space) override;

  private:
    struct Subspace {
        Target target;
        Tensor basis{};           // (r, min(Cy, Cx)); undefined before the first gradient
        std::int64_t period = 0;  // in which it was found
    };
    std::map<std::string, Subspace> subspaces_;
    std::int64_t redraw_every_;
    MatrixBasis::Options options_;
};

/// Of the weights of linear maps that have both axes longer than the rank. Throws Error if a
/// model's linear maps have none.
std::unique_ptr<GradientProjection> galore_projection(Module& model, const MethodOptions& options);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
