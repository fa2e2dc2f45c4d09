#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "nn/conv2d.h"
#include "nn/gradcheck.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

/// The exact rule on matrices, as a user may write it: the image is unfolded.
class OnMatrices final : public BackwardRule {
  public:
    std::string name() const override { return "on-matrices"; }
    Tensor forward(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        save(x, saved, call);
        return linear_forward(x.matrix(), call.w);
    }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        if (call.needs.gw) saved.keep(Keep::activation, "x", x.held());
    }
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        LinearGrads grads;
        if (call.needs.gw) grads.gw = linear_gw(gy.matrix(), call.op->x_matrix(saved.tensor("x")));
        if (call.needs.gx) grads.gx = linear_gx(gy.matrix(), call.w);
        return grads;
    }
};

struct Case {
    std::string name;
    std::int64_t in, out;
    Conv2dOptions options;
    Shape x;
};

const std::vector<Case> cases{
    {"3x3", 2, 3, {}, {2, 2, 5, 6}},
    {"padding", 3, 2, {.padding = 1}, {2, 3, 4, 5}},
    {"stride", 2, 3, {.stride = 2, .padding = 1}, {2, 2, 7, 6}},
    {"dilation", 2, 2, {.padding = {2, 1}, .dilation = {2, 1}}, {1, 2, 6, 5}},
    {"rectangular",
     2,
     3,
     {.kernel = {2, 4}, .stride = {3, 1}, .padding = {1, 2}, .dilation = {1, 2}},
     {2, 2, 6, 8}},
    {"1x1", 3, 4, {.kernel = 1}, {2, 3, 3, 4}},
    {"1x1 stride", 3, 2, {.kernel = 1, .stride = 2, .bias = false}, {2, 3, 5, 4}},
    {"groups", 4, 6, {.padding = 1, .groups = 2}, {2, 4, 4, 4}},
    {"depthwise", 3, 3, {.stride = 2, .padding = 1, .groups = 3}, {2, 3, 5, 5}},
    {"depthwise multiplier", 3, 6, {.kernel = 2, .groups = 3, .bias = false}, {2, 3, 4, 4}},
    {"1x1 groups", 4, 4, {.kernel = 1, .groups = 2}, {2, 4, 3, 3}},
    {"one sample", 2, 2, {.padding = 1}, {1, 2, 4, 4}},
    {"one position", 2, 3, {}, {2, 2, 3, 3}},
};

TEST(Conv2d, GradientsAgreeWithFiniteDifferences) {
    for (const Case& c : cases) {
        SCOPED_TRACE(c.name);
        Stream stream(2, "test");
        Conv2d conv(c.in, c.out, c.options, stream);
        EXPECT_NO_THROW(gradcheck(conv, random(c.x)));
        if (!conv.compressible()) continue;
        conv.set_rule(std::make_shared<OnMatrices>());
        EXPECT_NO_THROW(gradcheck(conv, random(c.x)));
    }
}

TEST(Conv2d, MatchesItsDefinition) {
    for (const Case& c : cases) {
        SCOPED_TRACE(c.name);
        Stream stream(2, "test");
        Conv2d conv(c.in, c.out, c.options, stream);
        const Tensor x = random(c.x), &w = conv.weight().value;
        Tape tape;
        const Tensor y = conv.forward(tape.constant(x)).value();
        const Conv2dOptions& o = c.options;
        const std::int64_t group_in = w.size(1), group_out = c.out / o.groups;
        for (std::int64_t b = 0; b < y.size(0); ++b)
            for (std::int64_t f = 0; f < c.out; ++f)
                for (std::int64_t i = 0; i < y.size(2); ++i)
                    for (std::int64_t j = 0; j < y.size(3); ++j) {
                        real sum = conv.bias() ? conv.bias()->value.at({f}) : 0;
                        for (std::int64_t g = 0; g < group_in; ++g)
                            for (std::int64_t p = 0; p < w.size(2); ++p)
                                for (std::int64_t q = 0; q < w.size(3); ++q) {
                                    const std::int64_t row =
                                        i * o.stride.rows - o.padding.rows + p * o.dilation.rows;
                                    const std::int64_t column = j * o.stride.columns -
                                                                o.padding.columns +
                                                                q * o.dilation.columns;
                                    if (row < 0 || row >= x.size(2) || column < 0 ||
                                        column >= x.size(3))
                                        continue;
                                    const std::int64_t channel = f / group_out * group_in + g;
                                    sum += w.at({f, g, p, q}) * x.at({b, channel, row, column});
                                }
                        ASSERT_NEAR(y.at({b, f, i, j}), sum, 1e-5);
                    }
    }
}

