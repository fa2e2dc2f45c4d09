// What the published models of images have beside convolutions: ReLU6, frozen statistics, padding
// as TensorFlow has it, stochastic depth, positions of another grid.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "nn/batch_norm.h"
#include "nn/drop_path.h"
#include "nn/gradcheck.h"
#include "nn/layer_scale.h"
#include "nn/models/model.h"
#include "nn/models/resize.h"
#include "nn/models/vit.h"
#include "nn/relu.h"
#include "nn/upsample.h"
#include "nn/zero_pad.h"
#include "tensor/meter.h"
#include "tests/error_of.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

TEST(ReLU6, StopsGradientsAtBothEnds) {
    ReLU6 relu6;
    Tape tape;
    const Var x = tape.input(Tensor::from({5}, std::vector<real>{-1, 0, 3, 6, 7}));
    const Var y = relu6.forward(x);
    tape.backward(y, Tensor::full({5}, 1));
    const real values[] = {0, 0, 3, 6, 6}, gradients[] = {0, 0, 1, 0, 0};
    for (std::int64_t i = 0; i < 5; ++i) {
        EXPECT_EQ(y.value().at({i}), values[i]);
        EXPECT_EQ(tape.gradient(x).at({i}), gradients[i]);
    }
    EXPECT_NO_THROW(gradcheck(relu6, random({3, 5, 7}) * real(4)));
}

TEST(ReLU6, WithoutARecordItIsTheSame) {
    const Tensor x = random({4, 100}) * real(5);
    ReLU6 relu6;
    Tape recorded, plain({.recording = false});
    EXPECT_TRUE(identical(relu6.forward(recorded.input(x)).value(),
                          relu6.forward(plain.constant(x)).value()));
}

TEST(BatchNormReLU6, IsBothInOnePass) {
    BatchNorm2d fused(3), apart(3);
    ReLU6 relu6;
    for (BatchNorm2d* norm : {&fused, &apart})
        for (real& w : norm->weight().value.values()) w = 4;  // some values lie above 6
    const Tensor x = random({4, 3, 5, 6}), g = random({4, 3, 5, 6}, 2);
    Tape one, two;
    const Var x1 = one.input(x), x2 = two.input(x);
    const Var y1 = fused.forward_relu6(x1), y2 = relu6.forward(apart.forward(x2));
    EXPECT_TRUE(identical(y1.value(), y2.value()));
    std::int64_t above = 0;
    for (const real v : y1.value().values()) above += v == 6;
    EXPECT_GT(above, 0);
    one.backward(y1, g);
    two.backward(y2, g);
    expect_close(one.gradient(x1), two.gradient(x2), "g_x");
    expect_close(fused.weight().grad.dense(), apart.weight().grad.dense(), "g_γ");
}

TEST(BatchNormFrozen, TrainsOnTheRunningStatisticsAndLeavesThem) {
    BatchNorm2d norm(3);
    for (real& v : norm.running_mean().values()) v = real(0.5);
    for (real& v : norm.running_var().values()) v = 2;
    const Tensor x = random({1, 3, 1, 1});  // a batch of one value has no variance
    {
        Tape tape;
        EXPECT_NE(error_of([&] { norm.forward(tape.input(x)); }).find("more than one value"),
                  std::string::npos);
    }
    norm.set_frozen(true);
    EXPECT_NO_THROW(gradcheck(norm, random({2, 3, 4, 4})));
    Tape training, evaluation({.training = false});
    EXPECT_TRUE(identical(norm.forward(training.input(x)).value(),
                          norm.forward(evaluation.input(x)).value()));
    for (const real v : norm.running_mean().values()) EXPECT_EQ(v, real(0.5));
    for (const real v : norm.running_var().values()) EXPECT_EQ(v, 2);
}

