// Sizes that come from outside, and tensors without values: an Error, never a wrapped number.
#include <gtest/gtest.h>

#include <limits>

#include "tensor/allocator.h"
#include "tensor/checked.h"
#include "tensor/kernels/convolution.h"
#include "tensor/kernels/im2col.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t large = std::int64_t{1} << 40;

TEST(Checked, ComputesAndRefusesToWrap) {
    const Checked a = 6;
    EXPECT_EQ(2 * a * 7 + 1 - a, 79);
    EXPECT_EQ((Checked(1) << 3) + a, 14);  // a number like any other
    Checked sum = most;
    EXPECT_THROW(sum += 1, Error);
    EXPECT_THROW(Checked(large) * large, Error);
    EXPECT_THROW(2 * Checked(most), Error);
    EXPECT_THROW(Checked(-most) - 2, Error);
    EXPECT_EQ(
        error_of([] { return Checked(large) * large; }),
        "[count] 1099511627776 * 1099511627776 does not fit into 64 bits. Hint: smaller sizes");
}

TEST(Sizes, OfATensorAreCounted) {
    EXPECT_EQ(numel({}), 1);
    EXPECT_EQ(numel({3, 0, 5}), 0);
    EXPECT_EQ(numel({large, 1 << 20}), large << 20);
    EXPECT_THROW(numel({large, large}), Error);
    EXPECT_THROW(numel({large, large, 0}), Error);  // its part without the 0 does not fit
    EXPECT_THROW(numel({-1, -6}), Error);
    EXPECT_THROW(Tensor({most}), Error);  // countable, but not in bytes
    EXPECT_EQ(
        error_of([] {
            Tensor({large, large});
        }),
        "[tensor] shape (1099511627776, 1099511627776) has more elements than can be counted");
    EXPECT_EQ(error_of([] {
                  Tensor::zeros({2, -3});
              }),
              "[tensor] dimensions must not be negative, got (2, -3)");
}

TEST(Sizes, OfViewsStayInside) {
    Tensor x = Tensor::zeros({4, 3});
    EXPECT_THROW(x.rows(1, most), Error);
    EXPECT_THROW(x.rows(most, 1), Error);
    EXPECT_THROW(x.rows(2, 3), Error);
    EXPECT_EQ(x.rows(4, 0).shape(), (Shape{0, 3}));
    EXPECT_THROW(slice(x, 0, 2, most), Error);
    EXPECT_THROW(slice(x, 0, most, 1), Error);
    EXPECT_THROW(pad(x, 0, most, most), Error);
    EXPECT_THROW(x.reshape({large, large}), Error);
    EXPECT_THROW(x.reshape({-1, large, large}), Error);
    EXPECT_THROW(x.reshape({-1, -1}), Error);
    EXPECT_THROW(x.reshape({-3, -4}), Error);
    EXPECT_THROW(broadcast_to(Tensor::zeros({1}), {large, large}), Error);
    EXPECT_EQ(Tensor::view({2, 3}, x.storage(), x.data() + 6).numel(), 6);
    EXPECT_THROW(Tensor::view({2, 3}, x.storage(), x.data() + 7), Error);
    EXPECT_THROW(Tensor::view({2, 3}, x.storage(), x.data() - 1), Error);
    EXPECT_THROW(Tensor::view({large, large}, x.storage(), x.data()), Error);
    EXPECT_THROW(Tensor::view({1}, nullptr, nullptr), Error);
}

TEST(Sizes, BeyondTheMemoryAreAnErrorThatSaysWhatWasWanted) {
    const std::int64_t live = allocator::live_bytes();
    const std::string text = error_of([] { Tensor({large, 1024}); });
    EXPECT_TRUE(text.starts_with("[allocator] out of memory: ")) << text;
    EXPECT_TRUE(text.ends_with(", wanted for a tensor of shape (1099511627776, 1024)")) << text;
    EXPECT_THROW(allocator::allocate(std::numeric_limits<std::size_t>::max()), Error);
    EXPECT_EQ(allocator::live_bytes(), live);

    // A wish that was not granted leaves the places of later buffers alone.
    const Tensor big({1 << 24});
    const Tensor small({16}), next({1 << 24});
    EXPECT_LT(big.data(), small.data());
    EXPECT_LT(next.data(), small.data());
}

TEST(Sizes, OfWindowsAreCounted) {
    EXPECT_THROW((WindowAxis{8, 3, 1, most}.positions()), Error);
    EXPECT_THROW((WindowAxis{8, most, 1, 0, most}.positions()), Error);
    EXPECT_EQ((WindowAxis{8, 3, most, 1}.positions()), 1);
    EXPECT_EQ((WindowAxis{8, 3, most, 1}.inside()), 2);
    EXPECT_THROW((Window2d{{large, large}, {large, large}}.taps()), Error);
    EXPECT_THROW((Window2d{{large, 1}, {large, 1}}.positions()), Error);
}

