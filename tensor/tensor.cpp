#include "tensor/tensor.h"

#include <algorithm>
#include <cstring>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

std::string to_string(const Shape& shape) {
    return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

std::int64_t numel(const Shape& shape) {
    std::int64_t n = 1;
    bool empty = false;
    for (const std::int64_t length : shape) {
        require(length >= 0, "[tensor] dimensions must not be negative, got {}", shown(shape));
        empty = empty || length == 0;
        require(length == 0 || !__builtin_mul_overflow(n, length, &n),
                "[tensor] shape {} has more elements than can be counted", shown(shape));
    }
    return empty ? 0 : n;
}

namespace {

std::size_t bytes_of(const Shape& shape, std::int64_t numel) {
    std::int64_t bytes = 0;
    require(!__builtin_mul_overflow(numel, static_cast<std::int64_t>(sizeof(real)), &bytes),
            "[tensor] shape {} has more bytes than can be counted", shown(shape));
    return static_cast<std::size_t>(bytes);
}

bool is_negative(std::int64_t length) { return length < 0; }

}  // namespace

Tensor::Tensor(Shape shape) : shape_(std::move(shape)), numel_(slimgrad::numel(shape_)) {
    const std::size_t bytes = bytes_of(shape_, numel_);
    try {
        storage_ = std::make_shared<Storage>(bytes);
    } catch (const Error& error) {
        fail("{}, wanted for a tensor of shape {}", error.what(), to_string(shape_));
    }
    data_ = static_cast<real*>(storage_->data());
}

Tensor Tensor::zeros(Shape shape) { return full(std::move(shape), 0); }

Tensor Tensor::full(Shape shape, real value) {
    Tensor t(std::move(shape));
    std::ranges::fill(t.values(), value);
    return t;
}

Tensor Tensor::from(Shape shape, std::span<const real> values) {
    Tensor t(std::move(shape));
    require(t.values().size() == values.size(), "[tensor] shape {} needs {} values, got {}",
            shown(t.shape_), t.numel_, values.size());
    std::ranges::copy(values, t.data());
    return t;
}

Tensor Tensor::view(Shape shape, std::shared_ptr<Storage> storage, real* data) {
    require(storage != nullptr, "[tensor] expected the storage of a view, got none");
    Tensor t;
    t.numel_ = slimgrad::numel(shape);
    t.shape_ = std::move(shape);
    const std::size_t bytes = bytes_of(t.shape_, t.numel_);
    const auto begin = reinterpret_cast<std::uintptr_t>(data),
               first = reinterpret_cast<std::uintptr_t>(storage->data());
    require(bytes == 0 || (begin >= first && bytes <= storage->bytes() &&
                           begin - first <= storage->bytes() - bytes),
            "[tensor] a view of shape {} does not lie inside its storage of {} bytes",
            shown(t.shape_), storage->bytes());
    t.storage_ = std::move(storage);
    t.data_ = data;
    return t;
}

std::int64_t Tensor::size(std::int64_t axis) const {
    const std::int64_t from_front = axis < 0 ? axis + ndim() : axis;
    require(from_front >= 0 && from_front < ndim(), "[tensor] axis {} does not exist in shape {}",
            axis, shown(shape_));
    return shape_[static_cast<std::size_t>(from_front)];
}

real Tensor::item() const {
    require_defined("item");
    require(numel_ == 1, "[tensor] item() needs exactly one element, got shape {}", shown(shape_));
    return data_[0];
}

std::int64_t Tensor::offset(const Shape& index) const {
    require_defined("tensor");
    require(index.size() == shape_.size(), "[tensor] shape {} needs {} indices, got {}",
            shown(shape_), shape_.size(), index.size());
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < index.size(); ++axis) {
        require(index[axis] >= 0 && index[axis] < shape_[axis],
                "[tensor] index {} is outside shape {}", shown(index), shown(shape_));
        offset = offset * shape_[axis] + index[axis];
    }
    return offset;
}

Tensor Tensor::reshape(Shape shape) const {
    require_defined("reshape");
    const auto open = std::ranges::find(shape, -1);
    if (open != shape.end() && std::ranges::count_if(shape, is_negative) == 1) {
        *open = 1;
        const std::int64_t rest = slimgrad::numel(shape);
        *open = rest > 0 && numel_ % rest == 0 ? numel_ / rest : -1;
    }
    require(std::ranges::none_of(shape, is_negative) && slimgrad::numel(shape) == numel_,
            "[reshape] shape {} has {} elements and cannot become {}", shown(shape_), numel_,
            shown(shape));
    Tensor view = *this;
    view.shape_ = std::move(shape);
    return view;
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t count) const {
    require_defined("rows");
    require(ndim() > 0 && begin >= 0 && count >= 0 && begin <= size(0) && count <= size(0) - begin,
            "[rows] {} rows from {} on are outside shape {}", count, begin, shown(shape_));
    Tensor view = *this;
    view.shape_[0] = count;
    view.numel_ = slimgrad::numel(view.shape_);
    view.data_ += size(0) > 0 ? begin * (numel_ / size(0)) : 0;
    return view;
}

Tensor Tensor::clone() const { return defined() ? from(shape_, values()) : Tensor(); }

void Tensor::copy_from(const Tensor& values) {
    require_defined("copy_from");
    require(values.defined() && values.shape_ == shape_,
            "[copy_from] expected values of shape {}, got {}", shown(shape_), shown(values));
    if (numel_ > 0) std::memmove(data_, values.data_, static_cast<std::size_t>(bytes()));
    changed();
}

void Tensor::fill(real value) {
    require_defined("fill");
    std::ranges::fill(values(), value);
    changed();
}

Tensor& Tensor::mark(Category category) {
    require_defined("mark");
    storage_->set_category(category);
    return *this;
}

bool identical(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() &&
           (a.numel() == 0 ||
            std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.bytes())) == 0);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
