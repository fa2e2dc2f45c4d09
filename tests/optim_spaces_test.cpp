// Optimisers on compressed gradients: they work in the gradient's own space, and follow its basis.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "autograd/matrix_basis.h"
#include "optim/clip.h"
#include "optim/optimizer.h"
#include "optim/state.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr double tolerance = sizeof(real) == 8 ? 1e-10 : 2e-5;
constexpr std::int64_t m = 5, n = 8, r = 3;

Tensor random(const Shape& shape, const std::string& what, std::int64_t index = 0) {
    Stream stream(3, what, static_cast<std::uint64_t>(index));
    return normal(shape, 0, 1, stream);
}

/// Rows that depend on the period, as CompAct draws them: B (r, n) or, from the left, (r, m).
class Drawn final : public MatrixBasis {
  public:
    Drawn(std::int64_t period, Options options, Multiply side = Multiply::right)
        : MatrixBasis(side, r, side == Multiply::right ? n : m, period, options),
          length_(side == Multiply::right ? n : m) {}
    Tensor rows(std::int64_t period) const override { return random({r, length_}, "B", period); }
    bool same_as(const Basis& other) const override { return other.period() == period(); }

  private:
    std::int64_t length_;
};

struct Model final : Module {
    Parameter w{random({m, n}, "w")}, b{random({m}, "b")};
    void visit(Visitor& visitor) override {
        visitor.parameter("w", w);
        visitor.parameter("b", b);
    }
    std::string kind() const override { return "model"; }
    /// Gradients of step t, compressed on the basis of a period.
    void set_gradients(std::int64_t t, std::int64_t period, MatrixBasis::Options options = {}) {
        w.grad = Grad(random({m, r}, "g", t), std::make_shared<Drawn>(period, options));
        b.grad = random({m}, "gb", t);
    }
};

void expect_close(const Tensor& a, const Tensor& b, const std::string& what) {
    ASSERT_EQ(a.shape(), b.shape()) << what;
    EXPECT_LT(std::sqrt(sum_squares(a - b)), tolerance * (1 + std::sqrt(sum_squares(b)))) << what;
}

TEST(Spaces, GradientsOnEqualBasesAddUpCompressed) {
    const auto on = [](std::int64_t period) {
        return Grad(random({m, r}, "g", period), std::make_shared<Drawn>(period, Drawn::Options{}));
    };
    Grad sum = on(1);
    sum.add(on(1));
    ASSERT_TRUE(sum.basis);
    expect_close(sum.value, random({m, r}, "g", 1) * 2, "one basis");
    const Tensor expected = sum.dense() + on(2).dense();
    sum.add(on(2));
    EXPECT_FALSE(sum.basis);
    expect_close(sum.value, expected, "two bases");
}

/// Carries means, and fails at mean squares.
class Failing final : public Basis {
  public:
    Tensor expand(const Tensor& compressed) const override { return compressed; }
    std::int64_t period() const override { return 1; }
    Tensor carry(const Tensor& moment, int power, std::int64_t /*before*/) const override {
        require(power == 1, "[test] no squares");
        return moment * 2;
    }
};

TEST(Spaces, MomentsAreCarriedAllOrNotAtAll) {
    const std::vector<StateSlot> slots{{"mean", 1}, {"square", 2}};
    ParameterState state(2);
    state.follow(Grad(random({m, r}, "g"), std::make_shared<Drawn>(0, Drawn::Options{})), slots);
    for (Tensor& value : state.values) value = random({m, r}, "value");
    const Tensor before = state.values[0].clone();
    EXPECT_EQ(error_of([&] {
                  state.follow(Grad(random({m, r}, "g"), std::make_shared<Failing>()), slots);
              }),
              "[test] no squares");
    EXPECT_TRUE(identical(state.values[0], before));
    EXPECT_EQ(state.period, 0);
}

// Element by element, in double, from the formulas alone.
struct Reference {
    OptimizerOptions o;
    std::vector<double> w, mean = std::vector<double>(m * r), square = std::vector<double>(m * r);
    int t = 0;

