#include "nn/batch_norm.h"

#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "nn/gradcheck.h"
#include "nn/relu.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

Tensor random(Shape shape, std::uint64_t seed = 1) {
    Stream stream(seed, "test");
    return normal(std::move(shape), 2, 3, stream);
}

/// A layer whose parameters and running statistics are not the initial ones.
template <class Layer>
void stir(Layer& layer) {
    Stream stream(4, "test");
    for (Tensor* t :
         {&layer.weight().value, &layer.bias().value, &layer.running_mean(), &layer.running_var()})
        for (real& value : t->values()) value = stream.uniform(real(0.5), 2);
}

TEST(BatchNorm, GradientsAgreeWithFiniteDifferencesInBothModes) {
    for (const bool training : {true, false}) {
        GradcheckOptions options;
        options.tape.training = training;
        BatchNorm1d one(3);
        BatchNorm2d two(3);
        stir(one);
        stir(two);
        EXPECT_NO_THROW(gradcheck(one, random({5, 3}), options));
        EXPECT_NO_THROW(gradcheck(one, random({4, 3, 2}), options));
        EXPECT_NO_THROW(gradcheck(two, random({2, 3, 3, 2}), options));
        EXPECT_NO_THROW(gradcheck(two, random({1, 3, 2, 2}), options));  // one sample
    }
}

TEST(BatchNorm, CalledTwiceInOneGraphAndPartlyFrozen) {
    for (const bool training : {true, false})
        for (const bool weight : {true, false})
            for (const bool bias : {true, false}) {
                BatchNorm1d layer(3);
                stir(layer);
                layer.weight().requires_grad = weight;
                layer.bias().requires_grad = bias;
                GradcheckOptions options;
                options.tape.training = training;
                const TapeFunction twice = [&](Tape&, const std::vector<Var>& v) {
                    return layer.forward(tanh(layer.forward(v[0])));
                };
                EXPECT_NO_THROW(gradcheck(layer, twice, {random({4, 3, 2})}, options));
            }
}

TEST(BatchNorm, NormalisesTheBatchAndMovesTheRunningStatistics) {
    BatchNorm2d layer(2);
    const Tensor x = random({3, 2, 2, 2});
    Tape tape;
    const Tensor y = layer.forward(tape.constant(x)).value();
    for (std::int64_t c = 0; c < 2; ++c) {
        const Tensor from = slice(x, 1, c, 1), to = slice(y, 1, c, 1);
        const double n = 12, mean = sum(from) / n;
        const double unbiased = (sum_squares(from) - n * mean * mean) / (n - 1);
        EXPECT_NEAR(sum(to), 0, 1e-4);
        EXPECT_NEAR(sum_squares(to) / n, 1, 1e-4);
        EXPECT_NEAR(layer.running_mean().at({c}), 0.1 * mean, 1e-5);
        EXPECT_NEAR(layer.running_var().at({c}), 0.9 + 0.1 * unbiased, 1e-4);
    }
}

TEST(BatchNorm, RunningStatisticsStayWhereTheyMustNotMove) {
    for (const auto& [training, update] : {std::pair{true, false}, std::pair{false, true}}) {
        BatchNorm1d layer(3);
        stir(layer);
        const Tensor mean = layer.running_mean().clone(), var = layer.running_var().clone();
        TapeOptions options;
        options.training = training;
        options.update_statistics = update;
        Tape tape(options);
        const Tensor x = random({4, 3});
        const Tensor y = layer.forward(tape.constant(x)).value();
        EXPECT_TRUE(identical(layer.running_mean(), mean));
        EXPECT_TRUE(identical(layer.running_var(), var));
        if (!training) {
            const double expected = (x.at({2, 1}) - mean.at({1})) / std::sqrt(var.at({1}) + 1e-5) *
                                        layer.weight().value.at({1}) +
                                    layer.bias().value.at({1});
            EXPECT_NEAR(y.at({2, 1}), expected, 1e-5);
        }
    }
}

TEST(BatchNorm, KeepsItsInputAndTwoNumbersAChannel) {
    BatchNorm2d layer(3);
    const Tensor x = random({4, 3, 5, 5});
    const std::int64_t channel = 3 * sizeof(real);
    {
        Tape tape;
        const Var y = layer.forward(tape.input(x));
        EXPECT_EQ(ledger()[Category::saved].live, x.bytes() + 2 * channel);
    }
    set_requires_grad(layer, false);
    TapeOptions evaluation;
    evaluation.training = false;
    Tape tape(evaluation);
    const Var y = layer.forward(tape.input(x));
    EXPECT_EQ(ledger()[Category::saved].live, channel);  // x plays no part in g_x
}

/// relu(norm(x) + s), in one piece or by three functions.
struct Block {
    bool fused, residual;
    BatchNorm2d norm{3};
    ReLU relu{};

