#include <gtest/gtest.h>

#include <cmath>

#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/cost/trace.h"
#include "nn/losses.h"
#include "nn/models/resnet.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

/// Also for empty tensors, where a relative error has no meaning.
void expect_near(const Tensor& a, const Tensor& b) {
    ASSERT_EQ(a.shape(), b.shape());
    const double tolerance = sizeof(real) == 8 ? 1e-11 : 1e-3;
    for (std::int64_t i = 0; i < a.numel(); ++i) ASSERT_NEAR(a.data()[i], b.data()[i], tolerance);
}

std::shared_ptr<const Projector> projector(Side side, std::int64_t dim, std::int64_t rank) {
    const Tensor a = random({dim, dim}, static_cast<std::uint64_t>(dim));
    const Tensor basis = eigh(matmul(a, a, Op::none, Op::transpose)).vectors.rows(0, rank).clone();
    return std::make_shared<Projector>(Projector{{side, basis}});
}

/// Multiplies the axis of the projector's side by PᵀP: the dense meaning of a projection.
Tensor dense_projection(const std::shared_ptr<const Projector>& p, const Tensor& x) {
    if (!p) return x;
    const Tensor square = matmul(p->basis, p->basis, Op::transpose, Op::none);
    return p->side == Side::token ? matmul(square, x) : matmul(x, square);
}

class CompressedConv2d : public testing::TestWithParam<Conv2dOptions> {};

TEST_P(CompressedConv2d, EqualsItsDenseMeaningAndTheClosedFormsInEveryModeAndSide) {
    const Conv2dOptions& o = GetParam();
    const Shape shape{3, 6, 6, 5};
    const Window2d window = make_window("test", 6, 5, o.kernel, o.stride, o.padding);
    const std::int64_t l = window.positions(), cx = 6 * window.taps(), cy = 4, batch = 3;
    const Tensor x = random(shape, 1);
    const Tensor gy = random({3, 4, window.rows.positions(), window.columns.positions()}, 2);
    for (const Side side_x : {Side::token, Side::channel})
        for (const Side side_g : {Side::token, Side::channel})
            for (const bool with_p : {false, true})
                for (const bool with_q : {false, true}) {
                    const auto p =
                        with_p ? projector(side_x, side_x == Side::token ? l : cx, 3) : nullptr;
                    const auto q =
                        with_q ? projector(side_g, side_g == Side::token ? l : cy, 2) : nullptr;
                    const std::string what = fmt::format("{} {} P {} Q {}", to_string(side_x),
                                                         to_string(side_g), with_p, with_q);
                    Stream stream(3, "test");
                    Conv2d conv(6, cy, o, stream);
                    conv.set_rule(std::make_shared<LowRankRule>(p, q));

                    meter().reset();
                    LinearCost measured;
                    Tape tape;
                    const Var in = tape.input(x), y = conv.forward(in);
                    measured.saved_bytes = ledger()[Category::saved].live;
                    tape.backward(y, gy);

                    const Tensor w = conv.weight().value.reshape({cy, cx});
                    const Tensor tokens = im2col(x, window);
                    const Tensor g = transpose(gy.reshape({batch, cy, l}), {0, 2, 1});
                    expect_close(conv.weight().grad.dense().reshape({cy, cx}),
                                 matmul_sum(g, dense_projection(p, tokens)), "g_w " + what);
                    expect_close(tape.gradient(in),
                                 col2im(matmul(dense_projection(q, g), w), window), "g_x " + what);

                    LinearShape map;
                    map.tokens = l, map.in_channels = cx, map.out_channels = cy;
                    map.held_elements = numel(shape) / batch;
                    Compression compression;
                    compression.side_x = side_x, compression.side_g = side_g;
                    if (p) compression.rank_x = p->rank();
                    if (q) compression.rank_g = q->rank();
                    const LinearCost cost =
                        linear_cost(map, compression, batch, Convention::executed);
                    EXPECT_EQ(meter().count("conv2d", "forward"), cost.forward) << what;
                    EXPECT_EQ(meter().count("conv2d", "compress"), cost.compress) << what;
                    EXPECT_EQ(meter().count("conv2d", "g_w"), cost.g_w) << what;
                    EXPECT_EQ(meter().count("conv2d", "g_x"), cost.g_x) << what;
                    EXPECT_EQ(measured.saved_bytes * 4,
                              cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)))
                        << what;
                    EXPECT_EQ(ledger()[Category::saved].live, 0) << what;
                    // A 1x1 convolution is a linear map as it stands: nothing to fold.
                    EXPECT_EQ(meter().count("conv2d", "fold"),
                              window.pointwise() ? 0 : batch * 6 * window.inside())
                        << what;
                }
}

