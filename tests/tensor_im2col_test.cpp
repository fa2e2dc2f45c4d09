#include "tensor/kernels/im2col.h"

#include <gtest/gtest.h>

#include "tensor/kernels/convolution.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

const std::vector<Window2d> windows{
    {{5, 3}, {6, 3}},
    {{5, 3, 1, 1}, {6, 3, 1, 1}},
    {{8, 3, 2, 1}, {7, 3, 2, 1}},
    {{9, 2, 3, 2, 2}, {7, 4, 1, 3, 1}},
    {{6, 1}, {4, 1}},
    {{6, 1, 2}, {5, 1, 2}},
    {{1, 3, 1, 2, 1}, {2, 5, 4, 4, 2}},  // most taps lie outside
    {{7, 1, 1, 0}, {9, 7, 2, 3}},
};

Tensor random(Shape shape) {
    Stream stream(1, "im2col", static_cast<std::uint64_t>(numel(shape)));
    return normal(std::move(shape), 0, 1, stream);
}

TEST(Im2col, MatchesItsDefinition) {
    for (const Window2d& w : windows) {
        const Tensor x = random({2, 3, w.rows.length, w.columns.length});
        const Tensor y = im2col(x, w);
        ASSERT_EQ(y.shape(), (Shape{2, w.positions(), 3 * w.taps()}));
        std::int64_t inside = 0;
        for (std::int64_t b = 0; b < 2; ++b)
            for (std::int64_t l = 0; l < y.size(1); ++l)
                for (std::int64_t k = 0; k < y.size(2); ++k) {
                    const std::int64_t c = k / w.taps(), tap = k % w.taps();
                    const std::int64_t row =
                        w.rows.input(l / w.columns.positions(), tap / w.columns.kernel);
                    const std::int64_t column =
                        w.columns.input(l % w.columns.positions(), tap % w.columns.kernel);
                    const bool seen =
                        row >= 0 && row < w.rows.length && column >= 0 && column < w.columns.length;
                    inside += seen;
                    ASSERT_EQ(y.at({b, l, k}), seen ? x.at({b, c, row, column}) : 0);
                }
        EXPECT_EQ(inside, 2 * 3 * w.inside());
    }
}

TEST(Im2col, Col2imIsItsAdjoint) {
    for (const Window2d& w : windows) {
        const Tensor x = random({2, 3, w.rows.length, w.columns.length});
        const Tensor y = random({2, w.positions(), 3 * w.taps()});
        EXPECT_NEAR(sum(im2col(x, w) * y), sum(x * col2im(y, w)), 1e-4);
    }
}

TEST(Im2col, SampleKernelsAreItsTranspose) {
    for (const Window2d& w : windows) {
        const Tensor x = random({2, 3, w.rows.length, w.columns.length});
        Tensor columns({2, 3 * w.taps(), w.positions()}), folded = Tensor::zeros(x.shape());
        for (std::int64_t b = 0; b < 2; ++b) {
            Tensor sample = columns.rows(b, 1), image = folded.rows(b, 1);
            unfold_sample(3, w, x.rows(b, 1).data(), sample.data());
            fold_sample(3, w, sample.data(), image.data());
        }
        const Tensor expected = im2col(x, w);
        EXPECT_TRUE(identical(transpose(columns, {0, 2, 1}), expected));
        const Tensor sums = col2im(expected, w);
        for (std::int64_t i = 0; i < sums.numel(); ++i)
            EXPECT_NEAR(folded.data()[i], sums.data()[i], 1e-5);
    }
}

TEST(Im2col, FoldingCountsWhatItAdds) {
    const Window2d w = windows[1];
    meter().reset();
    col2im(random({2, w.positions(), 3 * w.taps()}), w);
    EXPECT_EQ(meter().total(), 2 * 3 * w.inside());
    EXPECT_EQ(w.inside(), (5 + 2 * 4) * (6 + 2 * 5));
}

TEST(Im2col, RejectsOtherShapes) {
    EXPECT_THROW(im2col(random({2, 3, 5, 5}), windows[0]), Error);
    EXPECT_THROW(im2col(random({3, 5, 6}), windows[0]), Error);
    EXPECT_THROW(col2im(random({2, 12, 10}), windows[0]), Error);
    EXPECT_THROW(col2im(random({2, 11, 27}), windows[0]), Error);
}

TEST(Convolution, ChannelSumsAndTheirAdjoint) {
    const Tensor x = random({3, 4, 5, 2});
    const Tensor sums = sum_channels(x);
    for (std::int64_t c = 0; c < 4; ++c) EXPECT_NEAR(sums.data()[c], sum(slice(x, 1, c, 1)), 1e-4);
    Tensor y = Tensor::zeros(x.shape());
    add_channels_in_place(y, sums);
    EXPECT_EQ(y.at({2, 3, 4, 1}), sums.data()[3]);
}

}  // namespace
}  // namespace slimgrad
