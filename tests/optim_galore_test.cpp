// GaLore: gradients on their own singular vectors before the optimiser's step.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "instant/calibration/calibrator.h"
#include "instant/methods/galore.h"
#include "instant/methods/method.h"
#include "instant/methods/options.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "nn/sequential.h"
#include "optim/optimizer.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr double tolerance = sizeof(real) == 8 ? 1e-9 : 2e-4;

Tensor random(const Shape& shape, const std::string& what, std::int64_t index = 0) {
    Stream stream(5, what, static_cast<std::uint64_t>(index));
    return normal(shape, 0, 1, stream);
}

void expect_close(const Tensor& a, const Tensor& b, const std::string& what) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    EXPECT_LT(std::sqrt(sum_squares(a - b)), tolerance * (1 + std::sqrt(sum_squares(b)))) << what;
}

/// One matrix of a given shape.
struct Model final : Module {
    Parameter w;
    explicit Model(const Shape& shape) : w(random(shape, "w")) {}
    void visit(Visitor& visitor) override { visitor.parameter("w", w); }
    std::string kind() const override { return "model"; }
};

std::unique_ptr<Galore> projection(const Model& model, std::int64_t rank, std::int64_t every,
                                   MatrixBasis::Options options = {}) {
    return std::make_unique<Galore>(
        std::map<std::string, Galore::Target>{{"w", {model.w.value.shape(), rank}}}, every,
        options);
}

const std::vector<Shape> shapes{{7, 4}, {4, 7}, {5, 5}, {3, 2, 2, 2}, {9, 2, 2, 1}};

TEST(Svd, LeadingTermsGiveTheMatrixBack) {
    for (const Shape& shape : {Shape{7, 4}, Shape{4, 7}, Shape{5, 5}}) {
        const Tensor a = random(shape, "a");
        meter().reset();
        const SingularDecomposition d = svd(a, std::min(shape[0], shape[1]));
        const std::int64_t p = std::max(shape[0], shape[1]), q = std::min(shape[0], shape[1]);
        EXPECT_EQ(meter().total(), 14 * p * q * q + 8 * q * q * q);
        Tensor left = d.left.clone();
        for (std::int64_t i = 0; i < q; ++i) {
            if (i > 0) {
                EXPECT_GE(d.values[static_cast<std::size_t>(i - 1)],
                          d.values[static_cast<std::size_t>(i)]);
            }
            Tensor row = left.rows(i, 1);
            for (real& v : row.values())
                v *= static_cast<real>(d.values[static_cast<std::size_t>(i)]);
            const Tensor shorter = (shape[1] <= shape[0] ? d.right : d.left).rows(i, 1);
            real largest = 0;
            for (const real v : shorter.values())
                if (std::abs(v) > std::abs(largest)) largest = v;
            EXPECT_GT(largest, 0) << "the sign is fixed";
        }
        expect_close(matmul(left, d.right, Op::transpose, Op::none), a, "U S V");
        const SingularDecomposition two = svd(a, 2);
        EXPECT_TRUE(identical(two.right, d.right.rows(0, 2).clone()));
        EXPECT_TRUE(identical(two.left, d.left.rows(0, 2).clone()));
    }
    EXPECT_THROW(svd(Tensor::zeros({2, 3}), 3), Error);
    EXPECT_THROW(svd(Tensor::zeros({2, 3, 1}), 1), Error);
    EXPECT_THROW(svd(Tensor::full({2, 2}, std::numeric_limits<real>::infinity()), 1), Error);
}

TEST(Galore, AtFullRankPlainSgdIsAsIfItWereNotThere) {
    for (const Shape& shape : shapes) {
        Model plain(shape), projected(shape);
        const OptimizerOptions o{.name = "sgd", .lr = 0.1, .weight_decay = 0.1};
        const auto a = make_optimizer(plain, o), b = make_optimizer(projected, o);
        const std::int64_t full = std::min(shape[0], numel(shape) / shape[0]);
        b->set_projection(projection(projected, full, 2));
        for (int t = 0; t < 5; ++t) {
            plain.w.grad = random(shape, "g", t);
            projected.w.grad = random(shape, "g", t);
            a->step();
            b->step();
            expect_close(projected.w.value, plain.w.value, to_string(shape));
        }
    }
}

TEST(Galore, WhatARuleHasLeftOnABasisStaysThere) {
    Stream stream(1, "layer");
    Linear layer(6, 5, stream);
    name_modules(layer);
    MethodOptions options{.method = "galore+compact"};
    options.own.set("[test]", rank_option(), std::int64_t{2});
    const Calibrator calibrator(layer, options);
    const auto optimizer = make_optimizer(layer, {.name = "adam", .lr = 0.1});
    optimizer->set_projection(make_projection(layer, options));
    Tape tape;
    const Var y = layer.forward(tape.constant(random({2, 3, 6}, "x")));
    tape.backward(y, random({2, 3, 5}, "gy"));
    ASSERT_NE(layer.weight().grad.basis, nullptr);
    optimizer->step();
    std::map<std::string, Shape> state;
    optimizer->visit_state([&](const std::string& name, Tensor& t) { state[name] = t.shape(); });
    EXPECT_EQ(state.at("exp_avg.weight"), (Shape{5, 2}));
    EXPECT_FALSE(state.contains("basis.weight"));
}