/// A low-rank rule that is told that the unfolded image were the tokens of a Linear. An exact x it
/// keeps raw, as the exact rule does.
class Unfolded final : public BackwardRule {
  public:
    explicit Unfolded(std::shared_ptr<const LowRankRule> rule) : rule_(std::move(rule)) {}
    std::string name() const override { return rule_->name(); }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        if (!rule_->p()) return ExactRule::instance()->save(x, saved, call);
        const auto op = std::make_shared<TokenOperator>(x.matrix().shape());
        rule_->save({op, x.matrix()}, saved, {op, call.w, call.needs});
    }
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        const auto op = std::make_shared<TokenOperator>(
            Shape{call.op->batch(), call.op->tokens(), call.w.size(1)});
        const bool exact_gw = call.needs.gw && !rule_->p();
        LinearGrads grads =
            rule_->backward({op, gy.matrix()}, saved,
                            {op, call.w, {call.needs.gx, call.needs.gw && !exact_gw, false}});
        if (exact_gw) grads.gw = linear_gw(gy.matrix(), call.op->x_matrix(saved.tensor("x")));
        return grads;
    }

  private:
    std::shared_ptr<const LowRankRule> rule_;
};

struct ConvStep {
    Tensor y, gx, gw, gb;
    std::int64_t saved;
    std::map<Meter::Key, std::int64_t> counts;
};

ConvStep step(Conv2d& conv, std::shared_ptr<const BackwardRule> rule, const Tensor& x) {
    conv.set_rule(std::move(rule));
    zero_grad(conv);
    meter().reset();
    Tape tape;
    const Var in = tape.input(x), y = conv.forward(in);
    ConvStep result{y.value(), {}, {}, {}, ledger()[Category::saved].live, {}};
    tape.backward(y, random(y.shape(), 5));
    result.gx = tape.gradient(in);
    result.gw = conv.weight().grad.dense();
    result.gb = conv.bias()->grad.value;
    result.counts = meter().counts();
    return result;
}

TEST(ConvolutionOperator, EqualsTheUnfoldedWayInValuesFlopsAndBytes) {
    struct Case {
        Shape x;
        std::int64_t out;
        Conv2dOptions options;
        std::int64_t rank;
    };
    const std::vector<Case> cases{{{1, 1, 5, 7}, 1, {.padding = 1}, 1},
                                  {{0, 3, 6, 6}, 4, {.padding = 1}, 2},
                                  {{3, 3, 9, 8}, 33, {.kernel = 5, .stride = 3, .padding = 2}, 3},
                                  {{2, 33, 7, 5}, 5, {.padding = {1, 0}}, 4},
                                  {{5, 4, 8, 9}, 6, {.kernel = {2, 3}, .dilation = {2, 1}}, 6},
                                  {{4, 6, 4, 4}, 8, {.kernel = 1, .stride = 2}, 3}};
    for (const Case& c : cases)
        for (const Side side_x : {Side::token, Side::channel})
            for (const Side side_g : {Side::token, Side::channel})
                for (const int slots : {0, 1, 2, 3}) {
                    SCOPED_TRACE(fmt::format("{} {} {} slots {}", to_string(c.x), to_string(side_x),
                                             to_string(side_g), slots));
                    Stream stream(3, "test");
                    Conv2d conv(c.x[1], c.out, c.options, stream);
                    const Window2d window =
                        make_window("test", c.x[2], c.x[3], c.options.kernel, c.options.stride,
                                    c.options.padding, c.options.dilation);
                    const auto subspace = [&](Side side, std::int64_t channels) {
                        const std::int64_t n = side == Side::token ? window.positions() : channels;
                        return projector(side, n, std::min(n, c.rank));
                    };
                    const auto p = slots & 1 ? subspace(side_x, c.x[1] * window.taps()) : nullptr;
                    const auto q = slots & 2 ? subspace(side_g, c.out) : nullptr;
                    const auto rule = std::make_shared<LowRankRule>(p, q);
                    const Tensor x = random(c.x, 1);
                    const ConvStep direct = step(conv, rule, x);
                    const ConvStep unfolded = step(conv, std::make_shared<Unfolded>(rule), x);
                    expect_near(direct.y, unfolded.y);
                    expect_near(direct.gx, unfolded.gx);
                    expect_near(direct.gw, unfolded.gw);
                    expect_near(direct.gb, unfolded.gb);
                    EXPECT_EQ(direct.saved, unfolded.saved);
                    for (const char* phase :
                         {"forward", "bias", "compress", "g_w", "g_x", "g_b", "fold"}) {
                        const Meter::Key key{"conv2d", phase};
                        const auto flops = [&](const ConvStep& s) {
                            return s.counts.contains(key) ? s.counts.at(key) : 0;
                        };
                        EXPECT_EQ(flops(direct), flops(unfolded)) << phase;
                    }
                }
}

