#include "autograd/ops.h"

#include <cmath>
#include <functional>

#include "tensor/kernels/transcendental.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// A parameter that is kept stays exact; all else may be packed.
Keep kind(const Var& x) { return x.is_parameter() ? Keep::exact : Keep::activation; }

/// The adjoint of broadcasting; it counts even where nothing has to be summed.
Tensor unbroadcast(const Tensor& g, const Shape& shape) {
    meter().add(0);
    return sum_to(g, shape);
}

// y = a + sign b
//   g_a = g        g_b = sign g        summed over the axes that were broadcast
class AddFunction final : public Function {
  public:
    AddFunction(Shape a, Shape b, real sign) : a_(std::move(a)), b_(std::move(b)), sign_(sign) {}
    std::string name() const override { return sign_ > 0 ? "add" : "sub"; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        return sign_ > 0 ? in[0] + in[1] : in[0] - in[1];
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        std::vector<Grad> grads(2);
        if (saved.needs(0)) grads[0] = unbroadcast(gy, a_);
        if (saved.needs(1)) {
            const Tensor gb = unbroadcast(gy, b_);
            grads[1] = sign_ > 0 ? gb : gb * sign_;
        }
        return grads;
    }

  private:
    Shape a_, b_;
    real sign_;
};

// y = a ∘ b
//   g_a = g ∘ b        g_b = g ∘ a        summed over the axes that were broadcast
class MulFunction final : public Function {
  public:
    MulFunction(const Var& a, const Var& b)
        : a_(a.shape()), b_(b.shape()), keep_a_(kind(a)), keep_b_(kind(b)) {}
    std::string name() const override { return "mul"; }
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        if (saved.needs(1)) saved.keep(keep_a_, "a", in[0]);
        if (saved.needs(0)) saved.keep(keep_b_, "b", in[1]);
        return in[0] * in[1];
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        std::vector<Grad> grads(2);
        if (saved.needs(0)) grads[0] = sum_to(gy * saved.tensor("b"), a_);
        if (saved.needs(1)) grads[1] = sum_to(gy * saved.tensor("a"), b_);
        return grads;
    }

  private:
    Shape a_, b_;
    Keep keep_a_, keep_b_;
};

// y = alpha x        g_x = alpha g
class ScaleFunction final : public Function {
  public:
    explicit ScaleFunction(real alpha) : alpha_(alpha) {}
    std::string name() const override { return "scale"; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override { return in[0] * alpha_; }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        return {gy * alpha_};
    }

  private:
    real alpha_;
};

/// y = f(x) element by element. `Use` says whether the derivative is written in x or in y; only
/// that one is kept.
struct Elementary {
    enum class Use { x, y };
    std::string name;
    Use use;
    std::function<Tensor(const Tensor& x)> forward;
    std::function<Tensor(const Tensor& kept, const Tensor& gy)> backward;
};

class ElementaryFunction final : public Function {
  public:
    explicit ElementaryFunction(Elementary f) : f_(std::move(f)) {}
    std::string name() const override { return f_.name; }
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        Tensor y = f_.forward(in[0]);
        saved.keep(Keep::activation, "kept", f_.use == Elementary::Use::x ? in[0] : y);
        return y;
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        return {f_.backward(saved.tensor("kept"), gy)};
    }

  private:
    Elementary f_;
};

using Kernel = void (*)(std::int64_t, const real*, real*);
std::function<Tensor(const Tensor&)> by_kernel(Kernel kernel) {
    return [kernel](const Tensor& x) {
        Tensor y(x.shape());
        kernel(x.numel(), x.data(), y.data());
        return y;
    };
}

Var apply(const Var& x, Elementary f) {
    return x.tape().apply(std::make_shared<ElementaryFunction>(std::move(f)), {x});
}

/// An op that only moves data: its adjoint moves it back.
class MoveFunction final : public Function {
  public:
    using Move = std::function<Tensor(const Tensor&)>;
    MoveFunction(std::string name, Move there, Move back)
        : name_(std::move(name)), there_(std::move(there)), back_(std::move(back)) {}
    std::string name() const override { return name_; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        meter().add(0);
        return there_(in[0]);
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        meter().add(0);
        return {back_(gy)};
    }

  private:
    std::string name_;
    Move there_, back_;
};

Var move(const Var& x, std::string name, MoveFunction::Move there, MoveFunction::Move back) {
    return x.tape().apply(
        std::make_shared<MoveFunction>(std::move(name), std::move(there), std::move(back)), {x});
}

// y = [x_0, x_1, …] along one axis        g_i = the part of g where x_i lies
class ConcatFunction final : public Function {
  public:
    ConcatFunction(std::vector<std::int64_t> lengths, std::int64_t axis)
        : lengths_(std::move(lengths)), axis_(axis) {}
    std::string name() const override { return "concat"; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        return concat(std::vector<Tensor>(in.begin(), in.end()), axis_);
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        std::vector<Grad> grads(lengths_.size());
        std::int64_t begin = 0;
        for (std::size_t i = 0; i < lengths_.size(); begin += lengths_[i++])
            if (saved.needs(i)) grads[i] = slice(gy, axis_, begin, lengths_[i]);
        return grads;
    }

