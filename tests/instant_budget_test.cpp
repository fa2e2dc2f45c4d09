// budget: the ranks of all slots from one number.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "autograd/ops.h"
#include "instant/calibration/budget.h"
#include "instant/calibration/calibrator.h"
#include "instant/methods/options.h"
#include "nn/linear.h"
#include "tensor/meter.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

using Ranks = std::vector<std::int64_t>;

double cost_of(const std::vector<SlotChoice>& slots, const Ranks& ranks) {
    double cost = 0;
    for (std::size_t i = 0; i < slots.size(); ++i)
        cost += slots[i].flops_of_rank * static_cast<double>(ranks[i]);
    return cost;
}

double share_of(const std::vector<SlotChoice>& slots, const Ranks& ranks) {
    double sum = 0;
    for (std::size_t i = 0; i < slots.size(); ++i)
        sum = std::accumulate(slots[i].shares.begin(), slots[i].shares.begin() + ranks[i], sum);
    return sum;
}

/// The largest sum of shares that the cost can buy, by trying all.
double best_share(const std::vector<SlotChoice>& slots, double flops) {
    double best = 0;
    Ranks ranks;
    const std::function<void(std::size_t)> choose = [&](std::size_t i) {
        if (i == slots.size()) {
            if (cost_of(slots, ranks) <= flops) best = std::max(best, share_of(slots, ranks));
            return;
        }
        for (std::int64_t rank = slots[i].least; rank <= slots[i].most; ++rank) {
            ranks.push_back(rank);
            choose(i + 1);
            ranks.pop_back();
        }
    };
    choose(0);
    return best;
}

std::vector<SlotChoice> three_slots(double cost_of_second) {
    return {{{0.5, 0.2, 0.15, 0.1, 0.05}, 1, 1, 5},
            {{0.9, 0.06, 0.03, 0.01}, cost_of_second, 1, 4},
            {{0.25, 0.25, 0.25, 0.25}, 1, 1, 4}};
}

TEST(Budget, OfEqualCostsNoChoiceKeepsMore) {
    const std::vector<SlotChoice> slots = three_slots(1);
    for (double flops = 3; flops <= 14; ++flops) {
        const Ranks ranks = ranks_within(flops, slots);
        EXPECT_DOUBLE_EQ(cost_of(slots, ranks), std::min(flops, 13.0));
        EXPECT_NEAR(share_of(slots, ranks), best_share(slots, flops), 1e-12) << flops;
    }
}

TEST(Budget, OfOtherCostsItLosesLessThanItsLastDirection) {
    const std::vector<SlotChoice> slots = three_slots(2.5);
    for (double flops = 4.5; flops <= 20; flops += 0.5) {
        const Ranks ranks = ranks_within(flops, slots);
        EXPECT_LE(cost_of(slots, ranks), flops);
        EXPECT_GE(share_of(slots, ranks), best_share(slots, flops) - 0.06) << flops;
    }
}

TEST(Budget, LeastRanksAreKeptAndFixedOnesDoNotGrow) {
    std::vector<SlotChoice> slots = three_slots(1);
    EXPECT_EQ(ranks_within(0, slots), (Ranks{1, 1, 1}));
    slots[0].least = slots[0].most = 3;
    EXPECT_EQ(ranks_within(1000, slots), (Ranks{3, 4, 4}));
    slots[2].shares = {1, 0, 0, 0};  // what holds nothing is not bought
    EXPECT_EQ(ranks_within(1000, slots), (Ranks{3, 4, 1}));
}

constexpr std::int64_t batch = 4, tokens = 12, width = 40, wide = 60;

struct Two final : Module {
    Two() { name_modules(*this); }
    Var forward(const Var& x) override { return second.forward(first.forward(x)); }
    void visit(Visitor& visitor) override {
        visitor.module("first", first);
        visitor.module("second", second);
    }
    std::string kind() const override { return "two"; }
    Stream stream{1, "two"};
    Linear first{width, wide, stream}, second{wide, width, stream};
};

std::int64_t backward_flops(Two& model) {
    Tape tape;
    meter().reset();
    const Var y = model.forward(tape.input(random({batch, tokens, width}, 5)));
    tape.backward(y, random({batch, tokens, width}, 6));
    return meter().phase("compress") + meter().phase("g_w") + meter().phase("g_x");
}

MethodOptions budgeted(double budget) {
    MethodOptions options{.method = "instant", .side = "token", .batch = batch};
    options.own.set("[test]", budget_option(), budget);
    return options;
}

TEST(Budget, BackwardCostsAtMostThatShareOfTheExactOne) {
    Two model;
    const auto exact = static_cast<double>(backward_flops(model));
    double before = 0;
    for (const double budget : {0.2, 0.35, 0.5, 0.8}) {
        Calibrator calibrator(model, budgeted(budget));
        calibrator.calibrate([&] { backward_flops(model); });
        const double share = static_cast<double>(backward_flops(model)) / exact;
        EXPECT_LE(share, budget);
        EXPECT_GT(share, budget - 0.05);  // one direction of one slot costs less than that
        EXPECT_GT(share, before);
        before = share;
    }
}

TEST(Budget, FixedRanksStayAndAreRestored) {
    Two model;
    MethodOptions options = budgeted(0.5);
    options.rank_x = 2;
    Calibrator calibrator(model, options);
    calibrator.calibrate([&] { backward_flops(model); });
    for (const LayerRanks& layer : calibrator.ranks()) {
        EXPECT_EQ(layer.rank_x, 2);
        EXPECT_GT(layer.rank_g.value_or(0), 2);
    }
    const std::int64_t flops = backward_flops(model);
    Calibrator other(model, options);
    other.restore(calibrator.state());
    EXPECT_EQ(backward_flops(model), flops);
}

TEST(Budget, ThatBuysNotEvenTheLeastIsRefused) {
    Two model;
    MethodOptions fixed = budgeted(0.3), random = fixed;
    fixed.rank_x = 11;
    random.own.set("[test]", complement_option(), std::int64_t{10});
    for (const MethodOptions& options : {budgeted(0.001), fixed, random}) {
        Calibrator calibrator(model, options);
        EXPECT_THROW(calibrator.calibrate([&] { backward_flops(model); }), Error);
        EXPECT_EQ(model.first.rule(), ExactRule::instance()) << "the old rules stay";
    }
}

TEST(Budget, RanksThatItWouldChooseAreIdle) {
    MethodOptions options = budgeted(0.5);
    const auto says = [&](const std::string& name) {
        for (const Idle& idle : idle_method_options(options))
            if (idle.idle && std::ranges::find(idle.names, name) != idle.names.end()) return true;
        return false;
    };
    EXPECT_TRUE(says("epsilon"));
    EXPECT_TRUE(says("oversample"));
    EXPECT_FALSE(says("budget"));
    options.rank_x = options.rank_g = 3;
    EXPECT_TRUE(says("budget"));
    options.rank_g.reset();
    EXPECT_FALSE(says("budget"));
}

TEST(Budget, IsAShare) {
    for (const double wrong : {0.0, -1.0, 1.5}) {
        MethodOptions options{.method = "instant"};
        EXPECT_THROW(options.own.set("[test]", budget_option(), wrong), Error) << wrong;
    }
}

}  // namespace
}  // namespace slimgrad
