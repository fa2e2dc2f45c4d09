#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What a layer says about a value that it keeps for backward.
enum class Keep {
    activation,  // a codec may store it lossily
    exact        // parameters, indices, statistics: never changed
};

/// What a buffer held at one moment, to tell later whether it still does: its version and, where
/// asked for, a digest of all bytes, which also sees what the version is not told of.
class Stamp {
  public:
    Stamp(const Storage& storage, bool with_digest);
    /// Whether the same buffer still holds the same values, as far as the stamp can tell.
    bool holds(const Storage& storage) const;

  private:
    std::uint64_t version_;
    std::optional<std::uint64_t> digest_;
};

/// A kept value in the form in which it is really held in memory.
class Packed {
  public:
    virtual ~Packed() = default;
    /// Every buffer that this payload holds; the ledger counts them.
    virtual std::vector<std::shared_ptr<Storage>> held() const = 0;
};

/// A payload that stands for a dense tensor.
class PackedTensor : public Packed {
  public:
    virtual Tensor unpack() const = 0;
    /// Of what it stands for; without a word of its own, by unpacking it.
    virtual Shape shape() const { return unpack().shape(); }
};

/// Who keeps a value, as what and when: a codec chooses by it, and draws from streams of it.
struct KeptAs {
    std::string layer{};  // its path
    std::string slot{};
    std::optional<Keep> kind{};        // none: a payload in a form of its own
    std::uint64_t seed = 0, step = 0;  // of the run, and of training
    std::int64_t first_sample = 0;     // of the batch: where a part of it begins

    /// One name for the layer's slot, as settings and reports have it.
    std::string name() const { return layer + " " + slot; }
};

/// What becomes of a value that a codec packs, in closed form and single precision.
struct PackedCost {
    std::int64_t bytes = 0;
    std::int64_t pack = 0, unpack = 0;  // FLOPs, of unpacking it once
};

/// Stores activations in another form, for example quantised. The tape applies it to all that
/// layers keep as Keep::activation, never to parameters, indices and statistics. Each value is
/// packed once, for the first layer that keeps it.
class Codec {
  public:
    virtual ~Codec() = default;
    /// Null: the value is kept as it is.
    virtual std::shared_ptr<const PackedTensor> pack(const Tensor& value,
                                                     const KeptAs& as) const = 0;
    /// The same in closed form, of samples of one shape; none: it is not known.
    virtual std::optional<PackedCost> cost(const std::string& /*name: KeptAs::name*/,
                                           const Shape& /*sample*/,
                                           std::int64_t /*samples*/) const {
        return {};
    }
};

/// One bit for each element of a tensor.
class BitMask : public Packed {
  public:
    /// Throws Error for a negative size.
    explicit BitMask(std::int64_t size);
    /// Bit i = (value_i > 0). Counts one comparison an element.
    static std::shared_ptr<const BitMask> positive(const Tensor& value);

    std::int64_t size() const { return size_; }
    bool operator[](std::int64_t i) const { return (bits_[i >> 3] >> (i & 7)) & 1; }
    /// Bits 8 i … 8 i + 7 at once; distinct bytes may be written by distinct threads.
    std::uint8_t* bytes() { return bits_; }
    const std::uint8_t* bytes() const { return bits_; }
    std::vector<std::shared_ptr<Storage>> held() const override { return {storage_}; }

  private:
    std::int64_t size_;
    std::shared_ptr<Storage> storage_;
    std::uint8_t* bits_;
};

/// What makes a payload: equal packers make equal payloads of one value.
struct Packer {
    const void* owner = nullptr;
    std::string group{};  // of layers for which the owner makes the same

    Packer(const void* owner, std::string group = {})  // NOLINT: most owners make one payload
        : owner(owner), group(std::move(group)) {}
    friend bool operator==(const Packer&, const Packer&) = default;
};

/// Payloads made once and shared by all that keep the same buffer through equal packers: Q, K and
/// V share the projection of their common input this way. Entries die with their last user.
class PackCache {
  public:
    /// The payload that `packer` has already made of `value`, unless that has been changed since
    /// (by digests if `check`), or a new one from `make`.
    std::shared_ptr<const Packed> get(const Packer& packer, const Tensor& value,
                                      const std::function<std::shared_ptr<const Packed>()>& make,
                                      bool check = false);

