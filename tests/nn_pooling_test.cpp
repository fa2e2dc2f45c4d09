#include "nn/pooling.h"

#include <gtest/gtest.h>

#include <limits>

#include "autograd/ops.h"
#include "nn/gradcheck.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

std::vector<real> list(const Tensor& t) { return {t.values().begin(), t.values().end()}; }

Tensor iota(Shape shape) {
    Tensor t(std::move(shape));
    for (std::int64_t i = 0; i < t.numel(); ++i) t.data()[i] = static_cast<real>(i);
    return t;
}

const std::vector<PoolOptions> options{
    {.kernel = 2},
    {.kernel = 3, .stride = 2, .padding = 1},
    {.kernel = {2, 3}, .stride = {1, 2}, .padding = {1, 0}},
    {.kernel = 1},
    {.kernel = {5, 4}},
};

TEST(Pooling, GradientsAgreeWithFiniteDifferences) {
    for (const PoolOptions& o : options)
        for (const std::int64_t batch : {1, 2}) {
            AvgPool2d average(o);
            MaxPool2d maximum(o);
            EXPECT_NO_THROW(gradcheck(average, random({batch, 3, 5, 6})));
            EXPECT_NO_THROW(gradcheck(maximum, random({batch, 3, 5, 6})));
        }
    GlobalAvgPool2d global;
    EXPECT_NO_THROW(gradcheck(global, random({2, 3, 4, 5})));
    EXPECT_NO_THROW(gradcheck(global, random({1, 3, 1, 1})));
}

TEST(Pooling, CalledTwiceInOneGraph) {
    MaxPool2d maximum({.kernel = 2, .stride = 1});
    AvgPool2d average({.kernel = 2, .stride = 1});
    for (Module* layer : {static_cast<Module*>(&maximum), static_cast<Module*>(&average)}) {
        const TapeFunction twice = [&](Tape&, const std::vector<Var>& v) {
            return layer->forward(layer->forward(v[0]));
        };
        EXPECT_NO_THROW(gradcheck(*layer, twice, {random({2, 2, 4, 4})}));
    }
}

TEST(Pooling, KnownValues) {
    Tape tape;
    const Var x = tape.constant(iota({1, 1, 3, 4}));
    EXPECT_EQ(list(MaxPool2d({.kernel = 2}).forward(x).value()), (std::vector<real>{5, 7}));
    EXPECT_EQ(list(AvgPool2d({.kernel = 2}).forward(x).value()), (std::vector<real>{2.5, 4.5}));
    EXPECT_EQ(list(GlobalAvgPool2d().forward(x).value()), (std::vector<real>{5.5}));
    // Padding counts as zeros in a mean, as nothing in a maximum.
    const PoolOptions padded{.kernel = 2, .stride = 2, .padding = 1};
    EXPECT_EQ(list(AvgPool2d(padded).forward(x).value()),
              (std::vector<real>{0, 0.75, 0.75, 3, 7.5, 4.5}));
    const Tensor negative = iota({1, 1, 3, 4}) * real(-1);
    EXPECT_EQ(list(MaxPool2d(padded).forward(tape.constant(negative)).value()),
              (std::vector<real>{0, -1, -3, -4, -5, -7}));
}

TEST(Pooling, EqualsWinFirstAndNanWinsAlways) {
    MaxPool2d pool({.kernel = 2});
    const real nan = std::numeric_limits<real>::quiet_NaN();
    Tape tape;
    const Var x = tape.input(Tensor::from({1, 1, 2, 4}, std::vector<real>{1, 1, 0, nan,  //
                                                                          1, 1, 2, 3}));
    const Var y = pool.forward(x);
    EXPECT_EQ(y.value().at({0, 0, 0, 0}), 1);
    EXPECT_TRUE(std::isnan(y.value().at({0, 0, 0, 1})));
    tape.backward(sum(y));
    EXPECT_EQ(list(tape.gradient(x)), (std::vector<real>{1, 0, 0, 1, 0, 0, 0, 0}));
}

TEST(Pooling, KeepsTwoBytesForAMaximumAndNothingForAMean) {
    const Tensor x = random({2, 3, 8, 8});
    Tape tape;
    const Var in = tape.input(x);
    MaxPool2d maximum({.kernel = 2});
    AvgPool2d average({.kernel = 2});
    GlobalAvgPool2d global;
    const Var a = average.forward(in), g = global.forward(in);
    EXPECT_EQ(ledger()[Category::saved].live, 0);
    const Var m = maximum.forward(in);
    EXPECT_EQ(ledger()[Category::saved].live, 2 * m.value().numel());
}

std::string message_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

TEST(Pooling, WrongShapesGiveOneClearLine) {
    MaxPool2d maximum({.kernel = 4});
    AvgPool2d average({.kernel = 4});
    GlobalAvgPool2d global;
    Tape tape;
    const auto forward = [&](Module& layer, Shape shape) {
        return message_of([&] { layer.forward(tape.constant(random(shape))); });
    };
    EXPECT_EQ(forward(maximum, {3, 8, 8}),
              "[max_pool2d] expected images (batch, channels, height, width), got (3, 8, 8)");
    EXPECT_EQ(forward(average, {1, 3, 8, 2}),
              "[avg_pool2d] a kernel of 4x4 with dilation 1x1 does not fit into an image of 8x2 "
              "with padding 0x0");
    EXPECT_EQ(forward(global, {3, 8}),
              "[global_avg_pool2d] expected images (batch, channels, height, width), got (3, 8)");
    EXPECT_THROW(MaxPool2d({.kernel = 2, .padding = 2}), Error);
    EXPECT_THROW(AvgPool2d({.kernel = 0}), Error);
    EXPECT_THROW(AvgPool2d({.kernel = 2, .stride = -1}), Error);
    EXPECT_THROW(MaxPool2d({.kernel = 300}), Error);
}

}  // namespace
}  // namespace slimgrad
