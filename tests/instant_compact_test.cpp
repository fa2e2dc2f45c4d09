// CompAct: x kept as a random sketch, g_w a sketch until the update.
#include "instant/methods/compact_rule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/lab/lab.h"
#include "instant/methods/options.h"
#include "nn/attention.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "nn/sequential.h"
#include "optim/optimizer.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr double tolerance = sizeof(real) == 8 ? 1e-11 : 3e-5;
constexpr std::int64_t batch = 3, tokens = 7, cx = 10, cy = 6;

Tensor random(const Shape& shape, const std::string& what) {
    Stream stream(11, what);
    return normal(shape, 0, 1, stream);
}

void expect_close(const Tensor& a, const Tensor& b, const std::string& what) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    EXPECT_LT(std::sqrt(sum_squares(a - b)), tolerance * (1 + std::sqrt(sum_squares(b)))) << what;
}

std::shared_ptr<const CompactRule> rule_of(std::int64_t rank, std::int64_t redraw_every = 0,
                                           MatrixBasis::Options basis = {}) {
    return std::make_shared<const CompactRule>(CompactRule::Options{
        .rank = rank, .redraw_every = redraw_every, .min_tokens = 1, .basis = basis});
}

/// P as the stream is addressed: (rank, channels) of N(0, 1/rank).
Tensor drawn(std::uint64_t seed, const std::string& group, std::uint64_t number, std::int64_t rank,
             std::int64_t channels) {
    Stream stream(seed, "compact P " + group, number);
    return normal({rank, channels}, 0, static_cast<real>(1 / std::sqrt(double(rank))), stream);
}

struct Outcome {
    Tensor y, gx, gb;
    Grad gw;
    LinearCost measured;
};

template <class Layer>
Outcome run(Layer& layer, std::shared_ptr<const BackwardRule> rule, const Tensor& x,
            const Tensor& gy, TapeOptions options = {}) {
    layer.set_rule(std::move(rule));
    layer.weight().grad = {};
    if (layer.bias()) layer.bias()->grad = {};
    Outcome result;
    meter().reset();
    Tape tape(std::move(options));
    const Var input = tape.input(x.clone());
    const Var y = layer.forward(input);
    result.y = y.value();
    result.measured.saved_bytes = ledger()[Category::saved].live;
    tape.backward(y, gy);
    result.gx = tape.gradient(input);
    result.gw = layer.weight().grad;
    if (layer.bias()) result.gb = layer.bias()->grad.value;
    const std::string path = layer.path();
    result.measured.forward = meter().count(path, "forward");
    result.measured.compress = meter().count(path, "compress");
    result.measured.g_w = meter().count(path, "g_w");
    result.measured.g_x = meter().count(path, "g_x");
    return result;
}

TEST(Compact, EqualsItsDenseMeaning) {
    Stream stream(1, "layer");
    Linear layer(cx, cy, stream);
    const Tensor x = random({batch, tokens, cx}, "x"), gy = random({batch, tokens, cy}, "gy");
    const Outcome exact = run(layer, ExactRule::instance(), x, gy);
    for (const std::int64_t rank : {1, 4, 10}) {
        const Outcome low = run(layer, rule_of(rank, 5), x, gy, {.seed = 9, .step = 12});
        EXPECT_TRUE(identical(low.y, exact.y));
        EXPECT_TRUE(identical(low.gx, exact.gx));
        EXPECT_TRUE(identical(low.gb, exact.gb));
        ASSERT_TRUE(low.gw.basis);
        const Tensor p = drawn(9, "linear", 2, rank, cx);
        expect_close(low.gw.value, matmul(exact.gw.value, p, Op::none, Op::transpose), "G Pᵀ");
        expect_close(low.gw.dense(), matmul(low.gw.value, p), "Ĝ P");
        EXPECT_EQ(low.gw.basis->period(), 2);
    }
}

