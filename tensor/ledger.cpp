#include "tensor/ledger.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "tensor/allocator.h"
#include "tensor/meter.h"
#include "tensor/storage.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// One lock for the ledger and for what every Storage knows of its place there.
std::mutex mutex;

void grow(Held& held, std::int64_t bytes) {
    held.live += bytes;
    held.peak = std::max(held.peak, held.live);
}

}  // namespace

std::string_view name(Category category) {
    constexpr std::array<std::string_view, category_count> names = {
        "parameters", "gradients", "saved", "optimizer", "projectors", "workspace"};
    return names.at(static_cast<std::size_t>(category));
}

Ledger& ledger() {
    static Ledger& instance = *new Ledger;  // outlives every tensor
    return instance;
}

Held Ledger::operator[](Category category) const {
    const std::lock_guard lock(mutex);
    return held_.at(static_cast<std::size_t>(category));
}

Held Ledger::total() const {
    const std::lock_guard lock(mutex);
    return total_;
}

std::map<std::string, std::int64_t> Ledger::saved_by_layer() const {
    const std::lock_guard lock(mutex);
    return saved_by_layer_;
}

void Ledger::reset_peaks() {
    const std::lock_guard lock(mutex);
    for (Held& held : held_) held.peak = held.live;
    total_.peak = total_.live;
}

void Ledger::add(Category category, std::int64_t bytes) {
    grow(held_.at(static_cast<std::size_t>(category)), bytes);
    grow(total_, bytes);
}

void Ledger::add_saved(const std::string& layer, std::int64_t bytes) {
    if ((saved_by_layer_[layer] += bytes) == 0) saved_by_layer_.erase(layer);
}

Storage::Storage(std::size_t bytes, Category category)
    : data_(allocator::allocate(bytes)), bytes_(bytes), category_(category) {
    const std::lock_guard lock(mutex);
    enter(+1);
}

Storage::Storage(void* data, std::size_t bytes, std::shared_ptr<const void> owner)
    : data_(data), bytes_(bytes), category_(Category::workspace), owner_(std::move(owner)) {
    const std::lock_guard lock(mutex);
    enter(+1);
}

Storage::~Storage() {
    {
        const std::lock_guard lock(mutex);
        enter(-1);
    }
    if (!owner_) allocator::deallocate(data_, bytes_);
}

/// Enters the buffer in the ledger (+1) or strikes it out (-1), under what it is for now. The lock
/// must be held.
void Storage::enter(int sign) const {
    const std::int64_t bytes = sign * static_cast<std::int64_t>(bytes_);
    const bool saved = holds_ > 0 && category_ == Category::workspace;
    ledger().add(saved ? Category::saved : category_, bytes);
    if (saved) ledger().add_saved(holder_, bytes);
}

void Storage::set_category(Category category) {
    const std::lock_guard lock(mutex);
    enter(-1);
    category_ = category;
    enter(+1);
}

void Storage::hold() {
    const std::lock_guard lock(mutex);
    if (holds_ > 0) {
        ++holds_;
        return;
    }
    enter(-1);
    holder_ = current_layer();
    holds_ = 1;
    enter(+1);
}

void Storage::release() {
    const std::lock_guard lock(mutex);
    enter(-1);
    --holds_;
    enter(+1);
}

Hold::Hold(std::shared_ptr<Storage> storage) : storage_(std::move(storage)) {
    if (storage_) storage_->hold();
}

Hold::~Hold() {
    if (storage_) storage_->release();
}

Hold& Hold::operator=(Hold&& other) noexcept {
    std::swap(storage_, other.storage_);
    return *this;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
