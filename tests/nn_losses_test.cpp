#include "nn/losses.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

using Labels = std::vector<std::int32_t>;

double loss(const Tensor& x, const Labels& labels, const CrossEntropyOptions& options = {}) {
    Tape tape;
    return cross_entropy(tape.constant(x), labels, options).value().item();
}

TEST(CrossEntropy, KnownValues) {
    EXPECT_NEAR(loss(Tensor::zeros({2, 10}), {3, 9}), std::log(10), 1e-6);
    const Tensor x = Tensor::from({1, 3}, std::vector<real>{1, 2, 3});
    EXPECT_NEAR(loss(x, {2}), 0.40760596444438, 1e-6);
    // 0.9 · 0.4076 + 0.1 · mean(2.4076, 1.4076, 0.4076)
    EXPECT_NEAR(loss(x, {2}, {0.1}), 0.50760596444438, 1e-6);
}

TEST(CrossEntropy, IgnoredSamplesCountNeitherInLossNorMean) {
    const Tensor x = random({4, 5});
    const Tensor kept = concat({x.rows(0, 1), x.rows(2, 1)}, 0);
    EXPECT_NEAR(loss(x, {1, -100, 4, -100}), loss(kept, {1, 4}), 1e-6);
    EXPECT_NEAR(loss(x, {1, 7, 4, 7}, {0, 7}), loss(kept, {1, 4}), 1e-6);
}

TEST(CrossEntropy, LargeLogitsOverflowNowhere) {
    const Tensor x = Tensor::from({1, 2}, std::vector<real>{real(1e30), real(-1e30)});
    EXPECT_EQ(loss(x, {0}), 0);
    EXPECT_NEAR(loss(x, {1}) / 2e30, 1, 1e-6);
}

TEST(CrossEntropy, GradientsAgreeWithFiniteDifferences) {
    for (const double smoothing : {0.0, 0.1})
        for (const Labels& labels : {Labels{1, 0, 4, 2}, Labels{1, -100, 4, -100}}) {
            const TapeFunction f = [&](Tape&, const std::vector<Var>& v) {
                return cross_entropy(v[0], labels, {smoothing});
            };
            EXPECT_NO_THROW(gradcheck("cross_entropy", f, {random({4, 5})}));
            EXPECT_NO_THROW(gradcheck("cross_entropy", f, {random({2, 2, 5})}));
        }
}

TEST(CrossEntropy, WrongLabelsNameTheSample) {
    try {
        loss(random({3, 5}), {0, 5, 1});
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("sample 1 is 5, expected 0 to 4"),
                  std::string::npos)
            << error.what();
    }
    EXPECT_THROW(loss(random({3, 5}), {0, -1, 1}), Error);
    EXPECT_THROW(loss(random({3, 5}), {0, 1}), Error);
    EXPECT_THROW(loss(random({5}), {0}), Error);
    EXPECT_THROW(loss(random({2, 5}), {-100, -100}), Error);
    EXPECT_THROW(loss(random({1, 5}), {0}, {1.5}), Error);
}

TEST(Mse, ValueGradientAndErrors) {
    Tape tape;
    const Var x = tape.constant(Tensor::from({2}, std::vector<real>{1, 2}));
    const Var t = tape.constant(Tensor::from({2}, std::vector<real>{0, 4}));
    EXPECT_NEAR(mse(x, t).value().item(), 2.5, 1e-6);
    const TapeFunction f = [](Tape&, const std::vector<Var>& v) { return mse(v[0], v[1]); };
    EXPECT_NO_THROW(gradcheck("mse", f, {random({3, 4}), random({3, 4}, 2)}));
    EXPECT_THROW(mse(x, tape.constant(random({3}))), Error);
    EXPECT_THROW(mse(tape.constant(Tensor({0})), tape.constant(Tensor({0}))), Error);
}

}  // namespace
}  // namespace slimgrad