  private:
    std::vector<std::int64_t> lengths_;
    std::int64_t axis_;
};

Op flip(Op op) { return op == Op::none ? Op::transpose : Op::none; }

// y = A B with A = op_a(a): (…, m, k), B = op_b(b): (…, k, n)
//   g_A = g Bᵀ      (m,n)·(n,k)        g_B = Aᵀ g      (k,m)·(m,n)
// transposed again where a or b was; summed over the batch where a or b was shared by it.
class MatmulFunction final : public Function {
  public:
    MatmulFunction(const Var& a, const Var& b, Op op_a, Op op_b)
        : a_(a.shape()),
          b_(b.shape()),
          op_a_(op_a),
          op_b_(op_b),
          keep_a_(kind(a)),
          keep_b_(kind(b)) {}
    std::string name() const override { return "matmul"; }
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        if (saved.needs(1)) saved.keep(keep_a_, "a", in[0]);
        if (saved.needs(0)) saved.keep(keep_b_, "b", in[1]);
        return matmul(in[0], in[1], op_a_, op_b_);
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        std::vector<Grad> grads(2);
        if (saved.needs(0)) {
            const PhaseScope phase("g_a");
            const Tensor b = saved.tensor("b");
            grads[0] = sum_to(op_a_ == Op::none ? matmul(gy, b, Op::none, flip(op_b_))
                                                : matmul(b, gy, op_b_, Op::transpose),
                              a_);
        }
        if (saved.needs(1)) {
            const PhaseScope phase("g_b");
            grads[1] = gradient_b(gy, saved.tensor("a"));
        }
        return grads;
    }

  private:
    Tensor gradient_b(const Tensor& gy, const Tensor& a) const {
        if (b_.size() == 2 && a.ndim() > 2 && op_a_ == Op::none) {  // one product, inner size B·m
            const Tensor rows = a.reshape({1, -1, a.size(-1)});
            const Tensor g = gy.reshape({1, -1, gy.size(-1)});
            return op_b_ == Op::none ? matmul_sum(rows, g) : matmul_sum(g, rows);
        }
        return sum_to(op_b_ == Op::none ? matmul(a, gy, flip(op_a_), Op::none)
                                        : matmul(gy, a, Op::transpose, op_a_),
                      b_);
    }

    Shape a_, b_;
    Op op_a_, op_b_;
    Keep keep_a_, keep_b_;
};

/// gy repeated `x.size(axis)` times along a new axis, times alpha.
Tensor spread(const Tensor& gy, const Shape& x, std::size_t axis, real alpha) {
    Tensor gx(x);
    const std::int64_t length = x[axis];
    const std::int64_t inner = numel({x.begin() + static_cast<std::ptrdiff_t>(axis) + 1, x.end()});
    const std::int64_t rows = length > 0 && inner > 0 ? gx.numel() / inner : 0;
#pragma omp parallel for schedule(static) if (gx.numel() > parallel_threshold)
    for (std::int64_t r = 0; r < rows; ++r) {
        const real* from = gy.data() + r / length * inner;
        real* to = gx.data() + r * inner;
        for (std::int64_t i = 0; i < inner; ++i) to[i] = alpha * from[i];
    }
    meter().add(alpha == 1 ? 0 : gx.numel());
    return gx;
}

// y = alpha Σ x        g_x = alpha g, repeated over what was summed
// `axis` < 0 sums everything; alpha = 1/n makes it a mean.
class SumFunction final : public Function {
  public:
    SumFunction(std::string name, Shape x, std::int64_t axis, real alpha)
        : name_(std::move(name)), x_(std::move(x)), axis_(axis), alpha_(alpha) {}
    std::string name() const override { return name_; }
    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        Tensor y = axis_ < 0 ? Tensor::scalar(static_cast<real>(sum(in[0]))) : sum(in[0], axis_);
        if (alpha_ != 1) scale_in_place(y, alpha_);
        return y;
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        if (axis_ >= 0) return {spread(gy, x_, static_cast<std::size_t>(axis_), alpha_)};
        meter().add(alpha_ == 1 ? 0 : 1);
        return {Tensor::full(x_, alpha_ * gy.item())};
    }

  private:
    std::string name_;
    Shape x_;
    std::int64_t axis_;
    real alpha_;
};

Var reduce(const Var& x, const char* name, bool mean) {
    const auto n = static_cast<real>(x.value().numel());
    require(n > 0 || !mean, "[mean] expected at least one element, got shape {}", shown(x.shape()));
    return x.tape().apply(
        std::make_shared<SumFunction>(name, x.shape(), -1, mean ? 1 / n : real(1)), {x});
}

Var reduce(const Var& x, const char* name, std::int64_t axis, bool mean) {
    const std::int64_t a = axis < 0 ? axis + x.value().ndim() : axis;
    require(a >= 0 && a < x.value().ndim(), "[{}] axis {} does not exist in shape {}", name, axis,
            shown(x.shape()));
    const auto n = static_cast<real>(x.size(a));
    require(n > 0 || !mean, "[mean] axis {} of shape {} is empty", axis, shown(x.shape()));
    return x.tape().apply(std::make_shared<SumFunction>(name, x.shape(), a, mean ? 1 / n : real(1)),
                          {x});
}

}  // namespace

