#include "autograd/function.h"

#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// a + b, in the buffer of one of them if nobody else sees it.
Tensor sum(Tensor a, Tensor b) {
    require(a.shape() == b.shape(), "[gradient] gradients of shapes {} and {} do not add up",
            shown(a.shape()), shown(b.shape()));
    if (!a.unique()) std::swap(a, b);
    if (!a.unique()) return map(a, b, 1, [](real x, real y) { return x + y; });
    add_in_place(a, b);
    return a;
}

}  // namespace

void Grad::add(Grad other) {
    if (!defined()) {
        *this = std::move(other);
    } else if (basis == other.basis || (basis && other.basis && basis->same_as(*other.basis))) {
        value = sum(std::move(value), std::move(other.value));
    } else {
        value = sum(dense(), other.dense());
        basis = nullptr;
    }
}

Tensor Parameter::dense_grad(const std::string& name) const {
    require(value.defined(), "[{}] the parameter has no value", name);
    require(grad.defined(), "[{}] the parameter has no gradient", name);
    Tensor dense = grad.dense();
    require(dense.defined() && dense.shape() == value.shape(),
            "[{}] expected a gradient of the parameter's shape {}, got {}", name,
            shown(value.shape()), shown(dense));
    return dense;
}

void Parameter::check_grad(const std::string& name) const {
    const std::optional<Shape> shape =
        grad.basis && grad.defined() ? grad.basis->dense_shape(grad.value.shape()) : std::nullopt;
    if (!shape || !value.defined()) return void(dense_grad(name));
    require(*shape == value.shape(), "[{}] expected a gradient of the parameter's shape {}, got {}",
            name, shown(value.shape()), shown(*shape));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
