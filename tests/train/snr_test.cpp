#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "../temporary.h"
#include "nn/linear_map.h"
#include "train/figures.h"
#include "train/method_study.h"
#include "train/probe.h"
#include "train/spectrum_study.h"
#include "train/trainer.h"

namespace slimgrad {
namespace {

/// A short run of a small transformer, trained once for all tests of this file.
class SnrRun : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        directory_ = new TemporaryDirectory;
        TrainConfig config;
        config.model = "vit-micro";
        config.method = "instant";
        config.oversample = 2;
        config.dropout = 0.1;
        config.limit_train = 64;
        config.limit_test = 16;
        config.batch = 16;
        config.threads = 1;
        config.steps = 6;
        config.out = (*directory_ / "run").string();
        TrainerOptions options;
        options.quiet = true;
        Trainer(config, options).run();
    }
    static void TearDownTestSuite() { delete directory_; }
    static std::filesystem::path run() { return *directory_ / "run"; }

    static std::map<std::string, std::string> contents() {
        std::map<std::string, std::string> files;
        for (const auto& entry : std::filesystem::directory_iterator(run()))
            files[entry.path().filename().string()] = get(entry.path());
        return files;
    }
    static RunStudyOptions few() { return {.calibrate_batches = 2, .batches = 2}; }

  private:
    static inline TemporaryDirectory* directory_ = nullptr;
};

TEST_F(SnrRun, IsOpenedWhereItStoppedAndNeverWritten) {
    const auto before = contents();
    RunProbe probe(run());
    EXPECT_EQ(probe.step(), 6);
    const Tensor w = linear_maps(probe.model())[1]->weight().value.clone();
    probe.train(6, 1e-2);
    EXPECT_FALSE(identical(w, linear_maps(probe.model())[1]->weight().value));
    probe.rewind();
    EXPECT_TRUE(identical(w, linear_maps(probe.model())[1]->weight().value));
    snr_subjects(probe, few());
    EXPECT_EQ(contents(), before);
    expect_error([] { RunProbe("no run here"); }, {"no run here", "holds no run"});
}

TEST_F(SnrRun, RanksAreThoseOfTheCalibrator) {
    RunProbe probe(run());
    MethodOptions method = probe.config().method_options();
    Calibrator calibrator(probe.model(), method);
    calibrator.calibrate([&] {
        for (std::int64_t i = 0; i < 2; ++i) probe.pass(probe.step() + i);
    });
    std::map<std::string, std::int64_t> ranks;
    for (const LayerRanks& layer : calibrator.ranks())
        if (layer.rank_g) ranks[layer.name] = *layer.rank_g;
    const auto subjects = snr_subjects(probe, few());
    ASSERT_EQ(subjects.size(), ranks.size());
    for (const SnrSubject& subject : subjects)
        EXPECT_EQ(snr_row(subject, {.oversample = 2}).theory.rank, ranks.at(subject.name))
            << subject.name;
}

TEST_F(SnrRun, SpectraHoldTheEnergyThatTheirRanksClaim) {
    RunProbe probe(run());
    const auto rows = spectrum_study(probe, {0.8, 0.95}, few());
    const auto subjects = snr_subjects(probe, few());
    ASSERT_EQ(rows.size(), 2 * subjects.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const SpectrumRow& row = rows[i];
        const SnrSubject& subject = subjects[i % subjects.size()];
        EXPECT_EQ(row.name, subject.name);
        EXPECT_EQ(row.eigenvalues.all, snr_row(subject, {.epsilon = row.epsilon}).theory.rank)
            << row.name;
        EXPECT_EQ(row.samples, 32);
        for (const DirectionCounts* values : {&row.eigenvalues, &row.singular_values}) {
            const auto held = [&](std::int64_t count) {
                return count == 0 ? 0 : values->energy.at(static_cast<std::size_t>(count) - 1);
            };
            EXPECT_GE(held(values->all), row.epsilon);
            EXPECT_LT(held(values->all - 1), row.epsilon);
            EXPECT_NEAR(values->energy.back(), 1, 1e-9);
            EXPECT_TRUE(std::ranges::is_sorted(values->energy));
            EXPECT_GE(values->sample, 1);
            EXPECT_LE(values->sample, static_cast<double>(values->sample_max));
            EXPECT_LE(values->sample_max, row.dim);
        }
        // Squares favour the largest: of the eigenvalues fewer are needed than of their roots.
        EXPECT_LE(row.eigenvalues.all, row.singular_values.all);
        EXPECT_LE(row.eigenvalues.sample, row.singular_values.sample);
        const std::vector<double>& sigma = subject.modes.sigma;
        EXPECT_NEAR(row.singular_values.energy.front(),
                    sigma.front() / std::accumulate(sigma.begin(), sigma.end(), 0.0), 1e-9);
    }
    // What one direction makes of all samples, it makes of each.
    EXPECT_EQ(rows.back().name, "blocks.3.fc2");
    EXPECT_EQ(rows.back().eigenvalues.all, 1);
    EXPECT_EQ(rows.back().eigenvalues.sample_max, 1);
}