TEST(SamePad2d, PutsTheOddZeroBehind) {
    const auto padded = [](const Shape& shape, Size2d kernel, Size2d stride) {
        SamePad2d pad(kernel, stride);
        Tape tape;
        return pad.forward(tape.input(Tensor::full(shape, 1))).value();
    };
    const Tensor even = padded({1, 1, 4, 4}, 3, 2);
    ASSERT_EQ(even.shape(), (Shape{1, 1, 5, 5}));
    for (std::int64_t i = 0; i < 5; ++i) {
        EXPECT_EQ(even.at({0, 0, 4, i}), 0);
        EXPECT_EQ(even.at({0, 0, i, 4}), 0);
    }
    EXPECT_EQ(even.at({0, 0, 0, 0}), 1);
    EXPECT_EQ(padded({2, 3, 5, 5}, 3, 2).shape(), (Shape{2, 3, 7, 7}));  // one on each side
    EXPECT_EQ(padded({2, 3, 8, 9}, 1, 2).shape(), (Shape{2, 3, 8, 9}));  // nothing is missing
    SamePad2d pad({5, 3}, {3, 2});
    EXPECT_NO_THROW(gradcheck(pad, random({2, 2, 7, 6})));
    EXPECT_NE(error_of([] {
                  Tape tape;
                  SamePad2d(std::numeric_limits<std::int64_t>::max(), 1)
                      .forward(tape.input(random({1, 1, 3, 3})));
              }),
              "no error");
    EXPECT_EQ(error_of([] { SamePad2d(0, 1); }),
              "[same_pad2d] kernel and stride must be at least 1");
    EXPECT_NE(error_of([&] {
                  Tape tape;
                  pad.forward(tape.input(random({2, 3})));
              }).find("expected images"),
              std::string::npos);
}

TEST(LayerScale, ScalesChannelsOfTokensAndOfImages) {
    LayerScale scale(3, 0.5);
    for_each_parameter(scale, [](const std::string&, Parameter& p) { p.value.data()[1] = 2; });
    Tape tape;
    const Tensor images = random({2, 3, 2, 2}), tokens = random({2, 4, 3});
    const Tensor y = scale.forward(tape.input(images)).value();
    const Tensor t = scale.forward(tape.input(tokens)).value();
    EXPECT_EQ(y.at({1, 1, 0, 1}), 2 * images.at({1, 1, 0, 1}));
    EXPECT_EQ(y.at({1, 2, 0, 1}), real(0.5) * images.at({1, 2, 0, 1}));
    EXPECT_EQ(t.at({1, 3, 1}), 2 * tokens.at({1, 3, 1}));
    EXPECT_NO_THROW(gradcheck(scale, images));
    EXPECT_NO_THROW(gradcheck(scale, tokens));
    EXPECT_NE(error_of([&] {
                  scale.forward(tape.input(random({2, 3})));
              }).find("got (2, 3)"),
              std::string::npos);
}

TEST(UpsampleBilinear2d, GoesEvenlyFromPixelToPixel) {
    UpsampleBilinear2d twice(2);
    Tape tape;
    const Var x = tape.input(Tensor::from({1, 1, 1, 3}, std::vector<real>{0, 4, 8}));
    const Tensor y = twice.forward(x).value();
    ASSERT_EQ(y.shape(), (Shape{1, 1, 2, 6}));
    const real row[] = {0, 1, 3, 5, 7, 8};
    for (std::int64_t i = 0; i < 12; ++i) EXPECT_EQ(y.data()[i], row[i % 6]);
    EXPECT_NO_THROW(gradcheck(twice, random({2, 3, 4, 5})));
    const Tensor same = random({2, 3, 4, 5});
    UpsampleBilinear2d once(1);
    EXPECT_TRUE(identical(once.forward(tape.input(same)).value(), same));
    EXPECT_NE(error_of([&] {
                  twice.forward(tape.input(random({2, 3})));
              }).find("expected images"),
              std::string::npos);
    EXPECT_NE(error_of([] { UpsampleBilinear2d(0); }).find("factor of at least 1"),
              std::string::npos);
}

TEST(DropPath, LeavesOutWholeSamplesAndIsRightOnAverage) {
    DropPath drop(0.25);
    constexpr std::int64_t batch = 400;
    const Tensor x = Tensor::full({batch, 3, 2}, 1);
    Tape tape({.seed = 3, .step = 7});
    const Var in = tape.input(x);
    const Var y = drop.forward(in);
    EXPECT_EQ(ledger()[Category::saved].live, batch / 8);
    std::int64_t kept = 0;
    for (std::int64_t b = 0; b < batch; ++b) {
        const real first = y.value().at({b, 0, 0});
        kept += first != 0;
        for (std::int64_t i = 0; i < 6; ++i) {
            const real v = y.value().data()[b * 6 + i];
            EXPECT_EQ(v, first);
            EXPECT_TRUE(v == 0 || v == real(1 / 0.75));
        }
    }
    EXPECT_NEAR(static_cast<double>(kept), 300, 5 * std::sqrt(400 * 0.75 * 0.25));
    tape.backward(y, x);
    EXPECT_TRUE(identical(tape.gradient(in), y.value()));

    // A batch in two parts has the same draws.
    Tape part({.seed = 3, .step = 7, .first_sample = 200});
    const Tensor half = drop.forward(part.input(Tensor::full({200, 3, 2}, 1))).value();
    for (std::int64_t i = 0; i < half.numel(); ++i)
        EXPECT_EQ(half.data()[i], y.value().data()[200 * 6 + i]);

    Tape evaluation({.training = false});
    EXPECT_TRUE(identical(drop.forward(evaluation.constant(x)).value(), x));
    EXPECT_NE(error_of([] { DropPath(1); }).find("from 0 to below 1, got 1"), std::string::npos);
}