TEST(Compact, OfAConvolutionIsThatOfItsMatrix) {
    Stream stream(1, "layer");
    Conv2d layer(2, 5, {.kernel = 3, .stride = 2, .padding = 1}, stream);
    const Tensor x = random({batch, 2, 6, 5}, "x"), gy = random({batch, 5, 3, 3}, "gy");
    const Outcome exact = run(layer, ExactRule::instance(), x, gy);
    const Outcome low = run(layer, rule_of(4), x, gy, {.seed = 2});
    EXPECT_TRUE(identical(low.y, exact.y));
    EXPECT_TRUE(identical(low.gx, exact.gx));
    const Tensor p = drawn(2, "conv2d", 0, 4, 18);
    const Tensor g = matmul(exact.gw.value.reshape({5, 18}), p, Op::none, Op::transpose);
    expect_close(low.gw.value, g, "G Pᵀ");
    expect_close(low.gw.dense(), matmul(g, p).reshape({5, 2, 3, 3}), "Ĝ P");
    // The optimiser's moments are those of the sketch.
    const auto optimizer = make_optimizer(layer, {.name = "adamw", .lr = 1e-3});
    optimizer->step();
    ASSERT_EQ(optimizer->spaces().size(), 1u);
    EXPECT_EQ(optimizer->spaces()[0].shape, (Shape{5, 4}));
}

TEST(Compact, GradientsAreRightOnAverage) {
    Stream stream(1, "layer");
    Linear layer(cx, cy, stream);
    const Tensor x = random({batch, tokens, cx}, "x"), gy = random({batch, tokens, cy}, "gy");
    const Tensor exact = run(layer, ExactRule::instance(), x, gy).gw.value;
    constexpr int seeds = 2000;
    std::vector<double> sum(cx * cy), squares(cx * cy);
    double along = 0, along_squares = 0;  // the share of g_w in it: 1 on average
    for (int seed = 0; seed < seeds; ++seed) {
        const Tensor gw =
            run(layer, rule_of(3), x, gy, {.seed = static_cast<std::uint64_t>(seed)}).gw.dense();
        double share = 0;
        for (std::size_t k = 0; k < sum.size(); ++k) {
            const double error = gw.data()[k] - exact.data()[k];
            sum[k] += error;
            squares[k] += error * error;
            share += double{gw.data()[k]} * exact.data()[k] / sum_squares(exact);
        }
        along += share;
        along_squares += share * share;
    }
    const auto deviation = [&](double total, double of_squares) {  // of the mean
        const double mean = total / seeds;
        return std::sqrt((of_squares / seeds - mean * mean) / seeds);
    };
    EXPECT_LT(std::abs(along / seeds - 1), 4 * deviation(along, along_squares));
    EXPECT_LT(deviation(along, along_squares), 0.05) << "no interval is that wide";
    for (std::size_t k = 0; k < sum.size(); ++k)
        EXPECT_LT(std::abs(sum[k] / seeds), 4.5 * deviation(sum[k], squares[k])) << k;
}

TEST(Compact, MeterAndLedgerEqualTheClosedForm) {
    Stream stream(1, "layer");
    Linear linear(cx, cy, stream);
    Conv2d conv(2, 5, {.kernel = 3, .padding = 1}, stream);
    MethodOptions options{.method = "compact"};
    options.own.set("[test]", rank_option(), std::int64_t{4});
    const auto check = [&](auto& layer, const Tensor& x, const Tensor& gy) {
        for (const bool trains : {true, false}) {
            layer.weight().requires_grad = trains;
            layer.set_rule(ExactRule::instance());
            const auto shapes = trace_linear_maps(layer, [&] {
                Tape tape;
                layer.forward(tape.input(x));
            });
            ASSERT_EQ(shapes.size(), 1u);
            const Compression compression = compression_of(shapes[0], options);
            const LinearCost expected =
                linear_cost(shapes[0], compression, batch, Convention::executed);
            const Outcome low = run(layer, rule_of(4), x, gy);
            EXPECT_EQ(low.measured.forward, expected.forward);
            EXPECT_EQ(low.measured.compress, expected.compress);
            EXPECT_EQ(low.measured.g_w, expected.g_w);
            EXPECT_EQ(low.measured.g_x, expected.g_x);
            EXPECT_EQ(low.measured.saved_bytes * number_bytes,
                      expected.saved_bytes * static_cast<std::int64_t>(sizeof(real)));
            EXPECT_EQ(trains, expected.saved_bytes > 0);
            EXPECT_EQ(trains, low.gw.defined());
            EXPECT_EQ(
                model_cost(shapes, {compression}, batch, Convention::paper).calibration.total(), 0);
        }
    };
    check(linear, random({batch, tokens, cx}, "x"), random({batch, tokens, cy}, "gy"));
    check(conv, random({batch, 2, 4, 5}, "x"), random({batch, 5, 4, 5}, "gy"));

    // The paper's convention: L = 512, 768 to 768, r = 8.
    LinearShape bert{"fc", 512, 768, 768, 512 * 768, "fc"};
    options.own.set("[test]", rank_option(), std::int64_t{8});
    const LinearCost cost = linear_cost(bert, compression_of(bert, options), 1, Convention::paper);
    EXPECT_EQ(cost.backward(), 2 * 512 * (768 * 8 + 768 * 8 + 768 * 768));
    EXPECT_EQ(cost.saved_bytes, 4 * 512 * 8);
    bert.attention_output = true;
    EXPECT_FALSE(compression_of(bert, options).form);
}

