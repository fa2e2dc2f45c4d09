#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "instant/codec/quantised.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// GACT (Liu et al. 2022): every activation of two to four axes is kept in few bits. What quantised
/// would not be smaller stays as it is. The rounding of a sample is a function of the run's seed,
/// the step, the layer, the slot and the sample.
class GactCodec final : public Codec {
  public:
    /// Bits that leave a value as it is.
    static constexpr int off = 32;

    /// `form.bits`: those of all values whose bits are not set by name.
    explicit GactCodec(QuantisedForm form) : form_(form) {}

    const QuantisedForm& form() const { return form_; }

    std::shared_ptr<const PackedTensor> pack(const Tensor& value, const KeptAs& as) const override;

    std::optional<PackedCost> cost(const std::string& name, const Shape& sample,
                                   std::int64_t samples) const override;

    /// How a value of this shape is kept, without the axis of the batch; none: as it is.
    std::optional<QuantisedForm> form_of(const std::string& name, const Shape& sample) const;

    /// While it lives, one value has other bits and other draws, to see what they matter.
    class Probe {
      public:
        Probe(GactCodec& codec, std::string name, int bits, int draw) : codec_(codec) {
            codec_.probe_ = {std::move(name), bits, draw};
        }
        ~Probe() { codec_.probe_ = {}; }
        Probe(const Probe&) = delete;
        Probe& operator=(const Probe&) = delete;

      private:
        GactCodec& codec_;
    };

    /// Bits by KeptAs::name: 1, 2, 4, 8 or `off`. Between two steps only.
    void set_bits(std::map<std::string, int> bits) { bits_ = std::move(bits); }
    const std::map<std::string, int>& bits() const { return bits_; }

  private:
    struct Probed {
        std::string name;
        int bits = 0, draw = 0;
    };

    QuantisedForm form_;
    std::map<std::string, int> bits_;
    Probed probe_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
