#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/tape.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The derivative of an elementwise function in 2 or 3 bits an element: the codes of equal steps
/// between two bounds, rounded at random, so that E d̃ = d (with g ∘ d̃ the gradient is unbiased,
/// which that of a rounded input is not). FLOPs: 3 an element to make, 3 to multiply by.
class RoundedDerivative final : public Packed {
  public:
    /// Bounds that no derivative of the function leaves.
    struct Bounds {
        real low, high;
    };
    /// d: (B, ...). Draws from a stream of seed, step, `layer` and sample.
    RoundedDerivative(const Tensor& d, Bounds bounds, const TapeOptions& tape,
                      const std::string& layer);

    /// Keeps what the backward of y = f(x) needs: x, or f'(x) as "derivative" where the tape wants
    /// it in few bits. gx(gy, x) is that backward.
    static void keep(Saved& saved, const Tensor& x, Bounds bounds, const TapeOptions& tape,
                     const std::string& layer,
                     const std::function<Tensor(const Tensor& gy, const Tensor& x)>& gx);

    /// g ∘ d̃, of the shape of g.
    Tensor times(const Tensor& g) const;
    std::vector<std::shared_ptr<Storage>> held() const override { return {codes_}; }

    /// What samples of so many elements hold.
    static std::int64_t bytes(std::int64_t samples, std::int64_t elements, int bits);

  private:
    Bounds bounds_;
    int bits_;
    std::int64_t samples_, elements_;  // elements: of a sample
    std::shared_ptr<Storage> codes_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
