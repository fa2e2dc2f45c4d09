#include "instant/lab/lab.h"

#include <gtest/gtest.h>

#include <cmath>

#include "instant/cost/cost_model.h"
#include "tensor/ledger.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr real tolerance = sizeof(real) == 8 ? 1e-12 : 2e-5;
constexpr std::int64_t batch = 3, tokens = 7, cx = 9, cy = 5;

struct Sample {
    Tensor x, w, gy, bias;
};

Sample sample(std::int64_t b = batch, std::int64_t l = tokens) {
    Stream stream(7, "lab");
    const auto draw = [&](Shape shape) { return normal(std::move(shape), 0, 1, stream); };
    return {draw({b, l, cx}), draw({cy, cx}), draw({b, l, cy}), draw({cy})};
}

LabOptions with(const std::string& method, std::optional<std::int64_t> rank_x = {},
                std::optional<std::int64_t> rank_g = {}, std::optional<Side> side = Side::token) {
    LabOptions options;
    options.method.method = method;
    options.method.rank_x = rank_x;
    options.method.rank_g = rank_g;
    options.method.side = to_string(side);
    return options;
}

void expect_close(const Tensor& a, const Tensor& b, const std::string& what) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    EXPECT_LT(std::sqrt(sum_squares(a - b)), tolerance * (1 + std::sqrt(sum_squares(b)))) << what;
}

Tensor square(const Tensor& p) { return matmul(p, p, Op::transpose, Op::none); }

TEST(Lab, VanillaIsTheTwoProducts) {
    const Sample s = sample();
    LabOptions options;
    options.bias = s.bias;
    const LabResult r = lab_linear(s.x, s.w, s.gy, options);
    Tensor y = matmul(s.x, s.w, Op::none, Op::transpose);
    expect_close(r.y, y + broadcast_to(s.bias, y.shape()), "y");
    expect_close(r.gw, matmul_sum(s.gy, s.x), "g_w");
    expect_close(r.gx, matmul(s.gy, s.w), "g_x");
    expect_close(r.gb, sum_rows(s.gy), "g_b");
    EXPECT_FALSE(r.p.defined() || r.q.defined() || r.rank_x || r.rank_g);
    EXPECT_EQ(r.flops.calibrate, 0);
}

TEST(Lab, GradientsAreThoseOfTheProjectorsThatItReports) {
    const Sample s = sample();
    for (const Side side : {Side::token, Side::channel}) {
        const LabResult r = lab_linear(s.x, s.w, s.gy, with("instant", 3, 2, side));
        const Tensor pp = square(r.p), qq = square(r.q);
        const bool token = side == Side::token;
        EXPECT_EQ(r.p.shape(), (Shape{3, token ? tokens : cx}));
        EXPECT_EQ(r.q.shape(), (Shape{2, token ? tokens : cy}));
        expect_close(r.gw, matmul_sum(s.gy, token ? matmul(pp, s.x) : matmul(s.x, pp)), "g_w");
        expect_close(r.gx, matmul(token ? matmul(qq, s.gy) : matmul(s.gy, qq), s.w), "g_x");
        EXPECT_FALSE(r.gb.defined());
    }
}

TEST(Lab, CountsEqualTheClosedForms) {
    const std::int64_t rows = 4, columns = 5, l = rows * columns + 1;
    const Sample s = sample(batch, l);
    LinearShape shape{"linear", l, cx, cy, l * cx, "linear"};
    shape.rows = rows, shape.columns = columns, shape.extra = 1;
    for (const std::string& method : method_names())
        for (const Side side : {Side::token, Side::channel}) {
            LabOptions options = with(method, 4, 2, side);
            if (find_method(method).adapt) {
                EXPECT_EQ(error_of([&] { lab_linear(s.x, s.w, s.gy, options); }),
                          "[lab.linear] '" + method +
                              "' trains other maps in the place of W: there is no g_w to show");
                continue;
            }
            options.layout = {rows, columns};
            const LabResult r = lab_linear(s.x, s.w, s.gy, options);
            const LinearCost cost = linear_cost(shape, compression_of(shape, options.method), batch,
                                                Convention::executed);
            const auto number = static_cast<std::int64_t>(sizeof(real));
            EXPECT_EQ(r.flops.forward, cost.forward) << method;
            EXPECT_EQ(r.flops.compress, cost.compress) << method;
            EXPECT_EQ(r.flops.g_w, cost.g_w) << method;
            EXPECT_EQ(r.flops.g_x, cost.g_x) << method;
            if (number == 4 || !find_method(method).tape) {  // codes are as long in double
                EXPECT_EQ(r.saved_bytes * 4, cost.saved_bytes * number) << method;
            }
            EXPECT_EQ(r.projector_bytes * 4, cost.projector_bytes * number) << method;
        }
}

