#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "autograd/saved.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Which elements of a sample share their least value and their step.
enum class Scales {
    group,    // so many in the order of memory
    token,    // those of a token, or of a pixel
    channel,  // those of a channel: one column of (L, C), one plane of (C, H, W)
};

/// How a tensor is quantised.
struct QuantisedForm {
    int bits = 8;  // an element: 1, 2, 4 or 8
    Scales scales = Scales::group;
    std::int64_t group = 256;  // elements, of Scales::group

    /// What samples of one shape hold, without the axis of the batch: codes, and two numbers of
    /// `number_size` bytes for each scale.
    std::int64_t bytes(const Shape& sample, std::int64_t samples, std::int64_t number_size) const;
};

/// A tensor in few bits an element, by stochastic rounding (GACT, Liu et al. 2022). Elements that
/// share a scale lie between their least and their largest value:
///
///   step = (max − min) / (2^bits − 1),   q = ⌊(x − min) / step + u⌋,  u ~ U(0, 1)
///   x̃ = min + q step,                    so that E x̃ = x
///
/// The first axis is that of samples, which share nothing. u has 16 bits, which is as fine as a
/// code of 8 bits and its fraction are in single precision. FLOPs count under the open phase: 5 an
/// element to quantise (two comparisons, a difference, a product, a sum), 2 to give it back.
class Quantised final : public PackedTensor {
  public:
    using StreamOf = std::function<Stream(std::int64_t sample)>;

    /// `stream_of(sample)` draws u: the codes of a sample do not depend on how a batch is split.
    /// Throws Error, naming the open layer, for values that are not finite, and for other bits.
    Quantised(const Tensor& value, QuantisedForm form, const StreamOf& stream_of);
    Quantised(const Tensor& value, int bits, const StreamOf& stream_of)
        : Quantised(value, QuantisedForm{.bits = bits}, stream_of) {}

    Shape shape() const override { return shape_; }
    Tensor unpack() const override;
    std::vector<std::shared_ptr<Storage>> held() const override {
        return {codes_, ranges_.storage()};
    }

  private:
    Shape shape_;
    QuantisedForm form_;
    std::shared_ptr<Storage> codes_;
    Tensor ranges_;  // (B, scales, 2): least value, and the step of one code
};

/// The variance of each element of x̃: step² f (1 − f), f the fraction that is rounded. Of the
/// value's shape.
Tensor rounding_variance(const Tensor& value, const QuantisedForm& form);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
