#include "tensor/kernels/bits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tensor/random.h"

namespace slimgrad {
namespace {

constexpr real none = std::numeric_limits<real>::quiet_NaN();  // no bound

/// Runs that fill no vector, several, and something in between; nothing behind them is touched.
class Bits : public testing::TestWithParam<std::int64_t> {};

TEST_P(Bits, RectifyAndSelectDoWhatTheirLoopsSay) {
    const std::int64_t n = GetParam(), bytes = (n + 7) / 8;
    Stream stream(3, "x");
    std::vector<real> x(static_cast<std::size_t>(n) + 1), y(x.size(), 77), z(x.size(), 77);
    for (real& value : x) value = stream.normal();
    if (n > 0) x[0] = 0;
    if (n > 5) x[5] = std::numeric_limits<real>::quiet_NaN();
    if (n > 6) x[6] = -std::numeric_limits<real>::infinity();
    std::vector<std::uint8_t> bits(static_cast<std::size_t>(bytes) + 1, 0xAB);

    rectify(n, x.data(), none, y.data(), bits.data());
    select_by_bits(n, bits.data(), 3, x.data(), z.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        ASSERT_EQ(bits[i / 8] >> (i % 8) & 1, x[i] > 0) << i;
        if (std::isnan(x[i]))
            EXPECT_TRUE(std::isnan(y[i]));
        else
            ASSERT_EQ(y[i], x[i] > 0 ? x[i] : 0) << i;
        ASSERT_EQ(z[i], x[i] > 0 ? 3 * x[i] : 0) << i;
    }
    EXPECT_EQ(y.back(), 77);
    EXPECT_EQ(z.back(), 77);
    EXPECT_EQ(bits.back(), 0xAB);
    for (std::int64_t i = n; i < 8 * bytes; ++i) EXPECT_EQ(bits[bytes - 1] >> (i % 8) & 1, 0);

    std::vector<real> in_place = x;
    rectify(n, in_place.data(), none, in_place.data(), bits.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
        ASSERT_TRUE(in_place[i] == y[i] || std::isnan(x[i])) << i;

    const real most = real(0.5);
    rectify(n, x.data(), most, y.data(), bits.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        ASSERT_EQ(bits[i / 8] >> (i % 8) & 1, x[i] > 0 && x[i] < most) << i;
        if (std::isnan(x[i]))
            EXPECT_TRUE(std::isnan(y[i]));
        else
            ASSERT_EQ(y[i], x[i] >= most ? most : x[i] > 0 ? x[i] : 0) << i;
    }
    EXPECT_EQ(y.back(), 77);
}

INSTANTIATE_TEST_SUITE_P(Kernels, Bits,
                         testing::Values(0, 1, 7, 8, 9, 15, 16, 17, 24, 31, 33, 64, 100, 4097));

}  // namespace
}  // namespace slimgrad
