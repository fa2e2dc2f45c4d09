#include "tensor/ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "tensor/checked.h"
#include "tensor/kernels/softmax.h"
#include "tensor/kernels/transcendental.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// A tensor seen from one axis: `outer` blocks of `length` entries of `inner` elements each.
struct AxisView {
    std::int64_t axis, outer, length, inner;
};

AxisView along(const Tensor& x, std::int64_t axis, const char* what) {
    const std::int64_t a = axis < 0 ? axis + x.ndim() : axis;
    require(a >= 0 && a < x.ndim(), "[{}] axis {} does not exist in shape {}", what, axis,
            shown(x.shape()));
    const auto begin = x.shape().begin();
    const auto product = [](auto first, auto last) {
        return std::accumulate(first, last, std::int64_t{1}, std::multiplies<>());
    };
    return {a, product(begin, begin + a), x.size(a), product(begin + a + 1, x.shape().end())};
}

Shape with_length(const Shape& shape, std::int64_t axis, std::int64_t length) {
    Shape result = shape;
    result[static_cast<std::size_t>(axis)] = length;
    return result;
}

/// Strides of `x` seen under the larger `shape`; 0 along the axes that are repeated.
Shape broadcast_strides(const Shape& from, const Shape& to) {
    Shape strides(to.size(), 0);
    std::int64_t stride = 1;
    for (std::size_t i = 0; i < from.size(); ++i) {
        const std::size_t source = from.size() - 1 - i, target = to.size() - 1 - i;
        require(i < to.size() && (from[source] == to[target] || from[source] == 1),
                "[broadcast] shape {} does not fit {}", shown(from), shown(to));
        strides[target] = from[source] == 1 ? 0 : stride;
        stride *= from[source];
    }
    return strides;
}

/// How many elements are repeated as one run when `from` is broadcast to `to`; 0 where broadcasting
/// also repeats within (a length 1 behind a longer axis).
std::int64_t repeated_run(const Shape& from, const Shape& to) {
    auto first = std::ranges::find_if(from, [](std::int64_t length) { return length != 1; });
    const Shape tail(first, from.end());
    const bool fits =
        from.size() <= to.size() && std::equal(tail.rbegin(), tail.rend(), to.rbegin());
    return fits ? numel(tail) : 0;
}

/// Calls visit(i, j) for every element i of `shape` in order, j its offset under `strides`.
template <class Visit>
void for_each_offset(const Shape& shape, const Shape& strides, Visit visit) {
    const std::int64_t n = numel(shape);
    Shape index(shape.size(), 0);
    std::int64_t offset = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        visit(i, offset);
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            offset += strides[axis];
            if (++index[axis] < shape[axis]) break;
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

template <class F>
Tensor binary(const Tensor& a, const Tensor& b, F f) {
    if (a.shape() == b.shape()) return map(a, b, 1, f);
    const Shape shape = broadcast_shape(a.shape(), b.shape());
    return map(broadcast_to(a, shape), broadcast_to(b, shape), 1, f);
}

/// to += from
void accumulate(std::int64_t n, const real* from, real* to) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) to[j] += from[j];
}

}  // namespace