TEST(Compact, QueriesKeysAndValuesShareOneSketchAndTheOutputIsExact) {
    Stream stream(1, "attention");
    MultiHeadAttention attention(12, 3, stream);
    name_modules(attention);
    const Calibrator calibrator(attention, {.method = "compact"});
    Tape tape({.seed = 4});
    const Var y = attention.forward(tape.input(random({batch, tokens, 12}, "x")));
    auto saved = ledger().saved_by_layer();
    EXPECT_EQ(saved["q"], batch * tokens * 3 * static_cast<std::int64_t>(sizeof(real)));
    EXPECT_EQ(saved["k"], 0);
    EXPECT_EQ(saved["v"], 0);
    tape.backward(y, random({batch, tokens, 12}, "gy"));
    std::vector<Grad> grads;
    for (LinearMap* layer : linear_maps(attention)) grads.push_back(layer->weight().grad);
    ASSERT_EQ(grads.size(), 4u);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(grads[static_cast<std::size_t>(i)].basis);
        EXPECT_TRUE(grads[0].basis->same_as(*grads[static_cast<std::size_t>(i)].basis));
    }
    EXPECT_FALSE(grads[3].basis);
}

TEST(Compact, ALayerUsedTwiceAddsUpItsSketches) {
    Stream stream(1, "layer");
    Linear layer(cx, cx, stream);
    const Tensor x = random({batch, tokens, cx}, "x"), gy = random({batch, tokens, cx}, "gy");
    const auto twice = [&](std::shared_ptr<const BackwardRule> rule) {
        layer.set_rule(std::move(rule));
        layer.weight().grad = {};
        Tape tape({.seed = 3});
        const Var y = layer.forward(layer.forward(tape.input(x)));
        tape.backward(y, gy);
        return layer.weight().grad;
    };
    const Grad exact = twice(ExactRule::instance()), low = twice(rule_of(4));
    ASSERT_TRUE(low.basis);
    expect_close(low.value,
                 matmul(exact.value, drawn(3, "linear", 0, 4, cx), Op::none, Op::transpose), "sum");
}

TEST(Compact, PIsDrawnAnewEverySoManySteps) {
    Stream stream(1, "layer");
    Linear layer(cx, cy, stream);
    const Tensor x = random({batch, tokens, cx}, "x"), gy = random({batch, tokens, cy}, "gy");
    const auto at = [&](std::uint64_t step, std::int64_t every) {
        return run(layer, rule_of(4, every), x, gy, {.seed = 3, .step = step}).gw;
    };
    EXPECT_TRUE(identical(at(0, 3).value, at(2, 3).value));
    EXPECT_TRUE(at(0, 3).basis->same_as(*at(2, 3).basis));
    EXPECT_FALSE(identical(at(2, 3).value, at(3, 3).value));
    EXPECT_FALSE(at(2, 3).basis->same_as(*at(3, 3).basis));
    EXPECT_EQ(at(3, 3).basis->period(), 1);
    EXPECT_TRUE(identical(at(0, 0).value, at(1000, 0).value));

    // A moment goes from draw to draw without anybody holding the old P.
    const auto basis =
        run(layer, rule_of(4, 3, {.moments = Moments::transport}), x, gy, {.seed = 3, .step = 3})
            .gw.basis;
    const Tensor old = drawn(3, "linear", 0, 4, cx), now = drawn(3, "linear", 1, 4, cx);
    const Tensor a = random({cy, 4}, "a"), g = matmul(a, old);
    expect_close(basis->carry(matmul(g, old, Op::none, Op::transpose), 1, 0),
                 matmul(g, now, Op::none, Op::transpose), "transport");
}

