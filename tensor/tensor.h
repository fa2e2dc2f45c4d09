#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/storage.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

using Shape = std::vector<std::int64_t>;

/// "(8, 512, 768)"
std::string to_string(const Shape& shape);
/// The number of elements of a shape; 1 for the empty shape of a scalar. Throws Error for a
/// negative length, and if the lengths that are not 0 have a product that does not fit into 64
/// bits: whatever is computed from some of them then fits too.
std::int64_t numel(const Shape& shape);

/// A dense array of `real` in row-major order. A Tensor is a handle: copies share the storage, and
/// `reshape` gives another view of it; `clone` copies the values. A default-made Tensor is
/// undefined: it has no elements, and what needs values throws Error.
class Tensor {
  public:
    Tensor() = default;
    /// Uninitialised values. Throws Error if a dimension is negative, if there are more elements
    /// than can be counted, and if there is no memory for them.
    explicit Tensor(Shape shape);

    static Tensor zeros(Shape shape);
    static Tensor full(Shape shape, real value);
    static Tensor scalar(real value) { return full({}, value); }
    /// Throws Error unless there is exactly one value for each element.
    static Tensor from(Shape shape, std::span<const real> values);
    /// A view of values that lie in row-major order from `data` on. Throws Error unless all of
    /// them lie inside `storage`.
    static Tensor view(Shape shape, std::shared_ptr<Storage> storage, real* data);

    bool defined() const { return storage_ != nullptr; }
    /// Throws Error, in the name of `what`, for an undefined tensor.
    void require_defined(const char* what) const {
        require(defined(), "[{}] expected a tensor with values, got an undefined one", what);
    }
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

    /// Writes the values of a tensor of the same shape, or one value, into this one.
    void copy_from(const Tensor& values);
    void fill(real value);
    /// Tells that values have been written through data(), values() or at(): where one of them was
    /// kept for a backward to come, that backward then throws instead of giving a wrong gradient.
    /// Whatever writes to tensors that others may hold calls it; what it makes anew need not.
    void changed() {
        if (storage_) storage_->changed();
    }

    /// Nobody else can see the values: they may be overwritten.
    bool unique() const { return storage_.use_count() == 1 && !storage_->borrowed(); }
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

/// A shape, or that of a tensor ("nothing" if it is undefined), as an argument of require: it
/// becomes text only where the condition does not hold. Checks stand in the way of every operation.
struct ShownShape {
    const Shape* shape;
};
inline ShownShape shown(const Shape& shape) { return {&shape}; }
inline ShownShape shown(const Tensor& tensor) {
    return {tensor.defined() ? &tensor.shape() : nullptr};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad

template <>
struct fmt::formatter<slimgrad::ShownShape> : fmt::formatter<std::string> {
    template <class Context>
    auto format(const slimgrad::ShownShape& shown, Context& context) const {
        const std::string text = shown.shape ? slimgrad::to_string(*shown.shape) : "nothing";
        return fmt::formatter<std::string>::format(text, context);
    }
};