Shape broadcast_shape(const Shape& a, const Shape& b) {
    Shape result(std::max(a.size(), b.size()), 1);
    for (std::size_t i = 0; i < result.size(); ++i) {
        const std::int64_t la = i < a.size() ? a[a.size() - 1 - i] : 1;
        const std::int64_t lb = i < b.size() ? b[b.size() - 1 - i] : 1;
        require(la == lb || la == 1 || lb == 1, "[broadcast] shapes {} and {} do not fit", shown(a),
                shown(b));
        result[result.size() - 1 - i] = la == 1 ? lb : la;
    }
    return result;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
    x.require_defined("broadcast");
    if (x.shape() == shape) return x;
    Tensor y(shape);
    if (const std::int64_t run = repeated_run(x.shape(), shape); run > 0) {
        const std::int64_t rows = y.numel() / run;
#pragma omp parallel for schedule(static) if (y.numel() > parallel_threshold)
        for (std::int64_t r = 0; r < rows; ++r) std::copy_n(x.data(), run, y.data() + r * run);
        return y;
    }
    for_each_offset(shape, broadcast_strides(x.shape(), shape),
                    [&](std::int64_t i, std::int64_t j) { y.data()[i] = x.data()[j]; });
    return y;
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
    x.require_defined("sum_to");
    if (x.shape() == shape) return x;
    if (const std::int64_t run = repeated_run(shape, x.shape()); run > 0)
        return sum_rows(x.reshape({x.numel() / run, run})).reshape(shape);
    Tensor y = Tensor::zeros(shape);
    for_each_offset(x.shape(), broadcast_strides(shape, x.shape()),
                    [&](std::int64_t i, std::int64_t j) { y.data()[j] += x.data()[i]; });
    meter().add(x.numel());
    return y;
}

Tensor operator+(const Tensor& a, const Tensor& b) {
    return binary(a, b, [](real x, real y) { return x + y; });
}
Tensor operator-(const Tensor& a, const Tensor& b) {
    return binary(a, b, [](real x, real y) { return x - y; });
}
Tensor operator*(const Tensor& a, const Tensor& b) {
    return binary(a, b, [](real x, real y) { return x * y; });
}
Tensor operator*(const Tensor& a, real alpha) {
    return map(a, 1, [alpha](real x) { return alpha * x; });
}

Tensor matmul(const Tensor& a, const Tensor& b, Op op_a, Op op_b) {
    require(a.ndim() >= 2 && b.ndim() >= 2, "[matmul] expected matrices, got shapes {} and {}",
            shown(a.shape()), shown(b.shape()));
    const std::int64_t m = a.size(op_a == Op::none ? -2 : -1);
    const std::int64_t k = a.size(op_a == Op::none ? -1 : -2);
    const std::int64_t n = b.size(op_b == Op::none ? -1 : -2);
    require(k == b.size(op_b == Op::none ? -2 : -1),
            "[matmul] the inner dimensions of {}{} and {}{} differ", shown(a.shape()),
            op_a == Op::none ? "" : "ᵀ", shown(b.shape()), op_b == Op::none ? "" : "ᵀ");
    const Shape batch_a(a.shape().begin(), a.shape().end() - 2);
    const Shape batch_b(b.shape().begin(), b.shape().end() - 2);
    require(batch_a == batch_b || batch_a.empty() || batch_b.empty(),
            "[matmul] the batches of {} and {} differ", shown(a.shape()), shown(b.shape()));

    Shape shape = batch_a.empty() ? batch_b : batch_a;
    const std::int64_t batch = numel(shape);
    shape.insert(shape.end(), {m, n});
    Tensor c(shape);
    const Matrix left{a.data(), a.size(-1), op_a}, right{b.data(), b.size(-1), op_b};
    if (batch_b.empty() && op_a == Op::none) {  // one tall product
        gemm(batch * m, n, k, left, right, c.data(), n);
    } else {
        gemm_batched(batch, m, n, k, {left, batch_a.empty() ? 0 : m * k},
                     {right, batch_b.empty() ? 0 : k * n}, c.data(), n, m * n);
    }
    return c;
}

Tensor matmul_sum(const Tensor& a, const Tensor& b) {
    require(a.ndim() == 3 && b.ndim() == 3 && a.size(0) == b.size(0) && a.size(1) == b.size(1),
            "[matmul_sum] expected (B, L, M) and (B, L, N), got {} and {}", shown(a.shape()),
            shown(b.shape()));
    const std::int64_t m = a.size(2), n = b.size(2);
    Tensor c({m, n});
    gemm(m, n, a.size(0) * a.size(1), {a.data(), m, Op::transpose}, {b.data(), n}, c.data(), n);
    return c;
}