TEST(Compact, CallsThatItLeavesExact) {
    Stream stream(1, "layer");
    Sequential model;
    Linear& layer = model.add<Linear>(cx, cy, stream);
    name_modules(model);
    MethodOptions options{.method = "compact"};
    const Calibrator calibrator(model, options);
    EXPECT_EQ(layer.rule()->name(), "compact");
    {
        Tape tape;
        tape.backward(layer.forward(tape.input(random({batch, cx}, "x"))),
                      random({batch, cy}, "g"));
    }
    EXPECT_FALSE(layer.weight().grad.basis) << "there is no token axis";
    Tape tape({.training = false});
    layer.forward(tape.input(random({batch, tokens, cx}, "x")));
    EXPECT_EQ(ledger()[Category::saved].live,
              batch * tokens * cx * static_cast<std::int64_t>(sizeof(real)))
        << "evaluation is exact: a tape that records keeps x itself";
}

TEST(Compact, OptionsOutOfRangeAreRefused) {
    const auto refused = [](const Option& option, OptionValue value) {
        MethodOptions options{.method = "compact"};
        options.own.given(option) = std::move(value);
        return error_of([&] { validate(options); });
    };
    EXPECT_EQ(refused(rank_option(), std::int64_t{0}),
              "[method] expected a whole number from 1 to 1000000 as rank, got 0");
    EXPECT_NE(refused(scale_option(), 0.0), "no error");
    EXPECT_NE(refused(scale_option(), std::nan("")), "no error");
    EXPECT_NE(refused(moments_option(), std::string("drop")).find("keep, reset, transport"),
              std::string::npos);
    EXPECT_EQ(refused(moments_option(), std::string("transport")), "no error");
}

TEST(Compact, ARegressionIsLearnedWhateverBecomesOfTheMoments) {
    for (const char* policy : {"keep", "reset", "transport"}) {
        Stream stream(1, "layer");
        Sequential model;
        Linear& layer = model.add<Linear>(cx, cy, stream);
        name_modules(model);
        MethodOptions options{.method = "compact"};
        options.own.set("[test]", rank_option(), std::int64_t{5});
        options.own.set("[test]", redraw_option(), std::int64_t{10});
        options.own.set("[test]", moments_option(), std::string(policy));
        const Calibrator calibrator(model, options);
        const auto optimizer = make_optimizer(model, {.name = "adamw", .lr = 0.02});
        const Tensor truth = random({cy, cx}, "truth");
        double first = 0, last = 0;
        for (std::uint64_t step = 0; step < 300; ++step) {
            Stream data(step, "data");
            const Tensor x = normal({8, tokens, cx}, 0, 1, data);
            zero_grad(model);
            Tape tape({.seed = 1, .step = step});
            const Var y = layer.forward(tape.constant(x));
            const Tensor error = y.value() - matmul(x, truth, Op::none, Op::transpose);
            tape.backward(y, error * static_cast<real>(1 / 56.0));
            optimizer->step();
            last = sum_squares(error);
            if (step == 0) first = last;
        }
        EXPECT_LT(last, 0.1 * first) << policy;
    }
}

TEST(Compact, TheLabTellsP) {
    MethodOptions options{.method = "compact"};
    options.own.set("[test]", rank_option(), std::int64_t{4});
    const Tensor x = random({batch, tokens, cx}, "x"), gy = random({batch, tokens, cy}, "gy"),
                 w = random({cy, cx}, "w");
    const LabResult r = lab_linear(x, w, gy, {.method = options, .seed = 6});
    ASSERT_EQ(r.p.shape(), (Shape{4, cx}));
    const Tensor exact = matmul_sum(gy, x);
    expect_close(r.gw, matmul(matmul(exact, r.p, Op::none, Op::transpose), r.p), "g_w Pᵀ P");
    EXPECT_EQ(r.projector_bytes, 0);
    EXPECT_EQ(r.side_x, Side::channel);
    EXPECT_EQ(r.rank_x, 4);
    EXPECT_FALSE(r.q.defined());
    EXPECT_EQ(r.flops.g_w, 2 * batch * tokens * cy * 4);
}

}  // namespace
}  // namespace slimgrad
