#include "nn/layer_norm.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "nn/gradcheck.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

Tensor random(Shape shape, std::uint64_t seed = 1, real mean = 0) {
    Stream stream(seed, "test");
    return normal(std::move(shape), mean, 2, stream);
}

/// γ and β other than their initial 1 and 0.
void randomise(Module& module) {
    std::uint64_t seed = 10;
    for (Parameter* p : parameters(module)) p->value = random(p->value.shape(), ++seed);
}

TEST(LayerNorm, RowsHaveMeanZeroAndVarianceOne) {
    LayerNorm norm(64);
    Tape tape;
    const Tensor y = norm.forward(tape.constant(random({3, 5, 64}, 1, 100))).value();
    for (std::int64_t r = 0; r < 15; ++r) {
        const Tensor row = y.reshape({15, 64}).rows(r, 1);
        EXPECT_NEAR(sum(row) / 64, 0, 1e-4);
        EXPECT_NEAR(sum_squares(row) / 64, 1, 1e-3);
    }
}

TEST(LayerNorm, EpsAndAffineAsInPyTorch) {
    LayerNorm norm(2);
    parameters(norm)[0]->value.data()[1] = 3;
    parameters(norm)[1]->value.data()[1] = 1;
    Tape tape;
    const Var x = tape.constant(Tensor::from({1, 2}, std::vector<real>{1, 2}));
    const double unit = 0.5 / std::sqrt(0.25 + 1e-5);
    const Tensor y = norm.forward(x).value();
    EXPECT_NEAR(y.at({0, 0}), -unit, 1e-6);
    EXPECT_NEAR(y.at({0, 1}), 3 * unit + 1, 1e-6);
}

TEST(LayerNorm, GradientsAgreeWithFiniteDifferences) {
    LayerNorm norm(9);
    randomise(norm);
    EXPECT_NO_THROW(gradcheck(norm, random({2, 3, 9})));
    GradcheckOptions options;
    options.max_elements = 60;
    EXPECT_NO_THROW(gradcheck(norm, random({150, 9}), options));
}

TEST(LayerNorm, KeepsItsInputAndTwoNumbersARow) {
    LayerNorm norm(64);
    const Tensor x = random({10, 64});
    const auto saved = [] { return ledger()[Category::saved].live; };
    {
        Tape tape;
        const Var y = norm.forward(tape.input(x));
        EXPECT_EQ(saved(), x.bytes() + 20 * static_cast<std::int64_t>(sizeof(real)));
    }
    parameters(norm)[0]->requires_grad = false;  // g_β needs no x
    Tape tape;
    const Var y = norm.forward(tape.constant(x));
    EXPECT_EQ(saved(), 0);
}

TEST(LayerNorm, FrozenPartsChangeNeitherTheOtherGradientsNorTheCount) {
    for (const std::int64_t n : {1, 7, 33, 100}) {
        LayerNorm norm(n);
        randomise(norm);
        const Tensor x = random({300, n}), g = random({300, n}, 2);
        const auto p = parameters(norm);
        const auto run = [&](bool input, bool gamma, bool beta) {
            zero_grad(norm);
            p[0]->requires_grad = gamma;
            p[1]->requires_grad = beta;
            meter().reset();
            Tape tape;
            const Var v = input ? tape.input(x) : tape.constant(x);
            tape.backward(norm.forward(v), g);
            const std::int64_t weights = input ? 18 : gamma ? 5 : 1, rows = input ? 600 : 0;
            EXPECT_EQ(meter().count("layer_norm", "backward"),
                      (input && !gamma && !beta ? 13 : weights) * x.numel() + rows);
            return std::array{input ? tape.gradient(v) : Tensor(), p[0]->grad.value,
                              p[1]->grad.value};
        };
        const auto whole = run(true, true, true);
        for (const int which : {1, 2, 3, 4, 5, 6}) {
            const auto some = run(which & 1, which & 2, which & 4);
            for (std::size_t i = 0; i < 3; ++i) {
                ASSERT_EQ(some[i].defined(), (which >> i & 1) != 0);
                if (!some[i].defined()) continue;
                EXPECT_LT(sum_squares(some[i] - whole[i]), 1e-9 * (1 + sum_squares(whole[i])));
            }
        }
    }
}

TEST(LayerNorm, WrongShapesAreErrors) {
    LayerNorm norm(8);
    Tape tape;
    EXPECT_THROW(norm.forward(tape.constant(random({2, 7}))), Error);
    EXPECT_THROW(norm.forward(tape.constant(random({}))), Error);
    EXPECT_THROW(LayerNorm(0), Error);
}

}  // namespace
}  // namespace slimgrad