    void step(const Tensor& g, const Tensor& rows, double alpha) {
        ++t;
        std::vector<double> u(m * r);
        for (std::size_t k = 0; k < u.size(); ++k) {
            const double gk = g.data()[k];
            if (o.name == "sgd") {
                mean[k] = o.momentum * mean[k] + gk;
                u[k] = o.nesterov ? gk + o.momentum * mean[k] : mean[k];
                continue;
            }
            mean[k] = o.beta1 * mean[k] + (1 - o.beta1) * gk;
            square[k] = o.beta2 * square[k] + (1 - o.beta2) * gk * gk;
            u[k] = mean[k] / (1 - std::pow(o.beta1, t)) /
                   (std::sqrt(square[k] / (1 - std::pow(o.beta2, t))) + o.epsilon);
        }
        for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = 0; j < n; ++j) {
                double update = 0;
                for (std::int64_t k = 0; k < r; ++k)
                    update += u[static_cast<std::size_t>(i * r + k)] * rows.at({k, j});
                double& wij = w[static_cast<std::size_t>(i * n + j)];
                wij = (1 - o.lr * o.weight_decay) * wij - o.lr * alpha * update;
            }
    }
    Tensor weights() const { return Tensor::from({m, n}, std::vector<real>(w.begin(), w.end())); }
};

const std::vector<OptimizerOptions> kinds{
    {.name = "sgd", .lr = 0.1, .weight_decay = 0.05},
    {.name = "sgd", .lr = 0.1, .momentum = 0.9, .weight_decay = 0.05},
    {.name = "sgd", .lr = 0.1, .momentum = 0.9, .nesterov = true},
    {.name = "adam", .lr = 0.01, .weight_decay = 0.1},
    {.name = "adamw", .lr = 0.01, .weight_decay = 0.1}};

TEST(Spaces, TheUpdateIsMadeCompressedThenExpandedAndScaled) {
    for (const OptimizerOptions& o : kinds) {
        Model model;
        Reference reference{o, {model.w.value.values().begin(), model.w.value.values().end()}};
        const auto optimizer = make_optimizer(model, o);
        for (int t = 0; t < 5; ++t) {
            model.set_gradients(t, 4, {.scale = 0.25});
            optimizer->step();
            reference.step(random({m, r}, "g", t), random({r, n}, "B", 4), 0.25);
            expect_close(model.w.value, reference.weights(), o.name);
        }
    }
}

/// B₀'s coordinates in B₁ by the normal equations, solved by elimination.
std::vector<std::vector<double>> coefficients(const Tensor& b0, const Tensor& b1) {
    const auto dot = [](const Tensor& a, std::int64_t i, const Tensor& b, std::int64_t j) {
        double sum = 0;
        for (std::int64_t k = 0; k < a.size(1); ++k) sum += double{a.at({i, k})} * b.at({j, k});
        return sum;
    };
    std::vector<std::vector<double>> rows(r, std::vector<double>(2 * r));
    for (std::size_t i = 0; i < r; ++i)
        for (std::size_t j = 0; j < r; ++j) {
            rows[i][j] = dot(b0, static_cast<std::int64_t>(i), b0, static_cast<std::int64_t>(j));
            rows[i][r + j] =
                dot(b0, static_cast<std::int64_t>(i), b1, static_cast<std::int64_t>(j));
        }
    for (std::size_t p = 0; p < r; ++p)
        for (std::size_t i = 0; i < r; ++i) {
            const double factor = rows[i][p] / rows[p][p];
            for (std::size_t j = 0; j < 2 * r; ++j)
                if (i != p) rows[i][j] -= factor * rows[p][j];
        }
    std::vector<std::vector<double>> c(r, std::vector<double>(r));
    for (std::size_t i = 0; i < r; ++i)
        for (std::size_t j = 0; j < r; ++j) c[i][j] = rows[i][r + j] / rows[i][i];
    return c;
}