    Var operator()(const Var& x, const Var& s) {
        if (fused) return residual ? norm.forward_relu(x, s) : norm.forward_relu(x);
        const Var z = norm.forward(x);
        return relu.forward(residual ? z + s : z);
    }
};

TEST(BatchNorm, WithReLUAndResidualEqualsThreeFunctions) {
    for (const Shape& shape : {Shape{2, 3, 8, 8}, {3, 3, 1, 7}, {1, 3, 5, 5}, {5, 3, 1, 1}})
        for (const bool residual : {true, false})
            for (const bool training : {true, false}) {
                SCOPED_TRACE(to_string(shape));
                TapeOptions options;
                options.training = training;
                std::vector<std::vector<Tensor>> results;
                std::vector<std::int64_t> flops;
                for (const bool fused : {true, false}) {
                    Block block{fused, residual};
                    stir(block.norm);
                    meter().reset();
                    Tape tape(options);
                    const Var x = tape.input(random(shape)), s = tape.input(random(shape, 2));
                    const Var y = block(x, s);
                    tape.backward(y, random(shape, 3));
                    results.push_back({y.value(), tape.gradient(x), tape.gradient(s),
                                       block.norm.weight().grad.value,
                                       block.norm.bias().grad.value});
                    flops.push_back(meter().total());
                }
                EXPECT_EQ(flops[0], flops[1]);
                for (std::size_t k = 0; k < results[0].size(); ++k)
                    for (std::int64_t i = 0; i < results[0][k].numel(); ++i)
                        ASSERT_NEAR(results[0][k].data()[i], results[1][k].data()[i], 1e-4) << k;
            }
}

TEST(BatchNorm, WithReLUAgreesWithFiniteDifferencesAlsoPartlyFrozen) {
    for (const bool training : {true, false})
        for (const bool trained : {true, false}) {
            BatchNorm2d layer(3);
            stir(layer);
            set_requires_grad(layer, trained);
            GradcheckOptions options;
            options.tape.training = training;
            const TapeFunction both = [&](Tape& tape, const std::vector<Var>& v) {
                // Once with a residual that needs a gradient, once with one that does not, once
                // with an input that needs none.
                const Var fixed = tape.constant(random({2, 3, 3, 3}, 4));
                return layer.forward_relu(v[0], v[1]) + layer.forward_relu(v[0], fixed) +
                       (trained ? layer.forward_relu(fixed) : fixed);
            };
            EXPECT_NO_THROW(
                gradcheck(layer, both, {random({2, 3, 3, 3}), random({2, 3, 3, 3}, 2)}, options));
        }
}

TEST(BatchNorm, WithReLUKeepsOneBitAnElementAndChecksItsResidual) {
    BatchNorm2d layer(3);
    const Tensor x = random({4, 3, 5, 5});
    Tape tape;
    const Var y = layer.forward_relu(tape.input(x));
    const std::int64_t channel = 3 * sizeof(real), planes = 4 * 3;
    EXPECT_EQ(ledger()[Category::saved].live, x.bytes() + 2 * channel + planes * 4);  // 25 bits
    EXPECT_THROW(layer.forward_relu(y, tape.input(random({4, 3, 5, 4}))), Error);
}

TEST(BatchNorm, PresentsPyTorchsNames) {
    BatchNorm2d layer(3);
    std::string names;
    for_each_parameter(layer, [&](const std::string& name, Parameter&) { names += name + " "; });
    for_each_buffer(layer, [&](const std::string& name, Tensor&) { names += name + " "; });
    EXPECT_EQ(names, "weight bias running_mean running_var ");
}

std::string message_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

TEST(BatchNorm, WrongShapesGiveOneClearLine) {
    BatchNorm1d one(3);
    BatchNorm2d two(3);
    Tape tape;
    const auto forward = [&](Module& layer, Shape shape) {
        return message_of([&] { layer.forward(tape.constant(random(shape))); });
    };
    EXPECT_EQ(forward(one, {2, 4}),
              "[batch_norm1d] expected (batch, 3) or (batch, 3, length), got (2, 4)");
    EXPECT_EQ(forward(one, {2, 3, 4, 4}),
              "[batch_norm1d] expected (batch, 3) or (batch, 3, length), got (2, 3, 4, 4)");
    EXPECT_EQ(forward(two, {2, 3, 4}),
              "[batch_norm2d] expected (batch, 3, height, width), got (2, 3, 4)");
    EXPECT_EQ(forward(two, {1, 3, 1, 1}),
              "[batch_norm2d] training needs more than one value for each channel, got (1, 3, 1, "
              "1). Hint: use a larger batch or evaluation mode");
    EXPECT_THROW(BatchNorm1d(0), Error);
    TapeOptions evaluation;
    evaluation.training = false;
    Tape eval(evaluation);
    EXPECT_NO_THROW(one.forward(eval.constant(random({1, 3}))));
}

}  // namespace
}  // namespace slimgrad