  private:
    struct Entry {
        Packer packer;
        const real* data;
        Shape shape;
        std::weak_ptr<Storage> storage;
        Stamp stamp;
        std::weak_ptr<const Packed> packed;
    };
    std::vector<Entry> entries_;
};

class TapeObserver;

/// How a call keeps what it keeps.
struct SavedOptions {
    const Codec* codec = nullptr;
    PackCache* cache = nullptr;
    bool check = false;  // as in TapeOptions::check_saved
    KeptAs as{};         // all but the slot
    TapeObserver* observer = nullptr;
};

/// What one executed call keeps between its forward and its backward, by name. Backward sees
/// nothing else of the call. If no input of the call needs a gradient, keeping does nothing.
///
/// A kept value must stay as it is until backward: reading it throws Error if the library was told
/// of a change (an optimiser's step, Tensor::changed), with `check` also if any byte is another.
class Saved {
  public:
    /// `needs[i]`: input i of the call needs a gradient.
    explicit Saved(std::vector<bool> needs, SavedOptions options = {})
        : needs_(std::move(needs)), options_(std::move(options)) {}

    /// How many inputs the call has, and whether one of them needs a gradient.
    std::size_t inputs() const { return needs_.size(); }
    /// Throws Error for an input that the call does not have.
    bool needs(std::size_t input) const {
        require(input < needs_.size(), "[saved] the call has {} inputs, asked for number {}",
                needs_.size(), input);
        return needs_[input];
    }
    bool needs_any() const;

    /// Keeps a tensor.
    void keep(Keep kind, std::string_view slot, const Tensor& value);
    /// Keeps a payload as it is.
    void keep(std::string_view slot, std::shared_ptr<const Packed> packed);
    /// Watches a tensor that the function holds itself, a mask say: `tensor(slot)` gives it back,
    /// unchanged or not at all. It does not count as kept.
    void watch(std::string_view slot, const Tensor& value);
    /// Keeps the payload that `make` makes of `value`, made once for each `packer` and `value`.
    void keep_once(std::string_view slot, const Packer& packer, const Tensor& value,
                   const std::function<std::shared_ptr<const Packed>()>& make);

    bool has(std::string_view slot) const;
    /// A kept tensor, unpacked. Throws Error if the slot was not kept, or if a codec
    /// gives back another shape.
    Tensor tensor(std::string_view slot) const;
    /// A kept payload of type P. Throws Error if the slot holds another type.
    template <class P>
    const P& as(std::string_view slot) const {
        const P* payload = dynamic_cast<const P*>(find(slot).packed.get());
        require(payload != nullptr, "[saved] '{}' was kept as another type", slot);
        return *payload;
    }

    /// All kept payloads of type P, in the order in which they were kept.
    template <class P>
    std::vector<const P*> all() const {
        std::vector<const P*> found;
        for (const Slot& slot : slots_)
            if (const auto* payload = dynamic_cast<const P*>(slot.packed.get()))
                found.push_back(payload);
        return found;
    }

  private:
    struct Buffer {
        std::shared_ptr<const Storage> storage;
        Stamp stamp;
        Hold hold;
    };
    struct Slot {
        std::string name;
        std::shared_ptr<const Packed> packed;
        std::vector<Buffer> buffers{};
        std::optional<Shape> shape{};  // of what a codec has packed
    };
    void keep_as(std::string_view slot, std::shared_ptr<const Packed> packed,
                 std::optional<Keep> kind);
    void add(std::string_view slot, std::shared_ptr<const Packed> packed, bool counted);
    /// Of the values in cache, or a new one.
    std::shared_ptr<const Packed> packed_once(
        const Packer& packer, const Tensor& value,
        const std::function<std::shared_ptr<const Packed>()>& make);
    KeptAs kept_as(std::string_view slot, std::optional<Keep> kind) const;
    const Slot& find(std::string_view slot) const;

    std::vector<bool> needs_;
    SavedOptions options_;
    std::vector<Slot> slots_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