TEST(ConvolutionOperator, ImagesOfAnotherSizeThanCalibratedGiveOneClearLine) {
    Stream stream(3, "test");
    Conv2d conv(2, 3, {.padding = 1}, stream);
    for (const bool x_slot : {true, false}) {
        const auto basis = projector(Side::token, 16, 2);
        conv.set_rule(
            std::make_shared<LowRankRule>(x_slot ? basis : nullptr, x_slot ? nullptr : basis));
        try {
            Tape tape;
            const Var y = conv.forward(tape.input(random({2, 2, 4, 5}, 1)));
            tape.backward(y, random(y.shape(), 2));
            FAIL();
        } catch (const Error& error) {
            EXPECT_STREQ(error.what(),
                         "[conv2d] calibrated for 16 tokens, got 20. Hint: give it sequences or "
                         "images of one size, or use the channel side");
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Kernels, CompressedConv2d,
                         testing::Values(Conv2dOptions{.kernel = 3, .stride = 2, .padding = 1},
                                         Conv2dOptions{.kernel = 1},
                                         Conv2dOptions{.kernel = 1, .stride = 2}),
                         [](const auto& info) {
                             return fmt::format("k{}s{}", info.param.kernel.rows,
                                                info.param.stride.rows);
                         });

Tensor first_gradient(ResNet& model, const Tensor& x) {
    zero_grad(model);
    TapeOptions options;
    options.update_statistics = false;
    Tape tape(options);
    const Var logits = model.forward(tape.constant(x));
    const std::vector<std::int32_t> labels{3, 1, 0, 2};
    tape.backward(cross_entropy(logits, labels));
    return parameters(model).front()->grad.dense();
}

TEST(CompressedResNet, AtFullRankIsVanilla) {
    for (const Side side : {Side::token, Side::channel}) {
        ResNet model(8, {.classes = 4});
        const Tensor x = random({4, 3, 8, 8}, 1);
        const Tensor vanilla = first_gradient(model, x).clone();
        MethodOptions options;
        options.method = "instant";
        options.epsilon = 1;
        options.side = to_string(side);
        options.offset = "none";
        Calibrator calibrator(model, options);
        calibrator.calibrate([&] { first_gradient(model, x); });
        const Tensor full = first_gradient(model, x);
        const double error = std::sqrt(sum_squares(full - vanilla) / sum_squares(vanilla));
        EXPECT_LT(error, sizeof(real) == 8 ? 1e-10 : 1e-3) << to_string(side);
        EXPECT_EQ(calibrator.ranks().front().rank_x, side == Side::token ? 64 : 27);
    }
}

TEST(CompressedResNet, TracingStatesTheRawInputOfEveryConvolution) {
    ResNet model(8, {});
    const auto shapes = trace_linear_maps(model, [&] {
        Tape tape;
        model.forward(tape.constant(random({2, 3, 32, 32}, 1)));
    });
    ASSERT_EQ(shapes.size(), 1u + 6 + 1);
    EXPECT_EQ(shapes[0].name, "conv1");
    EXPECT_FALSE(shapes[0].needs_gx);
    EXPECT_EQ(shapes[3].name, "layer2.0.conv1");
    EXPECT_EQ(shapes[3].tokens, 16 * 16);
    EXPECT_EQ(shapes[3].in_channels, 16 * 9);
    EXPECT_EQ(shapes[3].held_elements, 16 * 32 * 32);
    EXPECT_FALSE(shapes.back().compressible);
}

}  // namespace
}  // namespace slimgrad
