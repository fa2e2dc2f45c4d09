#include "instant/cost/kept.h"

#include <algorithm>
#include <map>
#include <set>

#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// Notes what is kept and holds it, so that no buffer is seen twice for another value.
class Keeper final : public TapeObserver {
  public:
    struct Seen {
        KeptAs as;
        std::shared_ptr<Storage> storage;
        Tensor tensor{};  // of what is no payload in a form of its own
        std::int64_t bits = 0;
    };
    explicit Keeper(Module& model) {
        for (const Parameter* parameter : parameters(model))
            own_.insert(parameter->value.storage().get());
        for_each_buffer(model, [&](auto&, Tensor& buffer) { own_.insert(buffer.storage().get()); });
    }

    void kept(const KeptAs& as, const Packed& payload) override {
        const auto* tensor = as.kind ? dynamic_cast<const PackedTensor*>(&payload) : nullptr;
        for (const auto& storage : payload.held()) {
            if (!storage || own_.contains(storage.get())) continue;
            Seen& now = seen.emplace_back(Seen{as, storage});
            constexpr std::int64_t single = 32;
            const auto bytes = static_cast<std::int64_t>(storage->bytes());
            now.bits = 8 * bytes;
            if (tensor) {
                now.tensor = tensor->unpack();
                now.bits = bytes / static_cast<std::int64_t>(sizeof(real)) * single;
            }
            if (const auto* mask = dynamic_cast<const BitMask*>(&payload)) now.bits = mask->size();
        }
    }
    std::vector<Seen> seen;

  private:
    std::set<const Storage*> own_;
};

std::vector<Keeper::Seen> run(Module& model, TapeOptions options, std::int64_t batch,
                              const std::function<void(Tape&, std::int64_t)>& forward) {
    Keeper keeper(model);
    options.codec = nullptr;
    options.update_statistics = false;
    options.observer = &keeper;
    const RuleSwap exact(model, [](LinearMap&) { return ExactRule::instance(); });
    Tape tape(options);
    forward(tape, batch);
    return std::move(keeper.seen);
}

std::int64_t bytes_of(const KeptValue& value, std::int64_t batch) {
    return (Checked(value.bits_a_sample) * batch + value.bits_a_batch + 7) / 8;
}

}  // namespace

std::vector<KeptValue> trace_kept(
    Module& model, const TapeOptions& options,
    const std::function<void(Tape& tape, std::int64_t batch)>& forward) {
    constexpr std::int64_t small = 2, large = 3;
    std::set<std::string> linear;
    for (const LinearMap* layer : linear_maps(model)) linear.insert(layer->path());
    const std::vector<Keeper::Seen> one = run(model, options, small, forward);
    const std::vector<Keeper::Seen> other = run(model, options, large, forward);
    require(one.size() == other.size(),
            "[cost] batches of {} and {} samples keep {} and {} values: what is kept does not "
            "follow from the size of the batch",
            small, large, one.size(), other.size());
    std::vector<KeptValue> values;
    for (std::size_t i = 0; i < one.size(); ++i) {
        const auto& [as, storage, tensor, bits] = one[i];
        KeptValue value{.layer = as.layer, .slot = as.slot};
        value.activation = as.kind == Keep::activation;
        value.linear_x = linear.contains(as.layer) && as.slot == "x";
        if (value.activation && tensor.ndim() > 0)
            value.sample = Shape(tensor.shape().begin() + 1, tensor.shape().end());
        value.bits_a_sample = other[i].bits - bits;
        value.bits_a_batch = bits - small * value.bits_a_sample;
        value.buffer = value.value = i;
        for (std::size_t j = i; j-- > 0;) {
            if (one[j].storage != storage) continue;
            value.buffer = j;
            const Tensor& before = one[j].tensor;
            if (tensor.defined() && before.defined() && before.data() == tensor.data() &&
                before.shape() == tensor.shape())
                value.value = j;
        }
        values.push_back(std::move(value));
    }
    return values;
}

KeptBytes kept_bytes(const std::vector<KeptValue>& values, const Codec* codec,
                     const ModelCost& linear, std::int64_t batch) {
    std::map<std::string, std::int64_t> in_another_form;  // of linear maps, bytes of x
    for (const ModelCost::Row& row : linear.rows)
        if (!row.compression.keeps_x() && row.layer.needs_gw)
            in_another_form[row.layer.name] += row.cost.saved_bytes;

    KeptBytes kept;
    std::set<std::size_t> buffers;
    std::map<std::size_t, std::string> packers;  // the first that keeps a value chooses its bits
    std::set<std::string> counted;
    for (const KeptValue& value : values) {
        std::int64_t& bytes = kept.of_value.emplace_back(0);
        if (const auto form = in_another_form.find(value.layer);
            value.linear_x && form != in_another_form.end()) {
            if (counted.insert(value.layer).second) bytes = form->second;
            kept.total = Checked(kept.total) + bytes;
            continue;
        }
        std::optional<PackedCost> packed;
        bool first = false;
        if (value.activation && codec) {
            const auto [packer, is_first] = packers.try_emplace(value.value, value.name());
            packed = codec->cost(packer->second, value.sample, batch);
            first = is_first;
            require(packed.has_value(),
                    "[cost] the codec has no closed form. Hint: train, its run counts");
        }
        if (packed && packed->pack > 0)
            bytes = first ? packed->bytes : 0;
        else if (buffers.insert(value.buffer).second)
            bytes = bytes_of(value, batch);
        kept.total = Checked(kept.total) + bytes;
    }
    return kept;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
