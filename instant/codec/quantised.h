#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "autograd/saved.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A tensor in `bits` bits an element (1, 2, 4 or 8), by stochastic rounding (GACT, Liu et al.
/// 2022). The elements of each sample, the first axis, are quantised in groups of 256, the last one
/// shorter, each between its least and its largest value:
///
///   scale = (2^bits − 1) / (max − min),   q = ⌊(x − min) scale + u⌋,  u ~ U(0, 1)
///   x̃ = q / scale + min,                  so that E x̃ = x
///
/// u has 16 bits, which is as fine as a code of 8 bits and its fraction are in single precision.
/// A group holds two numbers beside its codes. FLOPs count under the open phase: 5 an element to
/// quantise (two comparisons, a difference, a product, a sum), 2 to give it back.
class Quantised final : public PackedTensor {
  public:
    static constexpr std::int64_t group = 256;

    /// `stream_of(sample)` draws u: the codes of a sample do not depend on how a batch is split.
    Quantised(const Tensor& value, int bits,
              const std::function<Stream(std::int64_t sample)>& stream_of);

    Tensor unpack() const override;
    std::vector<std::shared_ptr<Storage>> held() const override {
        return {codes_, ranges_.storage()};
    }

    /// What `samples` samples of `elements` elements each hold: codes, and numbers of `number_size`
    /// bytes.
    static std::int64_t bytes(std::int64_t samples, std::int64_t elements, int bits,
                              std::int64_t number_size);

  private:
    Shape shape_;
    int bits_;
    std::int64_t elements_;  // of a sample
    std::shared_ptr<Storage> codes_;
    Tensor ranges_;  // (B, groups, 2): least value, and the step of one code
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
