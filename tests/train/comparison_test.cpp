// The comparison behind `slimgrad compare` and sg.compare, with runs of this process.
#include "train/comparison.h"

#include <set>

#include "train/comparison_figures.h"
#include "train/statistics.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

using Found = ComparedRun::Found;

class Comparison : public Train {
  protected:
    ComparisonOptions three_methods(bool resume = false) const {
        ComparisonOptions options;
        options.methods = {"vanilla", "instant:rank-x=4:rank-g=4", "instant:rank-x=8:rank-g=4"};
        options.out = (root_ / "cmp").string();
        options.resume = resume;
        options.base = small("", "vit-micro");
        options.base.augment = false;
        return options;
    }
    /// Trains here; the methods that were run, and what was found of them.
    json compared(const ComparisonOptions& options, std::int64_t stop_at = -1) {
        runs_.clear();
        notes_.clear();
        const auto run_one = [&](const ComparedRun& run) {
            runs_.emplace_back(run.method, run.found);
            TrainerOptions how = Train::options(stop_at);
            how.overwrite = run.found == Found::other;
            return run.found == Found::part ? Trainer(fs::path(run.config.out), how).run()
                                            : Trainer(run.config, how).run();
        };
        return compare(options, run_one, [&](const std::string& n) { notes_.push_back(n); });
    }

    std::vector<std::pair<std::string, Found>> runs_;
    std::vector<std::string> notes_;
};

TEST_F(Comparison, TwoSpecsOfOneMethodAreTwoRows) {
    ComparisonOptions options = three_methods();
    options.seeds = 2;
    const json document = compared(options);
    ASSERT_EQ(document["methods"].size(), 3u);
    EXPECT_EQ(document["runs"].size(), 6u);
    const json& vanilla = document["methods"][0];
    const json& instant = document["methods"][1];
    EXPECT_EQ(instant["method"], "instant:rank-x=4:rank-g=4");
    EXPECT_EQ(instant["seeds"], 2);
    EXPECT_EQ(instant["epochs"], 2);
    EXPECT_EQ(instant["mean_rank_x"]["mean"], 4);
    EXPECT_EQ(document["methods"][2]["mean_rank_x"]["mean"], 8);
    EXPECT_TRUE(vanilla["mean_rank_x"].is_null());
    // AdamW keeps two numbers of single precision for each parameter.
    const json run = read_json(fs::path(document["runs"][0].get<std::string>()) / "summary.json");
    EXPECT_EQ(vanilla["optimizer_bytes"]["mean"], 2 * run["bytes"]["parameters"].get<double>());
    EXPECT_EQ(document["majority_baseline"], run["majority_baseline"]);
    EXPECT_FALSE(document.contains("replaces"));
    EXPECT_EQ(read_json(root_ / "cmp" / "compare.json"), document);
    EXPECT_EQ(text_of(root_ / "cmp" / "compare.md"), comparison_table(document).markdown());
    EXPECT_TRUE(has(text_of(root_ / "cmp" / "report.html"), "instant · rank_g 4 · rank_x 8"));
}

TEST_F(Comparison, OnlyWhatIsLeftIsRun) {
    EXPECT_TRUE(compared(three_methods(), 3).is_null()) << "its first run was stopped";
    EXPECT_EQ(runs_.size(), 1u);
    EXPECT_TRUE(has(message([&] { compared(three_methods()); }), "holds another comparison"));
    const json document = compared(three_methods(/*resume=*/true));
    const std::vector<std::pair<std::string, Found>> expected{
        {"vanilla", Found::part},
        {"instant:rank-x=4:rank-g=4", Found::nothing},
        {"instant:rank-x=8:rank-g=4", Found::nothing}};
    EXPECT_EQ(runs_, expected);
    EXPECT_EQ(compared(three_methods(true)), document);
    EXPECT_TRUE(runs_.empty()) << "all are whole";

    ComparisonOptions anew = three_methods();
    anew.overwrite = true;
    EXPECT_TRUE(compared(anew, 3).is_null());
    EXPECT_EQ(runs_.front().second, Found::other);
    compared(three_methods(true));
    EXPECT_EQ(runs_[0].second, Found::part);
    EXPECT_EQ(runs_[2].second, Found::other) << "of the comparison that was replaced";
}

