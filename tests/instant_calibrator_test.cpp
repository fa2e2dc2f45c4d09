#include "instant/calibration/calibrator.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "instant/cost/cost_model.h"
#include "instant/cost/trace.h"
#include "nn/linear.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr std::int64_t tokens = 6;

/// Two linear maps with a token axis and a head without one.
struct Chain final : Module {
    Chain() { name_modules(*this); }
    Var forward(const Var& x) override { return second.forward(first.forward(x)); }
    void visit(Visitor& visitor) override {
        visitor.module("first", first);
        visitor.module("second", second);
        visitor.module("head", head);
    }
    std::string kind() const override { return "chain"; }

    Stream stream{11, "chain"};
    Linear first{8, 10, stream}, second{10, 7, stream}, head{7, 3, stream};
};

MethodOptions instant_options() {
    MethodOptions options;
    options.method = "instant";
    options.oversample = 1;
    return options;
}

/// Forward and backward of samples [begin, begin + count) of a fixed batch.
void run(Chain& model, std::int64_t begin, std::int64_t count, real factor = 1) {
    Stream stream(5, "batch");
    const Tensor x = normal({8, tokens, 8}, 0, 1, stream);
    const Tensor gy = normal({8, tokens, 7}, 0, 1, stream) * factor;
    Tape tape;
    const Var y = model.forward(tape.input(x.rows(begin, count)));
    tape.backward(y, gy.rows(begin, count));
}

const LowRankRule& rule_of(const LinearMap& layer) {
    const auto* rule = dynamic_cast<const LowRankRule*>(layer.rule().get());
    require(rule != nullptr, "[test] {} has no low-rank rule", layer.path());
    return *rule;
}

Tensor square(const Projector& p) { return matmul(p.basis, p.basis, Op::transpose, Op::none); }

double distance(const Tensor& a, const Tensor& b) { return std::sqrt(sum_squares(a - b)); }

TEST(Calibrator, SpansTheLeadingEigenvectorsOfTheAutocorrelation) {
    Chain model;
    MethodOptions options = instant_options();
    options.offset = "none";
    options.rank_x = options.rank_g = 3;
    options.side = "token";
    Calibrator calibrator(model, options);
    calibrator.calibrate([&] { run(model, 0, 8); });

    Stream stream(5, "batch");
    const Tensor x = normal({8, tokens, 8}, 0, 1, stream);
    const Tensor gy = normal({8, tokens, 7}, 0, 1, stream);
    const auto best = [](const Tensor& samples) {
        const Tensor c = sum(matmul(samples, samples, Op::none, Op::transpose), 0);
        const Tensor u = eigh(c).vectors.rows(0, 3);
        return matmul(u, u, Op::transpose, Op::none);
    };
    EXPECT_LT(distance(square(*rule_of(model.first).p()), best(x)), 1e-3);
    EXPECT_LT(distance(square(*rule_of(model.second).q()), best(gy)), 1e-3);
    const Tensor g_first = matmul(gy, model.second.weight().value);
    EXPECT_LT(distance(square(*rule_of(model.first).q()), best(g_first)), 1e-3);
}

// From n = 256 on only the leading pairs are computed. Rank, shares and subspace must be those of
// the full decomposition, whether the iteration starts from nothing or from another basis.
TEST(LeadingSpectrum, GivesTheProjectorOfTheFullDecomposition) {
    constexpr std::int64_t n = 320;
    Stream stream(7, "spectrum");
    Tensor a = normal({n, n}, 0, 1, stream);
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j)
            a.at({i, j}) *= static_cast<real>(std::pow(0.97, static_cast<double>(j)));
    const Tensor c = matmul(a, a, Op::none, Op::transpose);
    const EigenDecomposition full = eigh(c);
    const Tensor start = full.vectors.rows(5, 20).clone();
    for (const Truncation& truncation :
         {Truncation{.epsilon = 0.9}, Truncation{.epsilon = 0.95, .oversample = 5},
          Truncation{.rank = 16}, Truncation{.epsilon = 1}, Truncation{.rank = 200}})
        for (const bool warm : {false, true}) {
            const EigenDecomposition leading =
                leading_spectrum(c, truncation, warm ? start : Tensor());
            const Projector found = make_projector(leading, Side::token, truncation);
            const Projector expected = make_projector(full, Side::token, truncation);
            ASSERT_EQ(found.rank(), expected.rank());
            EXPECT_NEAR(found.energy, expected.energy, 1e-6);
            EXPECT_NEAR(found.signal, expected.signal, 1e-6);
            EXPECT_LT(distance(square(found), square(expected)), 2e-2);
            EXPECT_NEAR(sum(matmul(found.basis, c) * found.basis),
                        sum(matmul(expected.basis, c) * expected.basis), 1e-5 * full.sum);
        }
}