TEST(Spaces, MomentsFollowTheBasisByTheirPolicy) {
    for (const OptimizerOptions& o : kinds)
        for (const Moments policy : {Moments::keep, Moments::reset, Moments::transport}) {
            const std::string what =
                o.name + " " + moments_words()[static_cast<std::size_t>(policy)];
            Model model;
            Reference reference{o, {model.w.value.values().begin(), model.w.value.values().end()}};
            const auto optimizer = make_optimizer(model, o);
            for (int t = 0; t < 6; ++t) {
                const std::int64_t period = t / 3;
                model.set_gradients(t, period, {.moments = policy});
                optimizer->step();
                if (t == 3 && policy == Moments::reset)
                    reference.mean = reference.square = std::vector<double>(m * r);
                if (t == 3 && policy == Moments::transport) {
                    const auto c = coefficients(random({r, n}, "B", 0), random({r, n}, "B", 1));
                    const Reference old = reference;
                    for (std::size_t i = 0; i < m; ++i)
                        for (std::size_t j = 0; j < r; ++j) {
                            double mean = 0, square = 0, total = 0;
                            for (std::size_t k = 0; k < r; ++k) {
                                mean += old.mean[i * r + k] * c[k][j];
                                square += old.square[i * r + k] * c[k][j] * c[k][j];
                                total += c[k][j] * c[k][j];
                            }
                            reference.mean[i * r + j] = mean;
                            reference.square[i * r + j] = square / total;
                        }
                }
                reference.step(random({m, r}, "g", t), random({r, n}, "B", period), 1);
                expect_close(model.w.value, reference.weights(), what);
            }
        }
}

TEST(Spaces, TransportIsExactForWhatTheOldBasisHolds) {
    for (const auto side : {MatrixBasis::Multiply::right, MatrixBasis::Multiply::left}) {
        const bool right = side == MatrixBasis::Multiply::right;
        const Drawn now(1, {.moments = Moments::transport}, side);
        const Tensor b0 = now.rows(0), b1 = now.rows(1);
        const Tensor a = random(right ? Shape{m, r} : Shape{r, n}, "a");
        const Tensor g = right ? matmul(a, b0) : matmul(b0, a, Op::transpose, Op::none);
        const auto seen = [&](const Tensor& b) {
            return right ? matmul(g, b, Op::none, Op::transpose) : matmul(b, g);
        };
        expect_close(now.carry(seen(b0), 1, 0), seen(b1), "mean");
        const Tensor ones = Tensor::full(seen(b0).shape(), 4);
        expect_close(now.carry(ones, 2, 0), ones, "squares keep their size");
        expect_close(now.expand(seen(b0)),
                     right ? matmul(seen(b0), b1) : matmul(b1, seen(b0), Op::transpose, Op::none),
                     "expand");
        EXPECT_EQ(now.dense_shape(seen(b0).shape()), (Shape{m, n}));
        EXPECT_NE(now.dense_shape({m, n}), (Shape{m, n}));
    }
    EXPECT_NE(error_of([] {
                  row_coefficients(Tensor::full({2, 4}, 1), Tensor::full({2, 4}, 1));
              }).find("depend on each other"),
              std::string::npos);
    EXPECT_EQ(error_of([] { parse_moments("drop"); }),
              "[moments] expected one of keep, reset, transport, got 'drop'");
}

TEST(Spaces, AResumedOptimizerGoesOnToTheSameBits) {
    for (const OptimizerOptions& o : kinds)
        for (const Moments policy : {Moments::keep, Moments::reset, Moments::transport})
            for (const int saved_at : {0, 2, 3, 5}) {  // the basis changes at 3
                const auto train = [&](Model& model, Optimizer& optimizer, int begin, int end) {
                    for (int t = begin; t < end; ++t) {
                        model.set_gradients(t, t / 3, {.moments = policy});
                        optimizer.step();
                    }
                };
                Model straight, resumed;
                const auto optimizer = make_optimizer(straight, o);
                train(straight, *optimizer, 0, saved_at);
                resumed.w.value = straight.w.value.clone();
                resumed.b.value = straight.b.value.clone();
                std::map<std::string, Tensor> state;
                optimizer->visit_state(
                    [&](const std::string& key, Tensor& t) { state[key] = t.clone(); });

                const auto other = make_optimizer(resumed, o);
                other->set_spaces(optimizer->spaces());
                other->visit_state([&](const std::string& key, Tensor& t) {
                    ASSERT_EQ(t.shape(), state.at(key).shape()) << key;
                    t.copy_from(state.at(key));
                });
                other->set_steps(optimizer->steps());
                train(straight, *optimizer, saved_at, 7);
                train(resumed, *other, saved_at, 7);
                EXPECT_TRUE(identical(straight.w.value, resumed.w.value)) << o.name << saved_at;
                EXPECT_TRUE(identical(straight.b.value, resumed.b.value)) << o.name << saved_at;
            }
}