// Noise is what the compressed g_x of a layer alone lacks: one fact, measured twice.
TEST_F(SnrRun, LocalErrorsAreTheNoiseOfTheRatio) {
    RunProbe probe(run());
    MethodOptions method = probe.config().method_options();
    method.offset = "energy";
    const auto subjects = snr_subjects(probe, few());
    const ErrorStudy errors = error_study(probe, method, few());
    std::map<std::string, LayerError> local;
    for (const LayerError& error : errors.local) local[error.name] = error;
    for (const SnrSubject& subject : subjects) {
        const SnrRow row = snr_row(subject, {.oversample = 2, .offset = SnrOffset::energy});
        const double plain = subject.measurement.at(row.theory.rank, 1).value;  // kept / dropped
        const double alpha = row.theory.alpha;
        const double noise = alpha * alpha * plain / (row.measured.value * (1 + plain));
        EXPECT_NEAR(local.at(subject.name).gx.relative(), std::sqrt(noise), 2e-3) << subject.name;
    }
}

TEST_F(SnrRun, ErrorsGrowThroughDepthAndVanishAtFullRank) {
    RunProbe probe(run());
    MethodOptions method = probe.config().method_options();
    const ErrorStudy study = error_study(probe, method, few());
    ASSERT_EQ(study.local.size(), study.accumulated.size());
    // The last compressed layer is given the exact gradient in both.
    const auto last = study.local.size() - 2;
    EXPECT_NEAR(study.local[last].gx.relative(), study.accumulated[last].gx.relative(), 1e-5);
    EXPECT_GT(study.accumulated.front().gw.relative(), study.local.front().gw.relative());
    method.epsilon = 1;
    for (const LayerError& error : error_study(probe, method, few()).accumulated) {
        EXPECT_LT(error.gw.relative(), 1e-3) << error.name;
        EXPECT_NEAR(error.gw.cosine(), 1, 1e-5) << error.name;
    }
}

