#include "autograd/matrix_basis.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "tensor/linalg.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// c²_kj / Σ_k c²_kj; a new row that no old one has a part in takes the mean of all.
Tensor squared_shares(const Tensor& c) {
    const std::int64_t r = c.size(0), s = c.size(1);
    Tensor shares({r, s});
    for (std::int64_t j = 0; j < s; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < r; ++k)
            sum += double{c.data()[k * s + j]} * c.data()[k * s + j];
        for (std::int64_t k = 0; k < r; ++k) {
            const double entry = c.data()[k * s + j];
            shares.data()[k * s + j] =
                static_cast<real>(sum > 0 ? entry * entry / sum : 1 / static_cast<double>(r));
        }
    }
    meter().add(4 * r * s);
    return shares;
}

}  // namespace

std::vector<std::string> moments_words() { return {"keep", "reset", "transport"}; }

Moments parse_moments(const std::string& word) {
    const std::vector<std::string> words = moments_words();
    const auto found = std::ranges::find(words, word);
    require(found != words.end(), "[moments] expected one of {}, got '{}'", fmt::join(words, ", "),
            word);
    return static_cast<Moments>(found - words.begin());
}

Tensor MatrixBasis::expand(const Tensor& compressed) const {
    const Tensor b = rows(period_);
    if (side_ == Multiply::right) return matmul(compressed, b);  // (m,r)·(r,n)
    return matmul(b, compressed, Op::transpose, Op::none);       // (n,r)·(r,k)
}

std::optional<Shape> MatrixBasis::dense_shape(const Shape& compressed) const {
    const std::size_t axis = side_ == Multiply::right ? 1 : 0;
    Shape dense = compressed;
    if (dense.size() != 2 || dense[axis] != rank_) return Shape{};  // that of no matrix
    dense[axis] = length_;
    return dense;
}

Tensor MatrixBasis::carry(const Tensor& moment, int power, std::int64_t period_before) const {
    if (options_.moments == Moments::reset) return Tensor::zeros(moment.shape());
    const Tensor before = options_.moments == Moments::transport ? rows(period_before) : Tensor();
    if (!before.defined()) return moment;
    Tensor c = row_coefficients(before, rows(period_));
    if (power == 2) c = squared_shares(c);
    if (side_ == Multiply::right) return matmul(moment, c);  // (m,r)·(r,r)
    return matmul(c, moment, Op::transpose, Op::none);       // (r,r)·(r,k)
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