Var add(const Var& a, const Var& b) {
    return a.tape().apply(std::make_shared<AddFunction>(a.shape(), b.shape(), real(1)), {a, b});
}
Var sub(const Var& a, const Var& b) {
    return a.tape().apply(std::make_shared<AddFunction>(a.shape(), b.shape(), real(-1)), {a, b});
}
Var mul(const Var& a, const Var& b) {
    return a.tape().apply(std::make_shared<MulFunction>(a, b), {a, b});
}
Var operator+(const Var& a, const Var& b) { return add(a, b); }
Var operator-(const Var& a, const Var& b) { return sub(a, b); }
Var operator*(const Var& a, const Var& b) { return mul(a, b); }

Var scale(const Var& x, real alpha) {
    return x.tape().apply(std::make_shared<ScaleFunction>(alpha), {x});
}
Var operator*(const Var& x, real alpha) { return scale(x, alpha); }
Var operator*(real alpha, const Var& x) { return scale(x, alpha); }
Var neg(const Var& x) { return scale(x, -1); }
Var operator-(const Var& x) { return neg(x); }

// y = eˣ        g_x = g y
Var exp(const Var& x) {
    return apply(x, {"exp", Elementary::Use::y, by_kernel(exp),
                     [](const Tensor& y, const Tensor& gy) { return gy * y; }});
}

// y = ln x        g_x = g / x
Var log(const Var& x) {
    return apply(x,
                 {"log", Elementary::Use::x, by_kernel(log), [](const Tensor& v, const Tensor& gy) {
                      return map(gy, v, 1, [](real g, real e) { return g / e; });
                  }});
}

// y = tanh x        g_x = g (1 - y²)
Var tanh(const Var& x) {
    return apply(
        x, {"tanh", Elementary::Use::y, by_kernel(tanh), [](const Tensor& v, const Tensor& gy) {
                return map(gy, v, 3, [](real g, real y) { return g * (1 - y * y); });
            }});
}

// y = √x        g_x = g / (2 y)
Var sqrt(const Var& x) {
    return apply(x, {"sqrt", Elementary::Use::y,
                     [](const Tensor& v) { return map(v, 1, [](real e) { return std::sqrt(e); }); },
                     [](const Tensor& v, const Tensor& gy) {
                         return map(gy, v, 2, [](real g, real y) { return g / (2 * y); });
                     }});
}

// y = xᵖ        g_x = g p xᵖ⁻¹
Var pow(const Var& x, real p) {
    return apply(
        x, {"pow", Elementary::Use::x,
            [p](const Tensor& v) { return map(v, 1, [p](real e) { return std::pow(e, p); }); },
            [p](const Tensor& v, const Tensor& gy) {
                return map(gy, v, 3, [p](real g, real e) {
                    return p == 0 ? real(0) : g * p * std::pow(e, p - 1);
                });
            }});
}

// g_x = g under the shape of x
Var reshape(const Var& x, Shape shape) {
    return move(
        x, "reshape", [to = std::move(shape)](const Tensor& v) { return v.reshape(to); },
        [from = x.shape()](const Tensor& gy) { return gy.reshape(from); });
}

// g_x = g with its axes in the inverse order
Var transpose(const Var& x, std::vector<std::int64_t> order) {
    std::vector<std::int64_t> inverse(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        const auto axis = static_cast<std::size_t>(order[i]);
        if (axis < inverse.size()) inverse[axis] = static_cast<std::int64_t>(i);
    }
    return move(
        x, "transpose", [order](const Tensor& v) { return transpose(v, order); },
        [inverse](const Tensor& gy) { return transpose(gy, inverse); });
}

// g_x = g where the slice lay, zeros elsewhere
Var slice(const Var& x, std::int64_t axis, std::int64_t begin, std::int64_t count) {
    const std::int64_t length = x.size(axis);
    return move(
        x, "slice", [=](const Tensor& v) { return slice(v, axis, begin, count); },
        [=](const Tensor& gy) { return pad(gy, axis, begin, length); });
}

Var concat(const std::vector<Var>& parts, std::int64_t axis) {
    require(!parts.empty(), "[concat] expected at least one value");
    std::vector<std::int64_t> lengths;
    for (const Var& part : parts) lengths.push_back(part.size(axis));
    return parts.front().tape().apply(std::make_shared<ConcatFunction>(std::move(lengths), axis),
                                      parts);
}

Var matmul(const Var& a, const Var& b, Op op_a, Op op_b) {
    return a.tape().apply(std::make_shared<MatmulFunction>(a, b, op_a, op_b), {a, b});
}

Var sum(const Var& x) { return reduce(x, "sum", false); }
Var mean(const Var& x) { return reduce(x, "mean", true); }
Var sum(const Var& x, std::int64_t axis) { return reduce(x, "sum", axis, false); }
Var mean(const Var& x, std::int64_t axis) { return reduce(x, "mean", axis, true); }

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
