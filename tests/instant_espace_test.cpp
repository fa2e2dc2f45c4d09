// ESPACE: an approximate forward and the backward that belongs to it.
#include "instant/methods/espace_rule.h"

#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/options.h"
#include "nn/gradcheck.h"
#include "nn/sequential.h"
#include "tensor/linalg.h"
#include "tensor/meter.h"
#include "tests/error_of.h"
#include "tests/one_layer.h"

namespace slimgrad {
namespace {

/// Orthonormal rows, not those of any x.
std::shared_ptr<const Projector> projector(const OneLayer& layer, Side side, std::int64_t rank) {
    const std::int64_t n = side == Side::token ? layer.shape.tokens : layer.shape.in_channels;
    const Tensor a = random({n, n}, 8);
    const Tensor basis = eigh(matmul(a, a, Op::none, Op::transpose)).vectors;
    return std::make_shared<Projector>(Projector{{side, basis.rows(0, std::min(rank, n)).clone()}});
}

MethodOptions with(Side side, std::optional<std::int64_t> rank = {},
                   std::optional<std::int64_t> ratio = {}) {
    MethodOptions options{.method = "espace", .side = to_string(side)};
    if (rank) options.own.set("[test]", rank_option(), *rank);
    if (ratio) options.own.set("[test]", ratio_option(), *ratio);
    return options;
}

Tensor with_bias(const OneLayer& layer, const Tensor& y) {
    return y + broadcast_to(layer.map->bias()->value, y.shape());
}

void expect_counts(const OneLayer& layer, const LinearCost& cost, const std::string& what) {
    const std::string& name = layer.shape.name;
    EXPECT_EQ(meter().count(name, "forward"), cost.forward) << what;
    EXPECT_EQ(meter().count(name, "compress"), 0) << what;
    EXPECT_EQ(meter().count(name, "g_w"), cost.g_w) << what;
    EXPECT_EQ(meter().count(name, "g_x"), cost.g_x) << what;
}

TEST(Espace, EqualsItsDenseMeaningAndTheClosedFormsOnEitherSide) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel})
            for (const std::int64_t rank : {1, 3, 100}) {
                const std::string what =
                    fmt::format("{} {} {}", layer.shape.name, to_string(side), rank);
                const auto p = projector(layer, side, rank);
                layer.map->set_rule(std::make_shared<const EspaceRule>(p));
                meter().reset();
                const Outcome low = run(layer);

                // y = Π x Wᵀ or x Π Wᵀ; what multiplies x in forward multiplies g in backward.
                const Tensor x = dense(*p, layer.x_matrix), &w = layer.w, &g = layer.g_matrix;
                expect_close(layer.op->y_matrix(low.y),
                             with_bias(layer, matmul(x, w, Op::none, Op::transpose)), "y " + what);
                expect_close(low.gw, matmul_sum(g, x), "g_w " + what);
                expect_close(low.gx, layer.op->x_of(dense(*p, matmul(g, w))), "g_x " + what);
                expect_close(low.gb, sum_rows(g), "g_b " + what);

                const Compression compression = compression_of(layer.shape, with(side, rank));
                EXPECT_EQ(compression.rank_x, p->rank());
                const LinearCost cost =
                    linear_cost(layer.shape, compression, 2, Convention::executed);
                expect_counts(layer, cost, what);
                EXPECT_EQ(low.saved * 4, cost.saved_bytes * number) << what;
                EXPECT_EQ(p->basis.numel() * 4, cost.projector_bytes) << what;
            }
}

TEST(Espace, BackwardIsTheDerivativeOfItsForward) {
    if (sizeof(real) == 4) GTEST_SKIP() << "finite differences want double";
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel}) {
            layer.map->set_rule(std::make_shared<const EspaceRule>(projector(layer, side, 3)));
            EXPECT_GT(gradcheck(*layer.map, layer.x).checked, 0);
        }
}

TEST(Espace, FullRankIsVanilla) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel}) {
            layer.map->set_rule(ExactRule::instance());
            const Outcome exact = run(layer);
            layer.map->set_rule(std::make_shared<const EspaceRule>(projector(layer, side, 100)));
            const Outcome full = run(layer);
            expect_close(full.y, exact.y, "y");
            expect_close(full.gw, exact.gw, "g_w");
            expect_close(full.gx, exact.gx, "g_x");
        }
}