TEST_F(SnrRun, MethodsAreComparedByTheirGradients) {
    const auto before = contents();
    RunProbe probe(run());
    const MethodStudy study = method_study(
        probe, {{"vanilla", "instant", "sketch:keep-x=8", "random:rank=3", "lbp-wht:order=3"},
                {2, 6},
                3,
                few()});
    EXPECT_EQ(contents(), before);
    EXPECT_EQ(study.layers.size(), 16u);
    EXPECT_TRUE(study.rank_one.empty()) << "dropout after the last layer gives it more directions";
    std::map<std::string, std::vector<const MethodQuality*>> points;
    for (const MethodQuality& point : study.points) points[point.method].push_back(&point);
    EXPECT_EQ(points.at("instant").size(), 2u);
    EXPECT_EQ(points.at("optimum").size(), 2u);
    for (const char* fixed : {"vanilla", "random:rank=3", "lbp-wht:order=3"}) {
        ASSERT_EQ(points.at(fixed).size(), 1u);
        EXPECT_FALSE(points.at(fixed)[0]->rank) << fixed;
    }
    EXPECT_EQ(points.at("vanilla")[0]->flops, 1);
    EXPECT_EQ(points.at("vanilla")[0]->bytes, 1);
    for (std::size_t i = 0; i < study.layers.size(); ++i) {
        const auto error = [&](const char* method, std::size_t at, auto gradient) {
            const LayerDraws& layer = points.at(method)[at]->layers[i];
            EXPECT_EQ(layer.name, study.layers[i].name);
            return (layer.*gradient).error().value;
        };
        const std::string& name = study.layers[i].name;
        EXPECT_EQ(error("vanilla", 0, &LayerDraws::gx), 0) << name;
        for (const std::size_t at : {0u, 1u}) {
            EXPECT_LT(error("optimum", at, &LayerDraws::gx), error("instant", at, &LayerDraws::gx));
            EXPECT_LT(error("sketch:keep-x=8", at, &LayerDraws::gx),
                      error("instant", at, &LayerDraws::gx))
                << name;
        }
        EXPECT_LT(error("instant", 1, &LayerDraws::gw), error("instant", 0, &LayerDraws::gw));
        const LayerDraws &calibrated = points.at("instant")[0]->layers[i],
                         &drawn = points.at("random:rank=3")[0]->layers[i];
        EXPECT_EQ(calibrated.gx.variance().value, 0) << name;
        EXPECT_GT(drawn.gx.variance().value, 0) << name;
    }
    EXPECT_LT(*points.at("sketch:keep-x=8")[0]->bytes, 0.3);
    EXPECT_FALSE(points.at("optimum")[0]->flops);
    // A side that was asked for is that of the methods too.
    RunStudyOptions channels = few();
    channels.side = Side::channel;
    const auto flops = [&](const char* spec, const RunStudyOptions& how) {
        return method_study(probe, {{spec}, {2}, 1, how}).points.front().flops;
    };
    EXPECT_EQ(flops("sketch", channels), flops("sketch:side=channel", few()));
    EXPECT_NE(flops("sketch", channels), flops("sketch:side=token", channels));
    expect_error([&] { method_study(probe, {{"lora"}, {2}, 1, few()}); }, {"lora", "no other"});
    expect_error([&] { method_study(probe, {{"galore"}, {2}, 1, few()}); }, {"galore"});
}

TEST_F(SnrRun, StalenessStartsWhereCalibrationIs) {
    RunProbe probe(run());
    const auto rows = staleness_study(probe, probe.config().method_options(), {.oversample = 1},
                                      {0, 3}, 1e-2, few());
    ASSERT_EQ(rows.size(), 32u);
    for (const StalenessRow& row : rows) {
        if (row.steps == 0) {
            EXPECT_NEAR(row.stale.value / row.fresh.value, 1, 1e-3) << row.layer;
        }
        EXPECT_EQ(row.stale.samples, 32);
        EXPECT_GT(row.stale.value, 0);
    }
    expect_error(
        [&] {
            staleness_study(probe, probe.config().method_options(), {}, {3, 0}, 1e-2, few());
        },
        {"ascending"});
}

TEST(FiguresPage, HoldsItsDataAndLeavesGaps) {
    const double nan = std::nan("");
    const LineChart chart{.title = "a < b & \"c\"",
                          .x_label = "x",
                          .y_label = "</script>",
                          .series = {{.label = "one",
                                      .x = {1, 2, 3},
                                      .y = {1, nan, 4},
                                      .low = {0.5, nan, 3},
                                      .high = {2, nan, INFINITY}}},
                          .log_y = true,
                          .marks = {{2.5, "here"}, {INFINITY, "nowhere"}}};
    const std::string page =
        figures_page("t", "i", {{.id = "one", .title = "T", .caption = "C", .chart = chart}});
    EXPECT_NE(page.find("aria-label=\"a &lt; b &amp; &quot;c&quot;\""), std::string::npos);
    // Nothing in the data ends its element.
    const std::string before = "<script type=\"application/json\" id=\"data\">";
    const auto begin = page.find(before) + before.size();
    const auto data = nlohmann::json::parse(page.substr(begin, page.find("</script>") - begin));
    const nlohmann::json& series = data.at(0).at("series").at(0);
    EXPECT_EQ(data[0]["y_label"], "</script>");
    EXPECT_EQ(series["y"], nlohmann::json({1, nullptr, 4}));
    EXPECT_EQ(series["high"], nlohmann::json({2, nullptr, nullptr}));
    EXPECT_EQ(data[0]["marks"].size(), 1u);
}

}  // namespace
}  // namespace slimgrad