// The autocorrelation is summed sample by sample in a fixed number of parts.
TEST(Gram, SumsEverySampleWhateverTheirNumber) {
    using Size = std::array<std::int64_t, 3>;
    for (const auto& [batch, length, channels] :
         {Size{1, 7, 33}, Size{3, 5, 2}, Size{19, 6, 4}, Size{8, 2, 1}}) {
        Stream stream(3, "gram");
        const Tensor x = normal({batch, length, channels}, 0, 1, stream);
        Gram tokens(Side::token), columns(Side::channel);
        meter().reset();
        tokens.add(x);
        EXPECT_EQ(meter().total(), batch * length * (length + 1) * channels);
        tokens.add(x);
        columns.add(x);
        EXPECT_LT(distance(tokens.sum(), sum(matmul(x, x, Op::none, Op::transpose), 0) * 2), 1e-3);
        EXPECT_LT(distance(columns.sum(), matmul_sum(x, x)), 1e-3);
    }
    Gram none(Side::token);
    none.add(Tensor::zeros({0, 5, 3}));
    EXPECT_TRUE(identical(none.sum(), Tensor::zeros({5, 5})));
}

TEST(Calibrator, TheSplitOfABatchDoesNotMatter) {
    for (const std::optional<Side> side :
         {std::optional(Side::token), std::optional(Side::channel)}) {
        Chain whole, split;
        MethodOptions options = instant_options();
        options.side = to_string(side);
        Calibrator a(whole, options), b(split, options);
        a.calibrate([&] { run(whole, 0, 8); });
        b.calibrate([&] {
            run(split, 0, 3);
            run(split, 3, 5);
        });
        EXPECT_LT(distance(square(*rule_of(whole.first).p()), square(*rule_of(split.first).p())),
                  1e-4);
        EXPECT_LT(distance(square(*rule_of(whole.second).q()), square(*rule_of(split.second).q())),
                  1e-4);
    }
}

TEST(Calibrator, LinearMapsOfOneNameAreRefused) {
    Chain model;
    model.first.add_adapter(2, 1, 0);
    EXPECT_EQ(error_of([&] { Calibrator(model, instant_options()); }),
              "[calibrator] two linear maps are called 'linear'. Hint: name_modules() on the "
              "finished model");
    name_modules(model);
    EXPECT_EQ(error_of([&] { Calibrator(model, instant_options()); }), "no error");
}

TEST(Calibrator, WhatAMethodLeavesExactSaysSo) {
    Chain model;
    model.first.set_attention_output(true);
    model.head.set_compressible(false);
    MethodOptions options;
    options.method = "compact";
    std::vector<std::string> notes;
    for (const LayerRanks& layer : Calibrator(model, options).ranks()) notes.push_back(layer.note);
    EXPECT_EQ(notes, (std::vector<std::string>{"left exact by the method", "", "excluded"}));
}

TEST(Calibrator, LeavesParametersGradientsAndRulesOfOthersAlone) {
    Chain model;
    const Tensor before = model.first.weight().value.clone();
    Calibrator calibrator(model, instant_options());
    EXPECT_EQ(model.first.rule()->name(), "vanilla");
    calibrator.calibrate([&] { run(model, 0, 8); });
    EXPECT_TRUE(identical(model.first.weight().value, before));
    for (Parameter* p : parameters(model)) EXPECT_FALSE(p->grad.defined());
    EXPECT_EQ(model.first.rule()->name(), "instant");
    EXPECT_EQ(model.head.rule()->name(), "vanilla");
}

