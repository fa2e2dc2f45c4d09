#include "autograd/saved.h"

#include <algorithm>
#include <cstring>

#include "autograd/observer.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Each step is one to one in what it has so far and in the next word: one changed word always
/// changes the digest.
std::uint64_t digest(const Storage& storage) {
    constexpr std::uint64_t prime = 0x100000001b3;
    const auto* bytes = static_cast<const unsigned char*>(storage.data());
    std::uint64_t hash = storage.bytes(), word = 0;
    std::size_t i = 0;
    for (; i + sizeof word <= storage.bytes(); i += sizeof word) {
        std::memcpy(&word, bytes + i, sizeof word);
        hash = (hash ^ word) * prime;
    }
    for (; i < storage.bytes(); ++i) hash = (hash ^ bytes[i]) * prime;
    return hash;
}

/// The identity: a tensor held as it is.
class Plain final : public PackedTensor {
  public:
    explicit Plain(Tensor value) : value_(std::move(value)) {}
    Tensor unpack() const override { return value_; }
    Shape shape() const override { return value_.shape(); }
    std::vector<std::shared_ptr<Storage>> held() const override { return {value_.storage()}; }

  private:
    Tensor value_;
};

}  // namespace

Stamp::Stamp(const Storage& storage, bool with_digest) : version_(storage.version()) {
    if (with_digest) digest_ = digest(storage);
}

bool Stamp::holds(const Storage& storage) const {
    return version_ == storage.version() && (!digest_ || *digest_ == digest(storage));
}

BitMask::BitMask(std::int64_t size)
    : size_(size),
      storage_(
          std::make_shared<Storage>(static_cast<std::size_t>(numel({size}) / 8 + (size % 8 > 0)))),
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
    const Packer& packer, const Tensor& value,
    const std::function<std::shared_ptr<const Packed>()>& make, bool check) {
    std::erase_if(entries_,
                  [](const Entry& e) { return e.packed.expired() || e.storage.expired(); });
    for (const Entry& entry : entries_)
        if (entry.packer == packer && entry.data == value.data() && entry.shape == value.shape() &&
            entry.stamp.holds(*value.storage()))
            if (auto packed = entry.packed.lock()) return packed;
    std::shared_ptr<const Packed> packed = make();
    entries_.push_back({packer, value.data(), value.shape(), value.storage(),
                        Stamp(*value.storage(), check), packed});
    return packed;
}

bool Saved::needs_any() const {
    return std::ranges::any_of(needs_, [](bool need) { return need; });
}

KeptAs Saved::kept_as(std::string_view slot, std::optional<Keep> kind) const {
    KeptAs as = options_.as;
    as.slot = slot;
    as.kind = kind;
    return as;
}

void Saved::keep(Keep kind, std::string_view slot, const Tensor& value) {
    if (!needs_any()) return;
    value.require_defined("saved");
    const Codec* codec = options_.codec;
    if (kind == Keep::exact || codec == nullptr)
        return keep_as(slot, std::make_shared<Plain>(value), kind);
    const auto pack = [&] {
        std::shared_ptr<const PackedTensor> packed = codec->pack(value, kept_as(slot, kind));
        return packed ? packed : std::make_shared<const Plain>(value);
    };
    keep_as(slot, packed_once(codec, value, pack), kind);
    slots_.back().shape = value.shape();
}

void Saved::keep(std::string_view slot, std::shared_ptr<const Packed> packed) {
    if (needs_any()) keep_as(slot, std::move(packed), {});
}

void Saved::watch(std::string_view slot, const Tensor& value) {
    value.require_defined("saved");
    if (needs_any()) add(slot, std::make_shared<Plain>(value), false);
}

void Saved::keep_once(std::string_view slot, const Packer& packer, const Tensor& value,
                      const std::function<std::shared_ptr<const Packed>()>& make) {
    if (!needs_any()) return;
    value.require_defined("saved");
    keep_as(slot, packed_once(packer, value, make), {});
}

std::shared_ptr<const Packed> Saved::packed_once(
    const Packer& packer, const Tensor& value,
    const std::function<std::shared_ptr<const Packed>()>& make) {
    return options_.cache ? options_.cache->get(packer, value, make, options_.check) : make();
}

void Saved::keep_as(std::string_view slot, std::shared_ptr<const Packed> packed,
                    std::optional<Keep> kind) {
    add(slot, std::move(packed), true);
    if (options_.observer) options_.observer->kept(kept_as(slot, kind), *slots_.back().packed);
}

void Saved::add(std::string_view slot, std::shared_ptr<const Packed> packed, bool counted) {
    require(!has(slot), "[saved] '{}' is kept twice by one call", slot);
    require(packed != nullptr, "[saved] expected something to keep as '{}', got nothing", slot);
    Slot entry{std::string(slot), std::move(packed)};
    for (const auto& storage : entry.packed->held())
        if (storage)
            entry.buffers.push_back(
                {storage, Stamp(*storage, options_.check), counted ? Hold(storage) : Hold()});
    slots_.push_back(std::move(entry));
}

bool Saved::has(std::string_view slot) const {
    return std::ranges::any_of(slots_, [slot](const Slot& s) { return s.name == slot; });
}

const Saved::Slot& Saved::find(std::string_view slot) const {
    const auto found =
        std::ranges::find_if(slots_, [slot](const Slot& s) { return s.name == slot; });
    require(found != slots_.end(), "[saved] backward asked for '{}', which forward did not keep",
            slot);
    for (const Buffer& buffer : found->buffers)
        require(
            buffer.stamp.holds(*buffer.storage),
            "[{}] '{}' was changed after it had been kept for backward, whose gradient would be "
            "wrong. Hint: run backward before the optimizer and before what else writes to "
            "values, or keep a copy",
            current_layer(), slot);
    return *found;
}

Tensor Saved::tensor(std::string_view slot) const {
    const Slot& found = find(slot);
    const auto* packed = dynamic_cast<const PackedTensor*>(found.packed.get());
    require(packed != nullptr, "[saved] '{}' was kept as another type", slot);
    Tensor value = packed->unpack();
    require(!found.shape || (value.defined() && value.shape() == *found.shape),
            "[{}] the codec gave '{}' of shape {} back as {}", current_layer(), slot,
            shown(found.shape ? *found.shape : value.shape()), shown(value));
    return value;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
