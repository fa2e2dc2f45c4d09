#include "autograd/saved.h"

#include <algorithm>
#include <cstring>

#include "tensor/kernels/elementwise.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

/// The identity: a tensor held as it is.
class Plain final : public PackedTensor {
  public:
    explicit Plain(Tensor value) : value_(std::move(value)) {}
    Tensor unpack() const override { return value_; }
    std::vector<std::shared_ptr<Storage>> held() const override { return {value_.storage()}; }

  private:
    Tensor value_;
};

}  // namespace

BitMask::BitMask(std::int64_t size)
    : size_(size),
      storage_(std::make_shared<Storage>(static_cast<std::size_t>((size + 7) / 8))),
      bits_(static_cast<std::uint8_t*>(storage_->data())) {}

std::shared_ptr<const BitMask> BitMask::positive(const Tensor& value) {
    auto mask = std::make_shared<BitMask>(value.numel());
    const std::int64_t n = value.numel();
    const real* x = value.data();
    std::uint8_t* bytes = mask->bytes();
    const auto byte = [x](std::int64_t begin, std::int64_t count) {
        unsigned bits = 0;
        for (std::int64_t i = 0; i < count; ++i)
            bits |= static_cast<unsigned>(x[begin + i] > 0) << i;
        return static_cast<std::uint8_t>(bits);
    };
    const std::int64_t whole = n / 8;  // eight elements at once make one vector
#pragma omp parallel for schedule(static) if (n > parallel_threshold)
    for (std::int64_t b = 0; b < whole; ++b) bytes[b] = byte(8 * b, 8);
    if (n % 8 > 0) bytes[whole] = byte(8 * whole, n % 8);
    meter().add(n);
    return mask;
}

std::shared_ptr<const Packed> PackCache::get(
    const void* packer, const Tensor& value,
    const std::function<std::shared_ptr<const Packed>()>& make) {
    std::erase_if(entries_,
                  [](const Entry& e) { return e.packed.expired() || e.storage.expired(); });
    for (const Entry& entry : entries_)
        if (entry.packer == packer && entry.data == value.data() && entry.shape == value.shape())
            if (auto packed = entry.packed.lock()) return packed;
    std::shared_ptr<const Packed> packed = make();
    entries_.push_back({packer, value.data(), value.shape(), value.storage(), packed});
    return packed;
}

Saved::Saved(std::vector<bool> needs, const Codec* codec, PackCache* cache)
    : needs_(std::move(needs)), codec_(codec), cache_(cache) {}

bool Saved::needs_any() const {
    return std::ranges::any_of(needs_, [](bool need) { return need; });
}

void Saved::keep(Keep kind, std::string_view slot, const Tensor& value,
                 std::function<Tensor(const Tensor&)> restore) {
    const auto plain = [&] { return std::make_shared<Plain>(value); };
    if (kind == Keep::activation && codec_ != nullptr)
        keep_once(slot, codec_, value, [&] { return codec_->pack(value); });
    else
        keep(slot, plain());
    if (!slots_.empty()) slots_.back().restore = std::move(restore);
}

void Saved::keep(std::string_view slot, std::shared_ptr<const Packed> packed) {
    if (!needs_any()) return;
    require(!has(slot), "[saved] '{}' is kept twice by one call", slot);
    Slot entry{slot, std::move(packed), nullptr, {}};
    for (const auto& storage : entry.packed->held()) entry.holds.emplace_back(storage);
    slots_.push_back(std::move(entry));
}

void Saved::keep_once(std::string_view slot, const void* packer, const Tensor& value,
                      const std::function<std::shared_ptr<const Packed>()>& make) {
    if (!needs_any()) return;
    keep(slot, cache_ ? cache_->get(packer, value, make) : make());
}

bool Saved::has(std::string_view slot) const {
    return std::ranges::any_of(slots_, [slot](const Slot& s) { return s.name == slot; });
}

const Saved::Slot& Saved::find(std::string_view slot) const {
    const auto found =
        std::ranges::find_if(slots_, [slot](const Slot& s) { return s.name == slot; });
    require(found != slots_.end(), "[saved] backward asked for '{}', which forward did not keep",
            slot);
    return *found;
}

Tensor Saved::tensor(std::string_view slot) const {
    const Slot& found = find(slot);
    const Tensor value = as<PackedTensor>(slot).unpack();
    return found.restore ? found.restore(value) : value;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
