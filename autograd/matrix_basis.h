#pragma once

#include "autograd/function.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What becomes of a moment where the basis changes.
enum class Moments {
    keep,      // it stays as it is, as if the coordinates had not changed
    reset,     // zeros
    transport  // it is expressed in the new coordinates
};

/// The words of the command line. Throws Error for another one, and lists them.
std::vector<std::string> moments_words();
Moments parse_moments(const std::string& word);

/// Gradients of a matrix G expressed on the r rows of a matrix B.
///
///               ĝ, of about G Bᵀ or B G      stands for      moment from B₀ to B₁ (transport)
///   right       (m, r)                       ĝ B             m C
///   left        (r, k)                       Bᵀ ĝ            Cᵀ m
///
/// C = (B₀ B₀ᵀ)⁻¹ B₀ B₁ᵀ: what m knows of G, nearest by least squares, is looked at from B₁. It is
/// exact where G lies in the span of B₀; of a direction that B₀ does not see, m says nothing.
/// Second moments are averaged with the weights c²_kj / Σ_k c²_kj (coordinates taken as
/// uncorrelated), so that they keep their size: what B₀ does not see is taken to be as large as
/// what it sees.
class MatrixBasis : public Basis {
  public:
    enum class Multiply { right, left };
    struct Options {
        Moments moments = Moments::keep;
        double scale = 1;  // α
    };

    Tensor expand(const Tensor& compressed) const override;
    std::optional<Shape> dense_shape(const Shape& compressed) const override;
    std::int64_t period() const override { return period_; }
    double scale() const override { return options_.scale; }
    Tensor carry(const Tensor& moment, int power, std::int64_t period_before) const override;

  protected:
    /// B is (rank, length) in each period.
    MatrixBasis(Multiply side, std::int64_t rank, std::int64_t length, std::int64_t period,
                Options options)
        : side_(side), rank_(rank), length_(length), period_(period), options_(options) {}

    /// B of a period; undefined if nobody knows it any more. Moments are then kept.
    virtual Tensor rows(std::int64_t period) const = 0;

  private:
    Multiply side_;
    std::int64_t rank_, length_, period_;
    Options options_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
