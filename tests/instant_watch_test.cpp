// Calibration by ordinary training steps that are watched.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "instant/calibration/calibrator.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tests/error_of.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 8, tokens = 6;
using Watch = Calibrator::Watch;

/// Two linear maps of tokens and a convolution, one above the other.
struct Model final : Module {
    Model() { name_modules(*this); }
    Var forward(const Var& x) override { return second.forward(first.forward(x)); }
    void visit(Visitor& visitor) override {
        visitor.module("first", first);
        visitor.module("second", second);
    }
    std::string kind() const override { return "chain"; }

    Stream stream{11, "chain"};
    Linear first{8, 10, stream}, second{10, 7, stream};
};

MethodOptions instant() {
    MethodOptions options{.method = "instant", .offset = "none"};
    options.rank_x = options.rank_g = 2;
    options.side = "token";
    return options;
}

/// Forward and backward of a batch of its own for each step; parameter gradients stay.
void run(Module& model, std::uint64_t step, std::int64_t samples = batch) {
    const Tensor x = random({batch, tokens, 8}, 100 + step).rows(0, samples);
    const Tensor gy = random({batch, tokens, 7}, 200 + step).rows(0, samples);
    Tape tape({.step = step});
    tape.backward(model.forward(tape.input(x)), gy);
}

void expect_same_projectors(const Calibrator& a, const Calibrator& b) {
    const Calibrator::State of_a = a.state(), of_b = b.state();
    ASSERT_EQ(of_a.size(), of_b.size());
    ASSERT_FALSE(of_a.empty());
    for (std::size_t i = 0; i < of_a.size(); ++i) {
        EXPECT_EQ(of_a[i].name, of_b[i].name);
        EXPECT_TRUE(identical(of_a[i].basis, of_b[i].basis)) << of_a[i].name;
    }
}

TEST(Watch, ExactStepsGiveTheProjectorsOfACalibrationOnTheSameBatches) {
    Model model, other;
    Calibrator watching(model, instant()), calibrating(other, instant());
    watching.watch(Watch::exactly);
    for (const std::uint64_t step : {0, 1, 2}) run(model, step);
    EXPECT_TRUE(model.first.weight().grad.defined()) << "the steps may train";
    watching.renew();
    watching.watch(Watch::nothing);
    calibrating.calibrate([&] {
        for (const std::uint64_t step : {0, 1, 2}) run(other, step);
    });
    expect_same_projectors(watching, calibrating);
    EXPECT_EQ(model.first.rule()->name(), "instant");
}

TEST(Watch, ExactStepsCountAsStepsAndGramProductsAsCalibration) {
    Model exact, model;
    meter().reset();
    run(exact, 0);
    const auto expected = meter().counts();
    Calibrator calibrator(model, instant());
    calibrator.watch(Watch::exactly);
    meter().reset();
    run(model, 0);
    for (const auto& [key, count] : expected)
        EXPECT_EQ(meter().count(key.first, key.second), count) << key.first << " " << key.second;
    const std::int64_t triangle = tokens * (tokens + 1);
    EXPECT_EQ(meter().phase("calibrate"), batch * triangle * (8 + 10 + 10 + 7));
    EXPECT_EQ(model.first.rule()->name(), "observing");
}

