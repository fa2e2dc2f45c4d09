#include "instant/codec/gact.h"

#include "tensor/checked.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

std::optional<QuantisedForm> GactCodec::form_of(const std::string& name,
                                                const Shape& sample) const {
    constexpr std::int64_t number = sizeof(float);  // whatever the build: the same values
    QuantisedForm form = form_;
    if (const auto found = bits_.find(name); found != bits_.end()) form.bits = found->second;
    if (name == probe_.name) form.bits = probe_.bits;
    if (form.bits == off || sample.empty() || sample.size() > 3) return {};
    if (form.bytes(sample, 1, number) >= number * numel(sample)) return {};
    return form;
}

std::shared_ptr<const PackedTensor> GactCodec::pack(const Tensor& value, const KeptAs& as) const {
    if (value.ndim() < 2) return nullptr;
    const Shape& shape = value.shape();
    const std::string name = as.name();
    const std::optional<QuantisedForm> form = form_of(name, Shape(shape.begin() + 1, shape.end()));
    if (!form) return nullptr;
    std::string purpose = "gact " + name;
    if (name == probe_.name) purpose += fmt::format(" probe {}", probe_.draw);
    const PhaseScope phase("compress");
    return std::make_shared<const Quantised>(value, *form, [&](std::int64_t sample) {
        return Stream(as.seed, purpose, as.step,
                      static_cast<std::uint32_t>(as.first_sample + sample));
    });
}

std::optional<PackedCost> GactCodec::cost(const std::string& name, const Shape& sample,
                                          std::int64_t samples) const {
    constexpr std::int64_t number = sizeof(float);
    const std::int64_t elements = Checked(samples) * numel(sample);
    const std::optional<QuantisedForm> form = form_of(name, sample);
    if (!form) return PackedCost{.bytes = Checked(number) * elements};
    return PackedCost{.bytes = form->bytes(sample, samples, number),
                      .pack = Checked(5) * elements,
                      .unpack = Checked(2) * elements};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