TEST(Sizes, OfAConvolutionsFactorsMustFit) {
    const Window2d window{{6, 3}, {6, 3}};
    const Tensor x = Tensor::zeros({2, 2, 6, 6}), w = Tensor::zeros({4, 2, 3, 3}),
                 gy = Tensor::zeros({2, 4, 4, 4});
    EXPECT_EQ(conv_forward(x, w, window, 1).shape(), gy.shape());
    EXPECT_THROW(conv_forward(Tensor::zeros({2, 2, 6, 5}), w, window, 1), Error);
    EXPECT_THROW(conv_forward(x, Tensor::zeros({4, 2, 3, 2}), window, 1), Error);
    EXPECT_THROW(conv_forward(x, w, window, 3), Error);
    EXPECT_THROW(conv_gw(Tensor::zeros({2, 4, 4, 3}), x, w.shape(), window, 1), Error);
    EXPECT_THROW(conv_gx(Tensor::zeros({2, 3, 4, 4}), w, window, 1), Error);
    Tensor y = gy.clone();
    EXPECT_THROW(add_channels_in_place(y, Tensor::zeros({3})), Error);
}

TEST(Undefined, TensorsSayThatTheyAre) {
    Tensor none;
    const Tensor x = Tensor::zeros({2, 2});
    EXPECT_FALSE(none.defined());
    EXPECT_EQ(none.numel(), 0);
    EXPECT_FALSE(none.clone().defined());
    EXPECT_EQ(error_of([&] { none.mark(Category::workspace); }),
              "[mark] expected a tensor with values, got an undefined one");
    EXPECT_THROW(none.item(), Error);
    EXPECT_THROW(none.at({}), Error);
    EXPECT_THROW(none.size(0), Error);
    EXPECT_THROW(none.reshape({0}), Error);
    EXPECT_THROW(none.rows(0, 0), Error);
    EXPECT_THROW(none.fill(1), Error);
    EXPECT_THROW(none.copy_from(x), Error);
    EXPECT_THROW(none + none, Error);
    EXPECT_THROW(none + x, Error);
    EXPECT_THROW(x * none, Error);
    EXPECT_THROW(none * real(2), Error);
    EXPECT_THROW(broadcast_to(none, {2, 2}), Error);
    EXPECT_THROW(sum_to(none, {}), Error);
    EXPECT_THROW(transpose(none, {}), Error);
    EXPECT_THROW(sum(none), Error);
    EXPECT_THROW(sum(none, 0), Error);
    EXPECT_THROW(sum_rows(none), Error);
    EXPECT_THROW(sum_squares(none), Error);
    EXPECT_THROW(all_finite(none), Error);
    EXPECT_THROW(softmax(none), Error);
    EXPECT_THROW(matmul(none, x), Error);
    EXPECT_THROW(matmul_sum(none, none), Error);
    EXPECT_THROW(slice(none, 0, 0, 0), Error);
    EXPECT_THROW(concat({none, none}, 0), Error);
    EXPECT_THROW(eigh(none), Error);
    EXPECT_THROW(add_in_place(none, none), Error);
    EXPECT_THROW(scale_in_place(none, 2), Error);
    Tensor y = x.clone();
    EXPECT_THROW(add_row_in_place(y, none), Error);
    EXPECT_THROW(im2col(none, {{2, 1}, {2, 1}}), Error);
}

TEST(Tensor, CopyFromAndFillWriteInPlace) {
    Tensor x = Tensor::zeros({2, 3});
    const Tensor view = x.reshape({6});
    x.fill(2);
    EXPECT_EQ(view.at({5}), 2);
    x.copy_from(Tensor::full({2, 3}, 7));
    EXPECT_EQ(view.at({0}), 7);
    EXPECT_THROW(x.copy_from(view), Error);
    EXPECT_THROW(x.copy_from(Tensor()), Error);
    const std::uint64_t version = x.storage()->version();
    x.changed();
    EXPECT_EQ(view.storage()->version(), version + 1);
}

TEST(Random, PermutationsAreOfWhatFitsIntoADraw) {
    Stream stream(1, "test");
    EXPECT_THROW(stream.permutation(-1), Error);
    EXPECT_THROW(stream.permutation(std::int64_t{1} << 33), Error);
}

}  // namespace
}  // namespace slimgrad