/// The leading right singular vectors of g (p, q), p ≥ q, as rows, by another way: the eigenvectors
/// of gᵀ g.
Tensor right_vectors(const Tensor& g, std::int64_t rank) {
    Tensor v = eigh(matmul(g, g, Op::transpose, Op::none)).vectors.rows(0, rank).clone();
    for (std::int64_t i = 0; i < rank; ++i) {
        Tensor row = v.rows(i, 1);
        real largest = 0;
        for (const real x : row.values())
            if (std::abs(x) > std::abs(largest)) largest = x;
        for (real& x : row.values()) x *= largest < 0 ? -1 : 1;
    }
    return v;
}

// The dense meaning, for G or Gᵀ with the longer axis first: R = G Vᵀ, Adam on R, back by V.
TEST(Galore, AdamRunsInTheProjectedSpaceAndKeepsItsMoments) {
    for (const Shape& shape : {Shape{9, 4}, Shape{4, 9}, Shape{8, 2, 2, 1}})
        for (const std::int64_t rank : {2, 4}) {
            const std::int64_t rows = shape[0], columns = numel(shape) / rows;
            const bool tall = rows >= columns;
            const std::int64_t p = std::max(rows, columns);
            const auto long_side_first = [&](const Tensor& t) {
                const Tensor matrix = t.reshape({rows, columns});
                return tall ? matrix.clone() : transpose(matrix, {1, 0});
            };
            Model model(shape);
            const OptimizerOptions o{.name = "adamw", .lr = 0.01, .weight_decay = 0.1};
            const auto optimizer = make_optimizer(model, o);
            optimizer->set_projection(projection(model, rank, 3, {.scale = 0.5}));
            Tensor w = long_side_first(model.w.value), v;
            std::vector<double> mean(static_cast<std::size_t>(p * rank)), square = mean;
            for (int t = 0; t < 7; ++t) {
                model.w.grad = random(shape, "g", t);
                const Tensor g = long_side_first(model.w.grad.value);
                if (t % 3 == 0) v = right_vectors(g, rank);
                const Tensor r = matmul(g, v, Op::none, Op::transpose);
                Tensor u(r.shape());
                for (std::size_t k = 0; k < mean.size(); ++k) {
                    const double rk = r.data()[k];
                    mean[k] = 0.9 * mean[k] + 0.1 * rk;
                    square[k] = 0.999 * square[k] + 0.001 * rk * rk;
                    u.data()[k] = static_cast<real>(
                        mean[k] / (1 - std::pow(0.9, t + 1)) /
                        (std::sqrt(square[k] / (1 - std::pow(0.999, t + 1))) + 1e-8));
                }
                w = w * static_cast<real>(1 - 0.01 * 0.1) -
                    matmul(u, v) * static_cast<real>(0.01 * 0.5);
                optimizer->step();
                EXPECT_EQ(model.w.grad.value.shape(),
                          tall ? (Shape{rows, rank}) : (Shape{rank, columns}));
                expect_close(long_side_first(model.w.value), w,
                             fmt::format("{} rank {} step {}", to_string(shape), rank, t));
            }
        }
}

TEST(Galore, ItsBasisIsState) {
    for (const Moments policy : {Moments::keep, Moments::reset, Moments::transport})
        for (const char* name : {"sgd", "adamw"})
            for (const int saved_at : {0, 2, 3, 4}) {  // the basis changes at 0 and 3
                const Shape shape{6, 5};
                const OptimizerOptions o{.name = name, .lr = 0.05};
                const auto train = [&](Model& model, Optimizer& optimizer, int begin, int end) {
                    for (int t = begin; t < end; ++t) {
                        model.w.grad = random(shape, "g", t);
                        optimizer.step();
                    }
                };
                Model straight(shape), resumed(shape);
                const auto a = make_optimizer(straight, o), b = make_optimizer(resumed, o);
                a->set_projection(projection(straight, 2, 3, {.moments = policy}));
                b->set_projection(projection(resumed, 2, 3, {.moments = policy}));
                train(straight, *a, 0, saved_at);
                resumed.w.value = straight.w.value.clone();
                std::map<std::string, Tensor> state;
                a->visit_state([&](const std::string& key, Tensor& t) { state[key] = t.clone(); });
                EXPECT_EQ(state.contains("basis.w"), saved_at > 0);
                b->set_spaces(a->spaces());
                b->visit_state([&](const std::string& key, Tensor& t) {
                    ASSERT_EQ(t.shape(), state.at(key).shape()) << key;
                    t.copy_from(state.at(key));
                });
                b->set_steps(a->steps());
                train(straight, *a, saved_at, 7);
                train(resumed, *b, saved_at, 7);
                EXPECT_TRUE(identical(straight.w.value, resumed.w.value)) << name << saved_at;
            }
}