TEST(Watch, AShareOfTheSamplesIsSpreadEvenly) {
    for (const ObservedShare share :
         {ObservedShare{160, 50}, ObservedShare{5, 7}, ObservedShare{7, 7}, ObservedShare{0, 3},
          ObservedShare{1'000'000'000'000, 1'000'000'000}}) {
        if (share.steps < 100) {
            std::int64_t all = 0;
            for (std::int64_t step = 0; step < share.steps; ++step) {
                const std::int64_t n = share.of(static_cast<std::uint64_t>(step));
                EXPECT_GE(n, share.samples / share.steps);
                EXPECT_LE(n, share.samples / share.steps + 1);
                all += n;
            }
            EXPECT_EQ(all, share.samples);
        }
        EXPECT_EQ(share.of(3), share.of(static_cast<std::uint64_t>(3 + 2 * share.steps)));
    }
}

TEST(Watch, AShareIsAddedToTheSumsAndChangesNoGradient) {
    Model model, plain;
    const auto prepare = [](Model& m, Calibrator& c) { c.calibrate([&] { run(m, 9); }); };
    Calibrator calibrator(model, instant()), other(plain, instant());
    prepare(model, calibrator);
    prepare(plain, other);
    calibrator.watch(Watch::share, {.samples = 3, .steps = 1});
    meter().reset();
    run(model, 0);
    const std::int64_t triangle = tokens * (tokens + 1);
    EXPECT_EQ(meter().phase("calibrate"), 3 * triangle * (8 + 10 + 10 + 7));
    run(plain, 0);
    EXPECT_TRUE(identical(model.first.weight().grad.dense(), plain.first.weight().grad.dense()));

    // x is exact; the g of `second` is the one that it is given.
    const Tensor x = random({batch, tokens, 8}, 100).rows(0, 3);
    const Tensor gy = random({batch, tokens, 7}, 200).rows(0, 3);
    for (const RunningSum& sum : calibrator.watched()) {
        const Tensor& of = sum.name == "X.first" ? x : gy;
        if (sum.name != "X.first" && sum.name != "G.second") continue;
        const Tensor c = matmul(of, of, Op::none, Op::transpose);
        for (std::int64_t i = 0; i < tokens; ++i)
            for (std::int64_t j = 0; j <= i; ++j) {
                double expected = 0;
                for (std::int64_t b = 0; b < 3; ++b) expected += c.at({b, i, j});
                EXPECT_NEAR(sum.sum.at({i, j}), expected, 1e-4) << sum.name;
            }
    }
    EXPECT_EQ(calibrator.watched().size(), 4u);
}

/// The linear layers of a block of MiniLM.
struct Block final : Module {
    Block() {
        for (Linear* layer : {&q, &k, &v}) layer->set_input_group("qkv");
        name_modules(*this);
    }
    Var forward(const Var& x) override {
        const Var attended = out.forward(q.forward(x) + k.forward(x) + v.forward(x));
        return down.forward(up.forward(attended));
    }
    void visit(Visitor& visitor) override {
        visitor.module("q", q);
        visitor.module("k", k);
        visitor.module("v", v);
        visitor.module("out", out);
        visitor.module("up", up);
        visitor.module("down", down);
    }
    std::string kind() const override { return "block"; }
    static constexpr std::int64_t width = 384, length = 80;
    Stream stream{1, "block"};
    Linear q{width, width, stream}, k{width, width, stream}, v{width, width, stream},
        out{width, width, stream}, up{width, 4 * width, stream}, down{4 * width, width, stream};
};

// Five batches of 32 in 50 steps, as the options are by default for texts.
TEST(Watch, AStreamCostsLessThanAHundredthOfVanillasBackward) {
    constexpr std::int64_t samples = 2, batches = 5, every = 50, of_a_batch = 32;
    Block block;
    MethodOptions options{.method = "instant"};
    Calibrator calibrator(block, options);
    calibrator.watch(Watch::exactly);
    meter().reset();
    Tape tape;
    const Shape shape{samples, Block::length, Block::width};
    tape.backward(block.forward(tape.input(random(shape, 1))), random(shape, 2));
    const std::int64_t gram = meter().phase("calibrate") / samples;
    const std::int64_t backward = (meter().phase("g_w") + meter().phase("g_x")) / samples;
    meter().reset();
    calibrator.renew(0.5);
    const std::int64_t renewal = meter().phase("calibrate");
    const double share = static_cast<double>(batches * of_a_batch * gram + renewal) /
                         static_cast<double>(every * of_a_batch * backward);
    EXPECT_LT(share, 0.01);
    EXPECT_GT(share, 0.001);
    RecordProperty("share", std::to_string(share));
}

TEST(Watch, ARenewalKeepsAPartOfTheSums) {
    Model model;
    Calibrator calibrator(model, instant());
    calibrator.watch(Watch::exactly);
    run(model, 0);
    const Statistics::State before = calibrator.watched();
    calibrator.renew(0.25);
    const Statistics::State after = calibrator.watched();
    ASSERT_EQ(before.size(), after.size());
    for (std::size_t i = 0; i < before.size(); ++i)
        expect_close(after[i].sum, before[i].sum * real(0.25), before[i].name);
    calibrator.renew();
    EXPECT_TRUE(calibrator.watched().empty());
}

TEST(Watch, TheSumsOfACheckpointGoOnToTheSameBits) {
    Model model, resumed;
    Calibrator calibrator(model, instant()), other(resumed, instant());
    calibrator.watch(Watch::share, {.samples = 3, .steps = 2});
    run(model, 0);
    other.restore_watched(calibrator.watched());
    other.watch(Watch::share, {.samples = 3, .steps = 2});
    for (Module* m : {static_cast<Module*>(&model), static_cast<Module*>(&resumed)}) run(*m, 1);
    calibrator.renew(0.5);
    other.renew(0.5);
    expect_same_projectors(calibrator, other);

    Statistics::State bad = calibrator.watched();
    bad[0].name = "X.third";
    EXPECT_EQ(error_of([&] { other.restore_watched(bad); }),
              "[calibrator] statistics 'X.third' belong to no layer");
    bad = calibrator.watched();
    bad[0].sum = Tensor::zeros({2, 3});
    EXPECT_NE(error_of([&] { other.restore_watched(bad); }).find("no square matrix"),
              std::string::npos);
}

TEST(Watch, AConvolutionIsUnfoldedForTheObservedSamplesAlone) {
    struct OneConv final : Module {
        OneConv() { name_modules(*this); }
        Var forward(const Var& x) override { return conv.forward(x); }
        void visit(Visitor& visitor) override { visitor.module("conv", conv); }
        std::string kind() const override { return "one"; }
        Stream stream{1, "conv"};
        Conv2d conv{2, 3, {.kernel = 3, .padding = 1}, stream};
    } watched, exact;
    MethodOptions options = instant();
    options.side = "channel";
    Calibrator a(watched, options), b(exact, options);
    const auto pass = [](OneConv& model, std::int64_t samples) {
        Tape tape;
        tape.backward(model.forward(tape.input(random({4, 2, 5, 5}, 1).rows(0, samples))),
                      random({4, 3, 5, 5}, 2).rows(0, samples));
    };
    a.watch(Watch::share, {.samples = 2, .steps = 1});
    pass(watched, 4);
    b.watch(Watch::exactly);
    pass(exact, 2);
    const Statistics::State found = a.watched(), expected = b.watched();
    ASSERT_EQ(found.size(), 2u);
    for (std::size_t i = 0; i < found.size(); ++i)
        expect_close(found[i].sum, expected[i].sum, found[i].name);
}

TEST(Watch, ValuesThatAreNotFiniteNameTheLayerAndLeaveTheRules) {
    Model model;
    Calibrator calibrator(model, instant());
    calibrator.calibrate([&] { run(model, 0); });
    calibrator.watch(Watch::share, {.samples = batch, .steps = 1});
    const auto rule = model.second.rule();
    Tape tape;
    Tensor gy = random({batch, tokens, 7}, 1);
    gy.data()[3] = std::numeric_limits<real>::infinity();
    tape.backward(model.forward(tape.input(random({batch, tokens, 8}, 2))), gy);
    EXPECT_NE(error_of([&] { calibrator.renew(); }).find("[second] calibration saw values of g_y"),
              std::string::npos);
    EXPECT_EQ(model.second.rule(), rule);
}

TEST(Watch, MethodsWithoutCalibrationIgnoreIt) {
    Model model;
    Calibrator calibrator(model, {.method = "vanilla"});
    calibrator.watch(Watch::exactly);
    run(model, 0);
    calibrator.renew();
    EXPECT_TRUE(calibrator.watched().empty());
    EXPECT_EQ(model.first.rule(), ExactRule::instance());
}

}  // namespace
}  // namespace slimgrad
