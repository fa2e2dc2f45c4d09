#pragma once

#include <cstdint>

#include "tensor/checked.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A window that slides along one axis: position o sees the inputs o·stride − padding + t·dilation
/// for its taps t = 0 … kernel − 1. Inputs outside the axis are zeros.
struct WindowAxis {
    std::int64_t length;
    std::int64_t kernel;
    std::int64_t stride = 1;
    std::int64_t padding = 0;
    std::int64_t dilation = 1;

    /// ⌊(length + 2 padding − dilation (kernel − 1) − 1) / stride⌋ + 1, at least 0. Throws Error
    /// for lengths whose sums and products do not fit into 64 bits.
    std::int64_t positions() const;
    /// The input that a tap sees; it may lie outside the axis.
    std::int64_t input(std::int64_t position, std::int64_t tap) const {
        return position * stride - padding + tap * dilation;
    }
    /// The positions [begin, end) at which a tap sees an input inside the axis.
    struct Range {
        std::int64_t begin, end;
    };
    Range inside(std::int64_t tap) const;
    /// How many pairs of position and tap see an input inside the axis.
    std::int64_t inside() const;
};

/// A window that slides over an image of `rows.length` x `columns.length` pixels.
struct Window2d {
    WindowAxis rows, columns;

    std::int64_t positions() const { return Checked(rows.positions()) * columns.positions(); }
    std::int64_t taps() const { return Checked(rows.kernel) * columns.kernel; }
    std::int64_t inside() const { return Checked(rows.inside()) * columns.inside(); }
    std::int64_t pixels() const { return Checked(rows.length) * columns.length; }
    /// Each position sees exactly its own pixel: unfolding only changes the order of axes.
    bool pointwise() const;
};

/// Unfolds images into the matrix that turns a convolution into a product: (B, C, H, W) to
/// (B, L = H'·W', C·kh·kw), one row for each position of the window. Throws Error for another
/// shape.
Tensor im2col(const Tensor& x, const Window2d& window);
/// The adjoint of im2col: adds each entry of (B, L, C·kh·kw) to the pixel that it came from. Counts
/// one addition for each entry from inside the image, none for a pointwise window.
Tensor col2im(const Tensor& columns, const Window2d& window);

/// One sample with the channels first: (C, H, W) to (C·kh·kw, L), whose rows are runs of pixels.
void unfold_sample(std::int64_t channels, const Window2d& window, const real* x, real* columns);
/// The adjoint of unfold_sample: adds (C·kh·kw, L) to x (C, H, W). It may zero entries of `columns`
/// that belong to no pixel.
void fold_sample(std::int64_t channels, const Window2d& window, real* columns, real* x);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