TEST(Galore, SpacesOfAnotherModelAreErrors) {
    Model model({6, 5});
    const auto optimizer = make_optimizer(model, {.name = "sgd", .lr = 1});
    optimizer->set_projection(projection(model, 2, 3));
    const auto refused = [&](const StateSpace& space) {
        return error_of([&] { optimizer->set_spaces({space}); });
    };
    EXPECT_EQ(refused({"basis.w", {2, 5}, 0}), "no error");
    EXPECT_EQ(refused({"basis.w", {3, 5}, 0}),
              "[galore] expected 'basis.w' of shape (2, 5), got (3, 5)");
    EXPECT_EQ(refused({"basis.v", {2, 5}, 0}), "[galore] the state has no place for 'basis.v'");
    EXPECT_EQ(refused({"w", {2, 5}, 0}), "[galore] the state has no place for 'w'");
    EXPECT_EQ(error_of([&] { projection(model, 6, 3); }),
              "[galore] 'w' of shape (6, 5) has no projection of rank 6");

    const Tensor before = model.w.value.clone();
    const auto fresh = make_optimizer(model, {.name = "sgd", .lr = 1});
    fresh->set_projection(projection(model, 2, 3));
    model.w.grad = Tensor::full({6, 5}, std::numeric_limits<real>::quiet_NaN());
    EXPECT_EQ(error_of([&] { fresh->step(); }),
              "[galore] the gradient of 'w' has values that are not finite");
    EXPECT_TRUE(identical(model.w.value, before));
}

TEST(Galore, TheEntryChoosesMatricesLargerThanTheRank) {
    Stream stream(1, "test");
    Sequential model;
    model.add<Linear>(6, 12, stream);
    Conv2d& conv = model.add<Conv2d>(2, 8, Conv2dOptions{.kernel = 3}, stream);
    model.add<Linear>(3, 12, stream);  // no larger than the rank
    Linear& head = model.add<Linear>(12, 9, stream);
    head.set_compressible(false);
    conv.bias()->requires_grad = false;
    name_modules(model);
    MethodOptions options{.method = "galore"};
    options.own.set("[test]", rank_option(), std::int64_t{3});

    const auto step = [&](bool projected) {
        zero_grad(model);  // a gradient holds its basis
        const std::int64_t before = ledger()[Category::optimizer].live;
        const auto optimizer = make_optimizer(model, {.name = "adam", .lr = 1e-3});
        if (projected) optimizer->set_projection(make_projection(model, options));
        for_each_parameter(model, [](const std::string& name, Parameter& p) {
            p.grad = random(p.value.shape(), name);
        });
        meter().reset();
        optimizer->step();
        std::set<std::string> names;
        for (const StateSpace& space : optimizer->spaces()) names.insert(space.name);
        return std::pair{names, ledger()[Category::optimizer].live - before};
    };
    const auto [names, bytes] = step(true);
    EXPECT_EQ(names, (std::set<std::string>{"basis.0.weight", "moments.0.weight", "basis.1.weight",
                                            "moments.1.weight"}));
    const std::int64_t linear = 2 * 12 * 3 + 3 * 6, filters = 2 * 3 * 18 + 3 * 8;
    const std::int64_t dense = step(false).second;
    constexpr auto size = static_cast<std::int64_t>(sizeof(real));
    EXPECT_EQ(dense - bytes, size * (2 * (12 * 6 + 8 * 18) - linear - filters));

    EXPECT_EQ(make_projection(model, {.method = "instant"}), nullptr);

    options.own.set("[test]", rank_option(), std::int64_t{12});
    EXPECT_EQ(error_of([&] { make_projection(model, options); }),
              "[galore] no linear map has both axes longer than its rank: there is nothing to "
              "project. Hint: a smaller rank");
}

TEST(Galore, EveryFlopStandsUnderOptimizer) {
    Model model({9, 4});
    const auto optimizer = make_optimizer(model, {.name = "adam", .lr = 1e-3});
    optimizer->set_projection(projection(model, 2, 2));
    constexpr std::int64_t p = 9, q = 4, r = 2;
    constexpr std::int64_t adam = 11 * p * r + 3 * p * q, product = 2 * p * q * r;
    for (const bool found : {true, false}) {
        model.w.grad = random({9, 4}, "g");
        meter().reset();
        optimizer->step();
        EXPECT_EQ(meter().phase("optimizer"),
                  adam + 2 * product + (found ? p * q + 14 * p * q * q + 8 * q * q * q : 0));
        EXPECT_EQ(meter().total(), meter().phase("optimizer"));
    }
}

TEST(Galore, GoesTogetherWithARule) {
    for (const char* name : {"galore+instant", "instant+galore"}) {
        const Method& both = find_method(name);
        EXPECT_TRUE(both.rule && both.projection) << name;
        EXPECT_EQ(both.x_slot, "P x") << name;
        EXPECT_TRUE(both.calibrated.x) << name;
    }
    EXPECT_NE(error_of([] { find_method("galore+galore"); }).find("does not go with"),
              std::string::npos);
}

}  // namespace
}  // namespace slimgrad