struct Step {
    Tensor y, gx, gw, gb;
    std::int64_t saved;
    std::map<Meter::Key, std::int64_t> counts;
};

Step step(Conv2d& conv, const Tensor& x) {
    zero_grad(conv);
    meter().reset();
    Tape tape;
    const Var in = tape.input(x), y = conv.forward(in);
    Step result{y.value(), {}, {}, {}, ledger()[Category::saved].live, {}};
    tape.backward(y, random(y.shape(), 5));
    result.gx = tape.gradient(in);
    result.gw = conv.weight().grad.value;
    if (conv.bias()) result.gb = conv.bias()->grad.value;
    result.counts = meter().counts();
    return result;
}

void expect_near(const Tensor& a, const Tensor& b) {
    ASSERT_EQ(a.shape(), b.shape());
    for (std::int64_t i = 0; i < a.numel(); ++i) ASSERT_NEAR(a.data()[i], b.data()[i], 2e-4);
}

TEST(Conv2d, TheExactWayEqualsTheUnfoldedOneInValuesFlopsAndBytes) {
    for (const Case& c : cases) {
        if (c.options.groups > 1) continue;
        SCOPED_TRACE(c.name);
        Stream stream(2, "test");
        Conv2d conv(c.in, c.out, c.options, stream);
        const Tensor x = random(c.x);
        const Step exact = step(conv, x);
        conv.set_rule(std::make_shared<OnMatrices>());
        const Step unfolded = step(conv, x);
        expect_near(exact.y, unfolded.y);
        expect_near(exact.gx, unfolded.gx);
        expect_near(exact.gw, unfolded.gw);
        if (conv.bias()) expect_near(exact.gb, unfolded.gb);
        EXPECT_EQ(exact.saved, x.bytes());
        EXPECT_EQ(unfolded.saved, x.bytes());
        for (const char* phase : {"forward", "bias", "g_w", "g_x", "g_b", "fold"}) {
            const Meter::Key key{"conv2d", phase};
            const auto flops = [&](const Step& r) {
                return r.counts.contains(key) ? r.counts.at(key) : 0;
            };
            EXPECT_EQ(flops(exact), flops(unfolded)) << phase;
        }
    }
}

TEST(Conv2d, CountsTheClosedFormsOfALinearMap) {
    Stream stream(2, "test");
    Conv2d conv(3, 8, {.stride = 2, .padding = 1}, stream);
    const Tensor x = random({4, 3, 9, 8});
    const Step r = step(conv, x);
    const std::int64_t l = 5 * 4, cx = 27, cy = 8, batch = 4;
    for (const char* phase : {"forward", "g_w", "g_x"})
        EXPECT_EQ(r.counts.at({"conv2d", phase}), 2 * batch * l * cx * cy) << phase;
    EXPECT_EQ(r.counts.at({"conv2d", "bias"}), batch * l * cy);
    EXPECT_EQ(r.counts.at({"conv2d", "g_b"}), batch * l * cy);
    EXPECT_EQ(r.saved, batch * 3 * 9 * 8 * static_cast<std::int64_t>(sizeof(real)));
    EXPECT_EQ(ledger()[Category::saved].live, 0);
}