Tensor transpose(const Tensor& x, const std::vector<std::int64_t>& order) {
    x.require_defined("transpose");
    std::vector<std::int64_t> sorted = order;
    std::ranges::sort(sorted);
    Shape identity(static_cast<std::size_t>(x.ndim()));
    std::iota(identity.begin(), identity.end(), 0);
    require(sorted == identity, "[transpose] {} is not an order of the axes of shape {}",
            shown(order), shown(x.shape()));

    Shape strides(x.shape().size(), 1);
    for (std::size_t axis = strides.size(); axis-- > 1;)
        strides[axis - 1] = strides[axis] * x.shape()[axis];
    Shape shape, step;
    for (const std::int64_t axis : order) {
        shape.push_back(x.size(axis));
        step.push_back(strides[static_cast<std::size_t>(axis)]);
    }
    Tensor y(shape);
    meter().add(0);
    if (y.numel() == 0) return y;
    if (shape.size() < 2) {
        std::ranges::copy(x.values(), y.data());
        return y;
    }

    // The last two axes are copied in a plain double loop, the others enumerate its starting
    // points.
    const std::int64_t rows = shape[shape.size() - 2], columns = shape.back();
    const std::int64_t row_step = step[step.size() - 2], column_step = step.back();
    const Shape outer(shape.begin(), shape.end() - 2), outer_step(step.begin(), step.end() - 2);
    std::vector<std::int64_t> starts(static_cast<std::size_t>(numel(outer)));
    for_each_offset(outer, outer_step, [&](std::int64_t i, std::int64_t j) {
        starts[static_cast<std::size_t>(i)] = j;
    });
    const std::int64_t blocks = numel(outer);
    const real* in = x.data();
    real* out = y.data();
#pragma omp parallel for collapse(2) schedule(static) if (y.numel() > parallel_threshold)
    for (std::int64_t block = 0; block < blocks; ++block)
        for (std::int64_t row = 0; row < rows; ++row) {
            const real* from = in + starts[static_cast<std::size_t>(block)] + row * row_step;
            real* to = out + (block * rows + row) * columns;
            if (column_step == 1)
                std::memcpy(to, from, static_cast<std::size_t>(columns) * sizeof(real));
            else
                for (std::int64_t j = 0; j < columns; ++j) to[j] = from[j * column_step];
        }
    return y;
}

namespace {

/// Rows are read in the order in which they lie in memory, in blocks of a fixed size: the order of
/// additions does not depend on the threads.
Tensor sum_blocks(const Tensor& x, std::int64_t block) {
    const std::int64_t n = x.size(-1), rows = n > 0 ? x.numel() / n : 0;
    const std::int64_t blocks = std::max<std::int64_t>(1, (rows + block - 1) / block);
    Tensor sums = Tensor::zeros({blocks, n});
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t b = 0; b < blocks; ++b)
        for (std::int64_t r = b * block; r < std::min((b + 1) * block, rows); ++r)
            accumulate(n, x.data() + r * n, sums.data() + b * n);
    for (std::int64_t b = 1; b < blocks; ++b) accumulate(n, sums.data() + b * n, sums.data());
    meter().add(x.numel());
    return blocks == 1 ? sums.reshape({n}) : sums.rows(0, 1).clone().reshape({n});
}

constexpr std::int64_t rows_of_block = 128;

}  // namespace

Tensor sum_rows(const Tensor& x) {
    require(x.ndim() > 0, "[sum_rows] expected at least one axis, got a scalar");
    return sum_blocks(x, rows_of_block);
}

Tensor sum_tokens(const Tensor& x) {
    require(x.ndim() == 3, "[sum_tokens] expected (samples, tokens, channels), got {}",
            shown(x.shape()));
    return sum_blocks(x, x.size(1) > 1 ? x.size(1) : rows_of_block);
}