TEST(Calibrator, EachMethodFillsItsSlotsOnly) {
    for (const std::string& method : instant_modes()) {
        Chain model;
        MethodOptions options = instant_options();
        options.method = method;
        Calibrator calibrator(model, options);
        const Slots slots = find_method(method).calibrated;
        EXPECT_EQ(calibrator.needed(), slots.x || slots.g);
        calibrator.calibrate([&] { run(model, 0, 8); });
        EXPECT_EQ(model.first.rule()->name(), method);
    }
}

TEST(Calibrator, LayersOfOneGroupShareOneProjector) {
    Chain model;
    Stream stream(1, "twin");
    struct Twins final : Module {
        explicit Twins(Stream& s) : a(8, 8, s), b(8, 8, s) {
            a.set_input_group("qkv");
            b.set_input_group("qkv");
            name_modules(*this);
        }
        void visit(Visitor& v) override {
            v.module("a", a);
            v.module("b", b);
        }
        std::string kind() const override { return "twins"; }
        Linear a, b;
    } twins(stream);
    const Tensor x = normal({4, tokens, 8}, 0, 1, stream);
    const auto run_twins = [&] {
        Tape tape;
        const Var input = tape.input(x);
        const Var ya = twins.a.forward(input), yb = twins.b.forward(input);
        tape.backward(ya, Tensor::full(ya.shape(), 1));
    };
    Calibrator calibrator(twins, instant_options());
    meter().reset();
    calibrator.calibrate(run_twins);
    EXPECT_EQ(rule_of(twins.a).p(), rule_of(twins.b).p());
    EXPECT_EQ(meter().phase("forward"), 0) << "all that runs inside is calibration";
    EXPECT_GT(meter().phase("calibrate"), 0);

    // A frozen first member leaves the observing to the next one.
    set_requires_grad(twins.a, false);
    calibrator.calibrate([&] {
        Tape tape;
        const Var input = tape.input(x);
        twins.a.forward(input);
        const Var yb = twins.b.forward(input);
        tape.backward(yb, Tensor::full(yb.shape(), 1));
    });
    EXPECT_TRUE(rule_of(twins.b).p() != nullptr);
}

TEST(Calibrator, GramFlopsEqualTheClosedForm) {
    Chain model;
    MethodOptions options = instant_options();
    options.rank_x = options.rank_g = 2;
    Calibrator calibrator(model, options);
    meter().reset();
    calibrator.calibrate([&] { run(model, 0, 8); });
    std::vector<LinearShape> shapes = trace_linear_maps(model, [&] {
        Tape tape;
        model.forward(tape.input(Tensor::zeros({2, tokens, 8})));
    });
    ASSERT_EQ(shapes.size(), 2u);
    for (const LinearShape& shape : shapes) {
        const Compression c = compression_of(shape, options);
        const CalibrationCost cost = calibration_cost(shape, c, 8, 1, Convention::executed);
        const auto n = [&](Side side, std::int64_t channels) {
            return side == Side::token ? shape.tokens : channels;
        };
        const std::int64_t nx = n(c.side_x, shape.in_channels),
                           ng = n(c.side_g, shape.out_channels);
        const std::int64_t executed_decomposition = 14 * nx * nx * nx / 3 + 14 * ng * ng * ng / 3;
        // One triangle of each autocorrelation; the closed form of the paper has both.
        const std::int64_t products_x = 8 * shape.tokens * shape.in_channels / nx;
        const std::int64_t products_g = 8 * shape.tokens * shape.out_channels / ng;
        EXPECT_EQ(cost.gram, 2 * nx * nx * products_x + 2 * ng * ng * products_g);
        const std::int64_t executed_gram = nx * (nx + 1) * products_x + ng * (ng + 1) * products_g;
        const std::int64_t bias = 2 * 8 * shape.tokens * shape.out_channels;  // b and g_b
        const std::int64_t offsets = 2 * (nx + ng);                           // rows / √e
        EXPECT_EQ(meter().count(shape.name, "calibrate"),
                  cost.passes + executed_gram + executed_decomposition + bias + offsets)
            << shape.name;
    }
}