TEST(Espace, WithoutOneOfTheGradientsNothingIsMadeForIt) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel}) {
            set_requires_grad(*layer.map, true);
            const auto p = projector(layer, side, 2);
            layer.map->set_rule(std::make_shared<const EspaceRule>(p));
            const Outcome both = run(layer);
            LinearShape shape = layer.shape;
            {
                zero_grad(*layer.map);
                meter().reset();
                Tape tape;  // nothing below trains
                tape.backward(layer.map->forward(tape.constant(layer.x)), layer.gy);
                shape.needs_gx = false;
                expect_counts(layer,
                              linear_cost(shape, compression_of(shape, with(side, 2)), 2,
                                          Convention::executed),
                              "no g_x");
                EXPECT_TRUE(
                    identical(layer.map->weight().grad.dense().reshape(layer.w.shape()), both.gw));
            }
            {
                Tape tape({.training = false});
                const Var in = tape.input(layer.x), y = layer.map->forward(in);
                expect_close(
                    layer.op->y_matrix(y.value()),
                    with_bias(layer, matmul(layer.x_matrix, layer.w, Op::none, Op::transpose)),
                    "evaluation");
            }
            // Frozen behind the calibrator's back: still the derivative of the same y.
            set_requires_grad(*layer.map, false);
            meter().reset();
            Tape tape;
            const Var in = tape.input(layer.x), y = layer.map->forward(in);
            EXPECT_EQ(ledger()[Category::saved].live, 0);
            tape.backward(y, layer.gy);
            EXPECT_TRUE(identical(y.value(), both.y));
            expect_close(tape.gradient(in), both.gx, "g_x of a frozen layer");
            EXPECT_EQ(meter().phase("g_w"), 0);
        }
}

TEST(Espace, PartsOfABatchMakeWhatTheWholeMakes) {
    for (OneLayer& layer : every_layer())
        for (const Side side : {Side::token, Side::channel}) {
            layer.map->set_rule(std::make_shared<const EspaceRule>(projector(layer, side, 3)));
            const Outcome whole = run(layer);
            Tensor gw = Tensor::zeros(whole.gw.shape());
            for (std::int64_t i = 0; i < 2; ++i) {
                const Outcome part = run(layer, {.first_sample = i}, layer.x.rows(i, 1).clone(),
                                         layer.gy.rows(i, 1).clone());
                gw = gw + part.gw;
                expect_close(part.y, whole.y.rows(i, 1), "y of a part");
                expect_close(part.gx, whole.gx.rows(i, 1), "g_x of a part");
            }
            expect_close(gw, whole.gw, "g_w of the parts");
        }
}

TEST(Espace, OneLayerTwiceInAGraph) {
    OneLayer layer = one_linear();
    const auto p = projector(layer, Side::token, 3);
    layer.map->set_rule(std::make_shared<const EspaceRule>(p));
    const Tensor other = random(layer.x.shape(), 9);
    Tape tape;
    const Var a = tape.input(layer.x), b = tape.input(other);
    tape.backward(layer.map->forward(a) + layer.map->forward(b), layer.gy);
    expect_close(layer.map->weight().grad.dense(), matmul_sum(layer.gy, dense(*p, layer.x + other)),
                 "g_w of two calls");
    expect_close(tape.gradient(a), dense(*p, matmul(layer.gy, layer.w)), "g_x");
    expect_close(tape.gradient(b), tape.gradient(a), "g_x of the other");
}

TEST(Espace, QueriesKeysAndValuesProjectTheirInputOnce) {
    for (const Side side : {Side::token, Side::channel}) {
        OneLayer like = one_linear();  // of the same x
        const auto rule = std::make_shared<const EspaceRule>(projector(like, side, 2));
        Stream stream(3, "shared");
        std::vector<std::unique_ptr<Linear>> qkv;
        const std::vector<std::int64_t> outputs{5, 3, 4};
        std::vector<LinearShape> shapes;
        for (const std::int64_t out : outputs) {
            qkv.push_back(std::make_unique<Linear>(5, out, stream));
            qkv.back()->set_rule(rule);
            shapes.push_back({"linear", 7, 5, out, 7 * 5, "qkv"});
        }
        const MethodOptions options = with(side, 2);
        const ModelCost cost =
            model_cost(shapes, compressions_of(shapes, options), 2, Convention::executed);
        meter().reset();
        Tape tape;
        const Var x = tape.input(like.x);
        std::vector<Var> y;
        for (const auto& layer : qkv) y.push_back(layer->forward(x));
        EXPECT_EQ(ledger()[Category::saved].live * 4, cost.total.saved_bytes * number);
        EXPECT_EQ(meter().phase("forward"), cost.total.forward);
        const std::int64_t rank = 2, p_x = 2 * 2 * rank * 7 * 5;
        EXPECT_EQ(model_cost(shapes, compressions_of(shapes, options), 2, Convention::paper)
                          .total.forward -
                      cost.total.forward,
                  2 * p_x);
    }
}

/// Two layers, of which the second sees what the first makes.
struct Chain {
    Chain() { name_modules(model); }
    Stream stream{5, "chain"};
    Sequential model;
    Linear& first = model.add<Linear>(8, 12, stream);
    Linear& second = model.add<Linear>(12, 4, stream);
    const Tensor x = random({6, 9, 8}, 1), gy = random({6, 9, 4}, 2);