Tensor sum(const Tensor& x, std::int64_t axis) {
    const AxisView view = along(x, axis, "sum");
    Shape shape = x.shape();
    shape.erase(shape.begin() + view.axis);
    Tensor y = Tensor::zeros(shape);
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t o = 0; o < view.outer; ++o)
        for (std::int64_t l = 0; l < view.length; ++l) {
            const real* from = x.data() + (o * view.length + l) * view.inner;
            real* to = y.data() + o * view.inner;
            for (std::int64_t i = 0; i < view.inner; ++i) to[i] += from[i];
        }
    meter().add(x.numel());
    return y;
}

double sum(const Tensor& x) {
    x.require_defined("sum");
    meter().add(x.numel());
    double total = 0;
    for (const real value : x.values()) total += value;
    return total;
}

double sum_squares(const Tensor& x) {
    x.require_defined("sum_squares");
    meter().add(2 * x.numel());
    double total = 0;
    for (const real value : x.values()) total += static_cast<double>(value) * value;
    return total;
}

bool all_finite(const Tensor& x) {
    x.require_defined("all_finite");
    meter().add(x.numel());
    return std::ranges::all_of(x.values(), [](real value) { return std::isfinite(value); });
}

Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t begin, std::int64_t count) {
    const AxisView view = along(x, axis, "slice");
    require(begin >= 0 && count >= 0 && begin <= view.length && count <= view.length - begin,
            "[slice] {} entries from {} on of axis {} are outside shape {}", count, begin, axis,
            shown(x.shape()));
    Tensor y(with_length(x.shape(), view.axis, count));
    for (std::int64_t o = 0; o < view.outer; ++o)
        std::copy_n(x.data() + (o * view.length + begin) * view.inner, count * view.inner,
                    y.data() + o * count * view.inner);
    meter().add(0);
    return y;
}

Tensor pad(const Tensor& x, std::int64_t axis, std::int64_t begin, std::int64_t length) {
    const AxisView view = along(x, axis, "pad");
    require(begin >= 0 && begin <= length && view.length <= length - begin,
            "[pad] shape {} at {} does not fit into length {}", shown(x.shape()), begin, length);
    Tensor y = Tensor::zeros(with_length(x.shape(), view.axis, length));
    for (std::int64_t o = 0; o < view.outer; ++o)
        std::copy_n(x.data() + o * view.length * view.inner, view.length * view.inner,
                    y.data() + (o * length + begin) * view.inner);
    meter().add(0);
    return y;
}

Tensor concat(const std::vector<Tensor>& parts, std::int64_t axis) {
    require(!parts.empty(), "[concat] expected at least one tensor");
    const AxisView first = along(parts.front(), axis, "concat");
    Checked sum = 0;
    for (const Tensor& part : parts) {
        const AxisView view = along(part, axis, "concat");
        require(with_length(part.shape(), view.axis, 0) ==
                    with_length(parts.front().shape(), first.axis, 0),
                "[concat] shapes {} and {} differ beside axis {}", shown(parts.front().shape()),
                shown(part.shape()), axis);
        sum += view.length;
    }
    const std::int64_t length = sum;
    Tensor y(with_length(parts.front().shape(), first.axis, length));
    std::int64_t begin = 0;
    for (const Tensor& part : parts) {
        const std::int64_t run = along(part, axis, "concat").length * first.inner;
        for (std::int64_t o = 0; o < first.outer; ++o)
            std::copy_n(part.data() + o * run, run, y.data() + o * length * first.inner + begin);
        begin += run;
    }
    meter().add(0);
    return y;
}

Tensor softmax(const Tensor& x) {
    require(x.ndim() > 0, "[softmax] expected at least one axis, got a scalar");
    const std::int64_t n = x.size(-1), rows = n > 0 ? x.numel() / n : 0;
    Tensor y(x.shape());
#pragma omp parallel for schedule(static) if (x.numel() > parallel_threshold)
    for (std::int64_t r = 0; r < rows; ++r) softmax_rows(1, n, x.data() + r * n, y.data() + r * n);
    meter().add(5 * x.numel());  // maximum, shift, exp, sum, scale
    return y;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