TEST(Spaces, StatesAndFlopsAreThoseOfTheCompressedGradient) {
    const std::int64_t before = ledger()[Category::optimizer].live;
    const auto flops_of = [&](const OptimizerOptions& o) {
        Model model;
        model.b.requires_grad = false;
        const auto optimizer = make_optimizer(model, o);
        model.set_gradients(0, 0);
        meter().reset();
        optimizer->step();
        EXPECT_EQ(meter().total(), meter().phase("optimizer"));
        const std::int64_t values = o.name == "sgd" ? (o.momentum > 0 ? 1 : 0) : 2;
        EXPECT_EQ(ledger()[Category::optimizer].live - before,
                  values * m * r * static_cast<std::int64_t>(sizeof(real)));
        return meter().phase("optimizer");
    };
    constexpr std::int64_t expand = 2 * m * n * r, apply = 3 * m * n, small = m * r;
    EXPECT_EQ(flops_of({.name = "adamw"}), 11 * small + expand + apply);
    EXPECT_EQ(flops_of({.name = "sgd"}), expand + apply);
    EXPECT_EQ(flops_of({.name = "sgd", .momentum = 0.9}), 2 * small + expand + apply);
    EXPECT_EQ(flops_of({.name = "sgd", .momentum = 0.9, .nesterov = true}),
              4 * small + expand + apply);
    EXPECT_EQ(ledger()[Category::optimizer].live, before);
}

TEST(Spaces, WhatDoesNotFitUpdatesNothing) {
    struct Silent final : Basis {  // says no shape
        Tensor expand(const Tensor& compressed) const override { return compressed; }
    };
    for (const std::string& name : optimizer_names()) {
        Model model;
        const auto optimizer = make_optimizer(model, {.name = name, .lr = 0.1, .momentum = 0.9});
        const Tensor w = model.w.value.clone(), b = model.b.value.clone();
        const auto refused = [&] {
            std::string said = error_of([&] { optimizer->step(); });
            EXPECT_TRUE(identical(model.w.value, w) && identical(model.b.value, b)) << said;
            return said;
        };
        model.set_gradients(0, 0);
        model.b.grad = Grad(Tensor::zeros({m, r}), std::make_shared<Drawn>(0, Drawn::Options{}));
        EXPECT_EQ(refused(), "[b] expected a gradient of the parameter's shape (5,), got (5, 8)");
        model.b.grad = Grad(Tensor::zeros({7}), std::make_shared<Silent>());
        EXPECT_EQ(refused(), "[b] expected a gradient of the parameter's shape (5,), got (7,)");
        model.b.grad = random({m}, "gb");
        model.w.grad.value = Tensor::zeros({m, r + 1});
        EXPECT_EQ(refused().rfind("[w] expected a gradient of the parameter's shape (5, 8)", 0),
                  0u);
        EXPECT_EQ(optimizer->steps(), 0);
    }
}

