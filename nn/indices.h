#pragma once

#include <cstring>
#include <span>

#include "autograd/saved.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Integers that a layer keeps for backward (tokens, labels), counted by the ledger.
class Indices final : public Packed {
  public:
    explicit Indices(std::span<const std::int32_t> values)
        : size_(values.size()), storage_(std::make_shared<Storage>(values.size_bytes())) {
        if (size_ > 0) std::memcpy(storage_->data(), values.data(), values.size_bytes());
    }

    std::span<const std::int32_t> values() const {
        return {static_cast<const std::int32_t*>(storage_->data()), size_};
    }
    std::vector<std::shared_ptr<Storage>> held() const override { return {storage_}; }

  private:
    std::size_t size_;
    std::shared_ptr<Storage> storage_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