TEST(Conv2d, CalledTwiceInOneGraph) {
    Stream stream(2, "test");
    Conv2d conv(2, 2, {.padding = 1}, stream);
    const TapeFunction twice = [&](Tape&, const std::vector<Var>& v) {
        return conv.forward(tanh(conv.forward(v[0])));
    };
    EXPECT_NO_THROW(gradcheck(conv, twice, {random({2, 2, 3, 4})}));
}

TEST(Conv2d, FrozenItSavesNothingAndMakesNoGw) {
    Stream stream(2, "test");
    Conv2d conv(2, 3, {.padding = 1}, stream);
    set_requires_grad(conv, false);
    for (const bool exact : {true, false}) {
        if (!exact) conv.set_rule(std::make_shared<OnMatrices>());
        const Step r = step(conv, random({2, 2, 4, 4}));
        EXPECT_EQ(r.saved, 0);
        EXPECT_FALSE(r.gw.defined());
        EXPECT_NE(sum_squares(r.gx), 0);
        EXPECT_FALSE(r.counts.contains({"conv2d", "g_w"}) && r.counts.at({"conv2d", "g_w"}) > 0);
    }
    Tape tape;
    conv.forward(tape.constant(random({2, 2, 4, 4})));
    EXPECT_EQ(tape.size(), 0u);
}

TEST(Conv2d, AFirstLayerMakesNoGx) {
    Stream stream(2, "test");
    Conv2d conv(2, 3, {}, stream);
    meter().reset();
    Tape tape;
    tape.backward(sum(conv.forward(tape.constant(random({2, 2, 4, 4})))));
    EXPECT_EQ(meter().phase("g_x"), 0);
    EXPECT_EQ(meter().phase("fold"), 0);
    EXPECT_GT(meter().phase("g_w"), 0);
}

TEST(Conv2d, InitialisesAsPyTorch) {
    Stream stream(2, "test");
    Conv2d conv(8, 64, {.groups = 2}, stream);
    const double bound = 1 / std::sqrt(4.0 * 9);
    double largest = 0;
    for (const real w : conv.weight().value.values())
        largest = std::max<double>(largest, std::abs(w));
    EXPECT_LE(largest, bound);
    EXPECT_GT(largest, 0.99 * bound);
    EXPECT_EQ(conv.weight().value.shape(), (Shape{64, 4, 3, 3}));
    EXPECT_EQ(conv.bias()->value.shape(), (Shape{64}));
    EXPECT_FALSE(conv.compressible());
}

std::string message_of(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

TEST(Conv2d, WrongShapesGiveOneClearLine) {
    Stream stream(2, "test");
    Conv2d conv(3, 4, {.kernel = 5}, stream);
    Tape tape;
    const auto forward = [&](Shape shape) {
        return message_of([&] { conv.forward(tape.constant(random(shape))); });
    };
    EXPECT_EQ(forward({2, 4, 8, 8}),
              "[conv2d] expected images (batch, 3, height, width), got (2, 4, 8, 8)");
    EXPECT_EQ(forward({3, 8, 8}),
              "[conv2d] expected images (batch, 3, height, width), got (3, 8, 8)");
    EXPECT_EQ(forward({2, 3, 8, 4}),
              "[conv2d] a kernel of 5x5 with dilation 1x1 does not fit into an image of 8x4 with "
              "padding 0x0");
    EXPECT_THROW(Conv2d(3, 4, {.groups = 2}, stream), Error);
    EXPECT_THROW(Conv2d(4, 3, {.groups = 2}, stream), Error);
    EXPECT_THROW(Conv2d(3, 4, {.stride = 0}, stream), Error);
    EXPECT_THROW(Conv2d(3, 4, {.kernel = {3, 0}}, stream), Error);
    EXPECT_THROW(Conv2d(3, 4, {.padding = -1}, stream), Error);
    EXPECT_THROW(Conv2d(0, 4, {}, stream), Error);
}

}  // namespace
}  // namespace slimgrad
