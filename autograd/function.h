#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "autograd/saved.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A subspace in which a gradient may be expressed until the update: CompAct's rule leaves g_w on
/// one, GaLore puts it on one. The optimiser then works in the gradient's own space: its moments
/// have the shape of the compressed gradient, and it expands the update. What is not overridden is
/// right for a basis that stays the same for good.
class Basis {
  public:
    virtual ~Basis() = default;
    /// What a compressed gradient stands for.
    virtual Tensor expand(const Tensor& compressed) const = 0;
    /// The shape of that, for checks before anything is updated; none: expand it to know.
    virtual std::optional<Shape> dense_shape(const Shape& /*compressed*/) const { return {}; }
    /// Whether compressed gradients on both add up as they are. Each call of a layer makes a basis
    /// of its own.
    virtual bool same_as(const Basis& other) const { return this == &other; }

    // What an optimiser asks.

    /// Which of the bases that a parameter has in turn this is. Moments hold for one period.
    virtual std::int64_t period() const { return 0; }
    /// α: the update is multiplied by it, weight decay is not.
    virtual double scale() const { return 1; }
    /// A running mean of compressed gradients (power 1) or of their squares (power 2) of an earlier
    /// period, for this one.
    virtual Tensor carry(const Tensor& moment, int /*power*/,
                         std::int64_t /*period_before*/) const {
        return moment;
    }
};

/// A gradient: dense, or compressed together with its basis.
struct Grad {
    Tensor value;
    std::shared_ptr<const Basis> basis;

    Grad() = default;
    Grad(Tensor value) : value(std::move(value)) {}  // NOLINT: a dense gradient is a tensor
    Grad(Tensor value, std::shared_ptr<const Basis> basis)
        : value(std::move(value)), basis(std::move(basis)) {}

    bool defined() const { return value.defined(); }
    Tensor dense() const { return basis ? basis->expand(value) : value; }
    /// Adds another gradient, in place where nobody else sees the values; the sum stays compressed
    /// if both have one basis, or equal ones.
    void add(Grad other);
};

/// A step of a computation that knows its own derivative. An object describes what is computed,
/// never one execution of it: all that passes from forward to backward goes through `saved`.
class Function {
  public:
    virtual ~Function() = default;
    /// The layer under which FLOPs and saved bytes are counted.
    virtual std::string name() const = 0;
    virtual Tensor forward(std::span<const Tensor> inputs, Saved& saved) const = 0;
    /// The gradient of each input, in order and of its shape. An entry may stay undefined where
    /// `saved.needs(i)` is false. `gy` has the shape of the output and must not be changed. The
    /// tape throws Error for another shape, and for a gradient that is needed and missing.
    virtual std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const = 0;
};

/// A trainable value and its gradient.
struct Parameter {
    Tensor value;
    Grad grad;
    bool requires_grad = true;

    Parameter() = default;
    explicit Parameter(Tensor initial) : value(std::move(initial)) {
        value.mark(Category::parameters);
    }

    /// The gradient, dense. Throws Error, in the name of `name`, unless there is one and it has the
    /// shape of the value: both may have been replaced since backward.
    Tensor dense_grad(const std::string& name) const;
    /// Throws the same, and expands a compressed gradient only if its basis does not say the shape.
    void check_grad(const std::string& name) const;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