TEST_F(Comparison, WhatWillNotDoIsSaidBeforeTheFirstRun) {
    const auto refused = [&](auto change) {
        ComparisonOptions options = three_methods();
        change(options);
        std::string text = message([&] { compared(options); });
        EXPECT_TRUE(runs_.empty());
        EXPECT_FALSE(fs::exists(root_ / "cmp"));
        return text;
    };
    using C = ComparisonOptions;
    EXPECT_TRUE(has(refused([](C& c) { c.methods.push_back("vanilla"); }), "'vanilla' twice"));
    EXPECT_TRUE(has(refused([](C& c) { c.methods.push_back("vanilla:x"); }), "option=value"));
    EXPECT_TRUE(has(refused([](C& c) { c.methods.back() += ":seed=1"; }), "'seed' is not for a"));
    EXPECT_TRUE(has(refused([](C& c) { c.methods.push_back("lbp-wht:grid=4x4"); }),
                    "[compare] lbp-wht:grid=4x4: [patch_embed] the grid has 4x4 tokens"));
    EXPECT_TRUE(has(refused([](C& c) { c.methods.clear(); }), "a method at least, got none"));
    EXPECT_TRUE(has(refused([](C& c) { c.seeds = 0; }), "from 1 to 1000 as seeds, got 0"));
    EXPECT_TRUE(has(refused([](C& c) { c.base.lr = -1; }), "as lr, got -1"));
    EXPECT_TRUE(has(refused([](C& c) { c.resume = c.overwrite = true; }), "leave out one of"));
}

TEST_F(Comparison, OptionsThatDoNothingAreNoted) {
    ComparisonOptions options = three_methods();
    options.methods = {"vanilla:lr-step=3", "compress-x"};
    options.base.rank_g = 3;
    options.base.steps = 1;
    options.given = {"rank_g", "lr"};
    compared(options);
    EXPECT_EQ(notes_, (std::vector<std::string>{
                          "vanilla:lr-step=3: lr_step has no effect: the schedule is cosine",
                          "rank_g has no effect: the method is vanilla"}));
}

json summary_of(double accuracy, double best, double best_epoch, int epochs) {
    return {{"accuracy", accuracy},
            {"best_accuracy", best},
            {"best_accuracy_epoch", best_epoch},
            {"bytes", {{"optimizer", 3 << 20}}},
            {"epochs", std::vector<int>(static_cast<std::size_t>(epochs))}};
}

TEST(ComparisonFigures, TheBestEpochIsAColumnWhereThereIsMoreThanOne) {
    const auto table = [](const json& row) {
        const json document{{"methods", {row}}, {"majority_baseline", {{"accuracy", 0.5}}}};
        return comparison_table(document).rows;
    };
    const json row =
        comparison_row("instant", {summary_of(0.6, 0.75, 2, 3), summary_of(0.7, 0.75, 3, 3)});
    EXPECT_EQ(row["best_accuracy_epoch"]["mean"], 2.5);
    EXPECT_EQ(row["epochs"], 3);
    using Rows = std::vector<std::vector<std::string>>;
    EXPECT_EQ(table(row), (Rows{{"method", "accuracy %", "best accuracy %", "optimizer MiB"},
                                {"instant", "65.00 ± 7.07", "75.00 ± 0.00", "3.00 ± 0.00"},
                                {"majority class", "50.00", "-", "-"}}));
    EXPECT_EQ(table(comparison_row("vanilla", {summary_of(0.6, 0.6, 1, 1)})),
              (Rows{{"method", "accuracy %", "optimizer MiB"},
                    {"vanilla", "60.00", "3.00"},
                    {"majority class", "50.00", "-"}}));
}

TEST(StatisticsOfRuns, AreTheMeanAndTheDeviationOfTheSample) {
    EXPECT_TRUE(std::isnan(statistics({}).mean));
    EXPECT_EQ(to_string(statistics({0.5}), 2, 100, " %"), "50.00 %") << "one has no deviation";
    EXPECT_EQ(to_string(statistics({0.79, 0.81, 0.83}), 1, 100), "81.0 ± 2.0");
    EXPECT_EQ(to_string(statistics({2, 2}), 0), "2 ± 0");
}

}  // namespace
}  // namespace slimgrad