    Tensor step() {
        Tape tape;
        const Var y = model.forward(tape.input(x));
        tape.backward(y, gy);
        return y.value();
    }
    const Subspace& p(const Linear& layer) {
        const auto& rule = dynamic_cast<const EspaceRule&>(*layer.rule());
        return *rule.p({});
    }
};

TEST(Espace, IsCalibratedOnXAloneWithoutOffsetAndWithAnExactForward) {
    Chain chain;
    MethodOptions options{.method = "espace", .side = "token"};
    options.break_even = "vanilla";  // which it does not heed
    Calibrator calibrator(chain.model, options);
    EXPECT_TRUE(calibrator.needed());
    EXPECT_EQ(chain.first.rule()->name(), "vanilla") << "until the first calibration";
    calibrator.calibrate([&] { chain.step(); });
    const Tensor p = chain.p(chain.second).basis.clone();
    EXPECT_EQ(p.shape(), (Shape{2, 9})) << "N/4";
    const Tensor square = matmul(p, p, Op::none, Op::transpose);
    for (std::int64_t i = 0; i < 2; ++i)
        for (std::int64_t j = 0; j < 2; ++j) EXPECT_NEAR(square.at({i, j}), i == j, 1e-5);
    const std::vector<LayerRanks> ranks = calibrator.ranks();
    EXPECT_EQ(ranks[1].rank_x, 2);
    EXPECT_FALSE(ranks[1].rank_g || ranks[1].g);

    // The second calibration sees the exact x of the second layer, though steps are compressed.
    calibrator.calibrate([&] { chain.step(); });
    EXPECT_TRUE(identical(chain.p(chain.second).basis, p));

    options.own.set("[test]", ratio_option(), std::int64_t{2});
    options.side = "auto";
    Calibrator other(chain.model, options);
    other.calibrate([&] { chain.step(); });
    EXPECT_EQ(chain.p(chain.first).basis.shape(), (Shape{4, 8}));
    EXPECT_EQ(chain.p(chain.second).basis.shape(), (Shape{4, 9}));
    EXPECT_EQ(error_of([&] { options.own.set("[test]", ratio_option(), std::int64_t{0}); }),
              "[test] expected a whole number from 1 to 1000000 as ratio, got 0");
}

TEST(Espace, AFrozenLayerIsNeitherCalibratedNorCompressed) {
    Chain chain;
    set_requires_grad(chain.first, false);
    Calibrator calibrator(chain.model, with(Side::token, 2));
    calibrator.calibrate([&] { chain.step(); });
    EXPECT_EQ(chain.first.rule()->name(), "vanilla");
    EXPECT_EQ(chain.second.rule()->name(), "espace");
    EXPECT_FALSE(calibrator.ranks()[0].x);
    const std::vector<LinearShape> shapes = trace_linear_maps(chain.model, [&] {
        Tape tape;
        chain.model.forward(tape.input(chain.x));
    });
    const ModelCost cost =
        model_cost(shapes, compressions_of(shapes, with(Side::token, 2)), 6, Convention::executed);
    meter().reset();
    chain.step();
    EXPECT_EQ(meter().phase("forward"), cost.total.forward);
    EXPECT_EQ(meter().phase("g_w"), cost.total.g_w);
    EXPECT_EQ(meter().phase("g_x"), cost.total.g_x);
    EXPECT_EQ(cost.rows[0].calibration.gram, 0);
    EXPECT_GT(cost.rows[1].calibration.gram, 0);
}

TEST(Espace, ARestoredCalibratorMakesTheSameBits) {
    Chain chain, resumed;
    Calibrator calibrator(chain.model, with(Side::channel, 3));
    calibrator.calibrate([&] { chain.step(); });
    chain.step();
    Calibrator again(resumed.model, with(Side::channel, 3));
    again.restore(calibrator.state());
    zero_grad(chain.model);
    EXPECT_TRUE(identical(chain.step(), resumed.step()));
    EXPECT_TRUE(identical(chain.first.weight().grad.dense(), resumed.first.weight().grad.dense()));
}

TEST(Espace, AnotherLengthThanCalibratedIsAnErrorThatNamesTheLayer) {
    OneLayer layer = one_linear();
    layer.map->set_rule(std::make_shared<const EspaceRule>(projector(layer, Side::token, 2)));
    EXPECT_EQ(error_of([&] {
                  Tape tape;
                  layer.map->forward(tape.input(random({2, 4, 5}, 1)));
              }).find("[linear] calibrated for 7 tokens, got 4"),
              0u);
}

}  // namespace
}  // namespace slimgrad
