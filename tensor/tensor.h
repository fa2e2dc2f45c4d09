#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/storage.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

using Shape = std::vector<std::int64_t>;

/// "(8, 512, 768)"
std::string to_string(const Shape& shape);
/// The number of elements of a shape; 1 for the empty shape of a scalar.
std::int64_t numel(const Shape& shape);

/// A dense array of `real` in row-major order. A Tensor is a handle: copies share the storage, and
/// `reshape` gives another view of it; `clone` copies the values. A default-made Tensor is
/// undefined.
class Tensor {
  public:
    Tensor() = default;
    /// Uninitialised values. Throws Error if a dimension is negative.
    explicit Tensor(Shape shape);

    static Tensor zeros(Shape shape);
    static Tensor full(Shape shape, real value);
    static Tensor scalar(real value) { return full({}, value); }
    /// Throws Error unless there is exactly one value for each element.
    static Tensor from(Shape shape, std::span<const real> values);
    /// A view of values that lie in row-major order from `data` on, inside `storage`.
    static Tensor view(Shape shape, std::shared_ptr<Storage> storage, real* data);

    bool defined() const { return storage_ != nullptr; }
    const Shape& shape() const { return shape_; }
    std::int64_t ndim() const { return static_cast<std::int64_t>(shape_.size()); }
    /// Length of one axis; negative axes count from the end.
    std::int64_t size(std::int64_t axis) const;
    std::int64_t numel() const { return numel_; }
    std::int64_t bytes() const { return numel_ * static_cast<std::int64_t>(sizeof(real)); }

    real* data() { return data_; }
    const real* data() const { return data_; }
    std::span<real> values() { return {data_, static_cast<std::size_t>(numel_)}; }
    std::span<const real> values() const { return {data_, static_cast<std::size_t>(numel_)}; }
    /// The value of a tensor with one element.
    real item() const;
    /// One element by its indices (slow; for tests and examples).
    real& at(const Shape& index) { return data_[offset(index)]; }
    real at(const Shape& index) const { return data_[offset(index)]; }

    /// The same values under another shape; one dimension may be -1. Shares the storage.
    Tensor reshape(Shape shape) const;
    /// `count` consecutive entries of the first axis from `begin`. Shares the storage.
    Tensor rows(std::int64_t begin, std::int64_t count) const;
    Tensor clone() const;

    const std::shared_ptr<Storage>& storage() const { return storage_; }
    /// Moves the buffer to another category of the ledger; returns *this.
    Tensor& mark(Category category);

  private:
    std::int64_t offset(const Shape& index) const;

    Shape shape_;
    std::int64_t numel_ = 0;
    std::shared_ptr<Storage> storage_;
    real* data_ = nullptr;
};

/// Two tensors of one shape with equal bits.
bool identical(const Tensor& a, const Tensor& b);

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
