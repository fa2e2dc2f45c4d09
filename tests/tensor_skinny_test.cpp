#include "tensor/kernels/skinny.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

Tensor random(Shape shape, const char* what) {
    Stream stream(5, what);
    Tensor t(std::move(shape));
    for (std::int64_t i = 0; i < t.numel(); ++i) t.data()[i] = static_cast<real>(stream.normal());
    return t;
}

double largest_difference(const Tensor& a, const Tensor& b) {
    EXPECT_EQ(a.shape(), b.shape());
    double worst = 0;
    for (std::int64_t i = 0; i < a.numel(); ++i)
        worst = std::max(worst, std::abs(static_cast<double>(a.data()[i] - b.data()[i])));
    return worst;
}

struct Size {
    std::int64_t batch, length, channels, rank;
};
void PrintTo(const Size& s, std::ostream* out) {
    *out << s.batch << 'x' << s.length << 'x' << s.channels << " rank " << s.rank;
}

// Edges in every direction: one row, one token, one channel, an empty batch; columns that fill no
// vector, one tile, a panel and a bit; more tokens than a block; outputs that are streamed.
class Skinny : public testing::TestWithParam<Size> {};

TEST_P(Skinny, ProjectsOntoSeveralSubspacesInOnePassAsTheGeneralProduct) {
    const auto [batch, length, channels, rank] = GetParam();
    const Tensor x = random({batch, length, channels}, "x");
    const Tensor p = random({rank, length}, "p"), q = random({rank + 2, length}, "q");
    // What is not written to must show.
    Tensor px = Tensor::full({batch, rank, channels}, 77);
    Tensor qx = Tensor::full({batch, rank + 2, channels}, 77);
    const std::array projections{Projection{p.data(), rank, px.data()},
                                 Projection{q.data(), rank + 2, qx.data()}};
    project_tokens(batch, length, channels, x.data(), projections);
    const double tolerance = (sizeof(real) == 8 ? 1e-14 : 1e-5) * static_cast<double>(length + 8);
    EXPECT_LE(largest_difference(px, matmul(p, x)), tolerance);
    EXPECT_LE(largest_difference(qx, matmul(q, x)), tolerance);
}

TEST_P(Skinny, ExpandsAsTheGeneralProduct) {
    const auto [batch, length, channels, rank] = GetParam();
    const Tensor q = random({rank, length}, "q"), g = random({batch, rank, channels}, "g");
    Tensor out = Tensor::full({batch, length, channels}, 77);
    expand_tokens(batch, rank, length, channels, q.data(), g.data(), out.data());
    const double tolerance = (sizeof(real) == 8 ? 1e-14 : 1e-5) * static_cast<double>(rank + 8);
    EXPECT_LE(largest_difference(out, matmul(q, g, Op::transpose, Op::none)), tolerance);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Skinny,
                         testing::Values(Size{1, 1, 1, 1}, Size{1, 7, 33, 1}, Size{3, 7, 33, 5},
                                         Size{2, 65, 47, 8}, Size{2, 130, 49, 9},
                                         Size{1, 64, 96, 16}, Size{2, 50, 817, 3},
                                         Size{4, 12, 770, 31}, Size{0, 7, 33, 2},
                                         Size{3, 512, 1536, 6}, Size{2, 3, 5, 3}));

TEST(Skinny, TheBitsDoNotDependOnTheBatchAround) {
    const Tensor x = random({5, 40, 70}, "x"), q = random({6, 40}, "q");
    Tensor all({5, 6, 70}), one({1, 6, 70});
    project_tokens(5, 40, 70, x.data(), std::array{Projection{q.data(), 6, all.data()}});
    project_tokens(1, 40, 70, x.data() + 3 * 40 * 70,
                   std::array{Projection{q.data(), 6, one.data()}});
    EXPECT_TRUE(std::equal(one.data(), one.data() + one.numel(), all.data() + 3 * 6 * 70));
}

TEST(Skinny, SaysWhichInstructionsItUses) { EXPECT_NE(std::string(skinny_target()), ""); }

}  // namespace
}  // namespace slimgrad