TEST(Spaces, AStateOfAnotherSpaceIsAnError) {
    for (const std::string& name : optimizer_names()) {
        const auto mixed = [&](bool compressed_first) {
            Model model;
            const auto optimizer =
                make_optimizer(model, {.name = name, .lr = 0.1, .momentum = 0.9});
            for (const bool compressed : {compressed_first, !compressed_first}) {
                model.set_gradients(0, 0);
                if (!compressed) model.w.grad = random({m, n}, "dense");
                const Tensor b = model.b.value.clone();
                std::string said = error_of([&] { optimizer->step(); });
                if (compressed == compressed_first) continue;
                EXPECT_TRUE(identical(model.b.value, b));
                return said;
            }
            return std::string();
        };
        EXPECT_EQ(mixed(true).rfind("[optimizer] the state of 'w' is of compressed gradients of "
                                    "shape (5, 3), and now comes a dense one of shape (5, 8)",
                                    0),
                  0u);
        EXPECT_NE(mixed(true).find("gradients in two bases"), std::string::npos);
        EXPECT_EQ(mixed(false).find("gradients in two bases"), std::string::npos);
        EXPECT_EQ(mixed(false).rfind("[optimizer] the state of 'w' is of dense gradients of shape "
                                     "(5, 8), and now comes a compressed one of shape (5, 3)",
                                     0),
                  0u);
        // Zeros are the same in every space: those that a checkpoint before the first step holds.
        Model model;
        const auto optimizer = make_optimizer(model, {.name = name, .lr = 0.1, .momentum = 0.9});
        optimizer->visit_state([](const std::string&, Tensor&) {});
        model.set_gradients(0, 0);
        EXPECT_EQ(error_of([&] { optimizer->step(); }), "no error");
    }
}

TEST(Spaces, OnlyThoseOfTheModelCanBeSet) {
    Model model;
    const auto optimizer = make_optimizer(model, {.name = "adam"});
    const auto refused = [&](const StateSpace& space) {
        return error_of([&] { optimizer->set_spaces({space}); });
    };
    EXPECT_EQ(refused({"moments.w", {m, r}, 2}), "no error");
    EXPECT_EQ(optimizer->spaces().size(), 1u);
    EXPECT_EQ(refused({"moments.x", {m, r}, 2}),
              "[optimizer] the state has no place for 'moments.x'");
    EXPECT_EQ(refused({"basis.w", {m, r}, 2}), "[optimizer] the state has no place for 'basis.w'");
    for (const Shape& shape :
         {Shape{m, n + 1}, Shape{0, 3}, Shape{-1, 3}, Shape{1LL << 40, 1LL << 40}})
        EXPECT_NE(refused({"moments.w", shape, 0}), "no error");
}

TEST(Spaces, ClippingTakesTheNormOfTheCompressedValue) {
    Model model;
    model.set_gradients(0, 0);
    model.b.grad = Tensor::zeros({m});
    const Tensor g = model.w.grad.value.clone();
    const double norm = std::sqrt(sum_squares(g));
    EXPECT_NEAR(clip_grad_norm(model, 2 * norm), norm, tolerance * norm);
    EXPECT_TRUE(identical(model.w.grad.value, g));
    EXPECT_NEAR(clip_grad_norm(model, norm / 2), norm, tolerance * norm);
    EXPECT_TRUE(model.w.grad.basis);
    EXPECT_NEAR(std::sqrt(sum_squares(model.w.grad.value)), norm / 2, 1e-4 * norm);
    model.w.grad.value = Tensor::zeros({m, r + 1});
    EXPECT_THROW(clip_grad_norm(model, 1), Error);

    // Which is, over draws, that of the gradient: E ‖G Pᵀ‖² = ‖G‖² for P of N(0, 1/r).
    const Tensor exact = random({m, n}, "G");
    double sum = 0, squares = 0;
    constexpr int draws = 2000;
    for (int i = 0; i < draws; ++i) {
        const Tensor p = random({r, n}, "P", i) * static_cast<real>(1 / std::sqrt(double{r}));
        const double share =
            sum_squares(matmul(exact, p, Op::none, Op::transpose)) / sum_squares(exact);
        sum += share;
        squares += share * share;
    }
    const double mean = sum / draws, variance = squares / draws - mean * mean;
    EXPECT_LT(std::abs(mean - 1), 4 * std::sqrt(variance / draws));
}

}  // namespace
}  // namespace slimgrad