TEST(Calibrator, DegenerateStatistics) {
    Chain model;
    Calibrator calibrator(model, instant_options());
    calibrator.calibrate([&] { run(model, 0, 8, 0); });  // all gradients are zero
    const Projector& q = *rule_of(model.second).q();
    EXPECT_EQ(q.rank(), 2);  // min(1 + p, dim)
    const Tensor gram = matmul(q.basis, q.basis, Op::none, Op::transpose);
    EXPECT_NEAR(gram.at({0, 0}), 1, 1e-5);
    EXPECT_NEAR(gram.at({0, 1}), 0, 1e-5);

    const auto old_rule = model.second.rule();
    try {
        calibrator.calibrate([&] { run(model, 0, 8, std::numeric_limits<real>::infinity()); });
        FAIL() << "expected an Error";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("] calibration saw values of"), std::string::npos);
        EXPECT_NE(std::string(error.what()).find("g_y"), std::string::npos) << error.what();
    }
    EXPECT_EQ(model.second.rule(), old_rule);

    EXPECT_THROW(calibrator.calibrate([] { fail("[test] a batch failed"); }), Error);
    EXPECT_EQ(model.second.rule(), old_rule);
}

TEST(Calibrator, FewerSamplesThanRankStillGiveAnOrthonormalBasis) {
    Chain model;
    MethodOptions options = instant_options();
    options.rank_x = options.rank_g = 5;
    options.offset = "none";
    options.side = "channel";
    Calibrator calibrator(model, options);
    calibrator.calibrate([&] {
        Tape tape;
        Stream stream(1, "one");
        const Var y = model.forward(tape.input(normal({1, 2, 8}, 0, 1, stream)));
        tape.backward(y, Tensor::full(y.shape(), 1));
    });
    const Tensor& p = rule_of(model.first).p()->basis;
    const Tensor gram = matmul(p, p, Op::none, Op::transpose);
    for (std::int64_t i = 0; i < 5; ++i)
        for (std::int64_t j = 0; j < 5; ++j) EXPECT_NEAR(gram.at({i, j}), i == j ? 1 : 0, 1e-5);
}

TEST(Calibrator, StateReturnsFromACheckpoint) {
    Chain model, other;
    Calibrator calibrator(model, instant_options());
    calibrator.calibrate([&] { run(model, 0, 8); });
    Calibrator restored(other, instant_options());
    restored.restore(calibrator.state());
    EXPECT_TRUE(identical(rule_of(model.first).p()->basis, rule_of(other.first).p()->basis));
    EXPECT_EQ(rule_of(model.second).q()->side, rule_of(other.second).q()->side);
    CalibratedSlot found;
    found.rank = 2, found.dim = 6;
    for (const char* bad : {"P.third", "first", "X.first"})
        EXPECT_THROW(restored.restore({{bad, found, Tensor::zeros({2, 6})}}), Error) << bad;
    EXPECT_THROW(restored.restore({{"P.first", found, Tensor::zeros({2, 5})}}), Error);
    EXPECT_THROW(restored.restore({{"P.first", found, Tensor()}}), Error);
    EXPECT_EQ(rule_of(other.first).name(), "instant");
}

TEST(Calibrator, ChangingLengthOnTheTokenSideIsAnErrorThatNamesTheLayer) {
    Chain model;
    MethodOptions options = instant_options();
    options.side = "token";
    Calibrator calibrator(model, options);
    const auto forward = [&](std::int64_t length) {
        Tape tape;
        model.forward(tape.input(Tensor::full({1, length, 8}, 1)));
    };
    try {
        calibrator.calibrate([&] {
            forward(6);
            forward(5);
        });
        FAIL() << "expected an Error";
    } catch (const Error& error) {
        EXPECT_NE(
            std::string(error.what()).find("[first] calibration saw 6 tokens before and now 5"),
            std::string::npos)
            << error.what();
    }
}

}  // namespace
}  // namespace slimgrad