TEST(Lab, FullRankIsVanillaWhateverTheOffset) {
    for (const std::int64_t l : {std::int64_t{1}, tokens}) {
        const Sample s = sample(batch, l);
        const LabResult exact = lab_linear(s.x, s.w, s.gy);
        for (const Side side : {Side::token, Side::channel})
            for (const Offset offset : {Offset::none, Offset::energy, Offset::signal}) {
                LabOptions options = with("instant", 1000, 1000, side);
                options.method.offset = to_string(offset);
                options.method.break_even = "vanilla";  // which the laboratory ignores
                const LabResult r = lab_linear(s.x, s.w, s.gy, options);
                expect_close(r.gw, exact.gw, "g_w");
                expect_close(r.gx, exact.gx, "g_x");
                EXPECT_GT(r.flops.compress, 0);  // compressed, though there is nothing to gain
                EXPECT_EQ(r.rank_x, side == Side::token ? l : cx);
            }
    }
}

TEST(Lab, WithoutCalibrationPairsTheSampleItselfIsUsed) {
    const Sample s = sample();
    LabOptions options = with("instant", 3, 2);
    const LabResult implicit = lab_linear(s.x, s.w, s.gy, options);
    options.calibration = {{s.x, s.gy}};
    const LabResult explicit_pair = lab_linear(s.x, s.w, s.gy, options);
    EXPECT_TRUE(identical(implicit.gx, explicit_pair.gx));
    EXPECT_GT(implicit.flops.calibrate, 0);

    const Sample other = sample(2);
    options.calibration = {{other.x * 5, other.gy * 5}};
    EXPECT_FALSE(identical(implicit.gx, lab_linear(s.x, s.w, s.gy, options).gx));
}

TEST(Lab, LeavesNothingBehind) {
    const Sample s = sample();
    const std::int64_t before = ledger().total().live;
    lab_linear(s.x, s.w, s.gy, with("instant", 3, 2));
    EXPECT_EQ(ledger().total().live, before);
    const LabResult first = lab_linear(s.x, s.w, s.gy, with("compress-x", 3));
    const LabResult again = lab_linear(s.x, s.w, s.gy, with("compress-x", 3));
    EXPECT_EQ(first.flops.compress, again.flops.compress);
    EXPECT_TRUE(identical(first.gw, again.gw));
}

TEST(Lab, BadInputIsNamed) {
    const Sample s = sample();
    const auto error = [&](const LabOptions& options) {
        return error_of([&] { lab_linear(s.x, s.w, s.gy, options); });
    };
    EXPECT_NE(error_of([&] { lab_linear(s.gy, s.w, s.gy); }).find("expected x of shape (B, L, 9)"),
              std::string::npos);
    EXPECT_NE(error_of([&] { lab_linear(s.x, s.w, s.x); }).find("expected gy of shape (3, 7, 5)"),
              std::string::npos);
    EXPECT_NE(error_of([&] { lab_linear(s.x, s.bias, s.gy); }).find("expected w of shape"),
              std::string::npos);
    EXPECT_NE(error(with("instan")).find("unknown method 'instan'"), std::string::npos);

    LabOptions options = with("instant");
    options.calibration.emplace();
    EXPECT_NE(error(options).find("no pairs"), std::string::npos);
    options.calibration = {{s.x, s.gy}, {s.x, s.x}};
    EXPECT_NE(error(options).find("calibration[1] gy of shape"), std::string::npos);
    const Sample longer = sample(2, tokens + 1);
    options.calibration = {{longer.x, longer.gy}};
    EXPECT_NE(error(options).find("[lab.linear] calibrated for 8 tokens"), std::string::npos);

    Tensor bad = s.x.clone();
    bad.at({1, 2, 3}) = NAN;
    EXPECT_NE(
        error_of([&] { lab_linear(bad, s.w, s.gy); }).find("x has values that are not finite"),
        std::string::npos);
}

}  // namespace
}  // namespace slimgrad