// torch.nn.functional.interpolate(torch.arange(9.).reshape(1, 1, 3, 3), size=(2, 4),
// mode="bicubic", align_corners=False)
TEST(Resize, BicubicIsThatOfPyTorch) {
    const std::vector<real> grid{0, 1, 2, 3, 4, 5, 6, 7, 8};
    std::vector<real> to(8), same(9);
    resize_bicubic({3, 3, 1}, grid.data(), 2, 4, to.data());
    const double expected[] = {0.5024414062, 1.104003906, 2.044433594, 2.645996094,
                               5.354003906,  5.955566406, 6.895996094, 7.497558594};
    for (std::size_t i = 0; i < 8; ++i) EXPECT_NEAR(to[i], expected[i], 1e-6) << i;
    resize_bicubic({3, 3, 1}, grid.data(), 3, 3, same.data());
    for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(same[i], grid[i], 1e-6);
}

std::int64_t count(Module& model) {
    std::int64_t n = 0;
    for (const Parameter* p : parameters(model)) n += p->value.numel();
    return n;
}

// As their authors count them, with 1000 classes.
TEST(PublishedSizes, AreThoseOfTheirPapers) {
    const std::pair<const char*, std::int64_t> models[] = {{"resnet18", 11'689'512},
                                                           {"resnet50", 25'557'032},
                                                           {"mobilenetv2", 3'504'872},
                                                           {"efficientnet-lite0", 4'652'008},
                                                           {"efficientformer-l1", 12'289'928},
                                                           {"vit-ti16", 5'717'416},
                                                           {"deit-ti", 5'717'416},
                                                           {"vit-b32", 88'224'232},
                                                           {"vit-b16", 86'567'656}};
    for (const auto& [name, expected] : models) {
        if (sizeof(real) == 8 && expected > 50'000'000) continue;  // large, and the same code
        const auto model = make_model(name, {.height = 224, .width = 224, .classes = 1000});
        EXPECT_EQ(count(*model), expected) << name;
    }
}

TEST(PublishedModels, DropPathGrowsWithDepthAndLeavesTheFirstBlock) {
    for (const char* name : {"efficientnet-lite0", "deit-ti"}) {
        const auto model =
            make_model(name, {.height = 32, .width = 32, .classes = 3, .drop_path = 0.2});
        double last = -1;
        std::size_t blocks = 0;
        for_each_module(*model, [&](const std::string&, Module& module) {
            if (const auto* drop = dynamic_cast<const DropPath*>(&module)) {
                EXPECT_TRUE(blocks++ == 0 ? drop->p() == 0 : drop->p() > last);
                last = drop->p();
            }
        });
        EXPECT_GT(blocks, 11u);
        EXPECT_DOUBLE_EQ(last, 0.2);
    }
}

TEST(PublishedModels, PositionsOfAnotherGridKeepTheClassToken) {
    Vit small({.height = 32, .width = 32},
              {.width = 6, .blocks = 1, .patch = 8, .class_token = true});
    const Tensor file = random({1, 1 + 9, 6});
    const Tensor resized = small.resized("positions", file);
    ASSERT_EQ(resized.shape(), (Shape{1, 17, 6}));
    for (std::int64_t k = 0; k < 6; ++k) EXPECT_EQ(resized.at({0, 0, k}), file.at({0, 0, k}));
    const Tensor even = small.resized("positions", Tensor::full({1, 1 + 9, 6}, 2));
    for (const real v : even.values()) EXPECT_NEAR(v, 2, 1e-5);
    EXPECT_FALSE(small.resized("positions", random({1, 1 + 8, 6})).defined());  // no square
    EXPECT_FALSE(small.resized("positions", Tensor({1, 0, 6})).defined());
    EXPECT_FALSE(small.resized("positions", random({1, 10, 7})).defined());
    EXPECT_FALSE(small.resized("class_token", random({1, 10, 6})).defined());
    EXPECT_NE(error_of([] {
                  Vit({.height = 30, .width = 32}, {.patch = 8});
              }).find("multiples of 8, got 30x32"),
              std::string::npos);
}

}  // namespace
}  // namespace slimgrad
