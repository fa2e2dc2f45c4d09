// Calibrations that meet nothing, too little or nonsense, on whole models.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "instant/calibration/calibrator.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 4;

/// A model on random images, and one training step of it.
struct Case {
    explicit Case(const std::string& name, std::int64_t side = 16, double dropout = 0)
        : model(make_model(name, {.height = side, .width = side, .dropout = dropout})) {
        Stream stream(3, "images");
        x = normal({batch, 3, side, side}, 0, 1, stream);
    }
    /// Samples [begin, begin + count), their loss weighted by their share of the batch.
    void run(std::int64_t begin = 0, std::int64_t count = batch) {
        TapeOptions options;
        options.update_statistics = false;
        options.seed = 5;
        options.first_sample = begin;
        Tape tape(options);
        const std::vector<std::int32_t> labels = {1, 0, 2, 9};
        const Var loss = cross_entropy(model->forward(tape.constant(x.rows(begin, count))),
                                       std::span(labels).subspan(static_cast<std::size_t>(begin),
                                                                 static_cast<std::size_t>(count)));
        tape.backward(loss, Tensor::full(loss.shape(), static_cast<real>(count) / batch));
    }
    void run_split(std::int64_t parts) {
        for (std::int64_t part = 0; part < parts; ++part) {
            run(part * batch / parts, batch / parts);
            zero_grad(*model);
        }
    }
    Parameter& parameter(const std::string& path) {
        Parameter* found = nullptr;
        for_each_parameter(*model, [&](const std::string& name, Parameter& p) {
            if (name == path) found = &p;
        });
        require(found != nullptr, "[test] no parameter '{}'", path);
        return *found;
    }
    std::vector<Tensor> gradients() {
        zero_grad(*model);
        run();
        std::vector<Tensor> all;
        for (Parameter* p : parameters(*model)) all.push_back(p->grad.dense().clone());
        zero_grad(*model);
        return all;
    }

    std::unique_ptr<Module> model;
    Tensor x;
};

MethodOptions instant(std::int64_t oversample = 0) {
    MethodOptions options;
    options.method = "instant";
    options.oversample = oversample;
    return options;
}

bool finite(const Tensor& t) {
    return std::ranges::all_of(t.values(), [](real v) { return std::isfinite(v); });
}

TEST(Degenerate, AllZeroGradientsGiveOneDirectionAndTheOversampledOnes) {
    Case c("vit-micro");
    Tensor& head = c.parameter("head.weight").value;
    std::fill_n(head.data(), head.numel(), real(0));  // nothing reaches the layers below
    Calibrator calibrator(*c.model, instant(2));
    calibrator.calibrate([&] { c.run(); });
    bool any = false;
    for (const LayerRanks& layer : calibrator.ranks())
        if (layer.g) {
            any = true;
            EXPECT_EQ(layer.rank_g, 3) << layer.name;  // min(1 + p, dim)
            EXPECT_EQ(layer.g->energy, 1) << layer.name;
            EXPECT_EQ(layer.g->signal, 1) << layer.name;
        }
    EXPECT_TRUE(any);
    for (const Tensor& gradient : c.gradients()) EXPECT_TRUE(finite(gradient));
    zero_grad(*c.model);
    c.run();
    EXPECT_EQ(sum_squares(c.parameter("blocks.0.fc1.weight").grad.dense()), 0);
}

TEST(Degenerate, AModelWithoutTokensStaysExactAndSaysSo) {
    Case c("mlp");
    const std::vector<Tensor> exact = c.gradients();
    Calibrator calibrator(*c.model, instant());
    calibrator.calibrate([&] { c.run(); });
    for (const LayerRanks& layer : calibrator.ranks()) {
        EXPECT_FALSE(layer.rank_x || layer.rank_g || layer.x || layer.g) << layer.name;
        EXPECT_FALSE(layer.note.empty()) << layer.name;
    }
    const std::vector<Tensor> after = c.gradients();
    for (std::size_t i = 0; i < exact.size(); ++i) EXPECT_TRUE(identical(after[i], exact[i]));
}

TEST(Degenerate, RanksAreCutToTheAxisAndThenEqualVanilla) {
    for (const std::optional<Side> side :
         {std::optional(Side::token), std::optional(Side::channel), std::optional<Side>()}) {
        Case c("vit-micro");
        const std::vector<Tensor> exact = c.gradients();
        MethodOptions options = instant();
        options.rank_x = options.rank_g = 100'000;
        options.side = to_string(side);
        Calibrator calibrator(*c.model, options);
        calibrator.calibrate([&] { c.run(); });
        for (const LayerRanks& layer : calibrator.ranks()) {
            if (!layer.x) continue;
            EXPECT_EQ(layer.x->rank, layer.x->dim);
            EXPECT_NEAR(layer.x->energy, 1, 1e-12);
        }
        const std::vector<Tensor> full = c.gradients();
        for (std::size_t i = 0; i < exact.size(); ++i)
            EXPECT_LE(std::sqrt(sum_squares(full[i] - exact[i])),
                      (sizeof(real) == 8 ? 1e-11 : 1e-3) * std::sqrt(sum_squares(exact[i])) + 1e-9);
    }
}

TEST(Degenerate, FewerSamplesThanDirectionsStillGiveOrthonormalBases) {
    Case c("resnet20", 8);
    MethodOptions options = instant();
    options.rank_x = options.rank_g = 100;
    options.side = "channel";
    options.offset = "none";
    Calibrator calibrator(*c.model, options);
    calibrator.calibrate([&] { c.run(0, 1); });  // at most 64 rows of 144 channels
    for (const Calibrator::SlotState& slot : calibrator.state()) {
        const Tensor gram = matmul(slot.basis, slot.basis, Op::none, Op::transpose);
        Tensor identity = Tensor::zeros(gram.shape());
        for (std::int64_t i = 0; i < gram.size(0); ++i) identity.at({i, i}) = 1;
        EXPECT_LT(std::sqrt(sum_squares(gram - identity)), 1e-4) << slot.name;
    }
    for (const Tensor& gradient : c.gradients()) EXPECT_TRUE(finite(gradient));
}

// What is not finite spreads over all layers; the error names the one where it began.
TEST(Degenerate, StatisticsThatAreNotFiniteNameTheLayerWhereThatBegan) {
    for (const real bad :
         {std::numeric_limits<real>::quiet_NaN(), std::numeric_limits<real>::infinity()}) {
        Case c("vit-micro");
        Calibrator calibrator(*c.model, instant());
        calibrator.calibrate([&] { c.run(); });
        const std::vector<LayerRanks> before = calibrator.ranks();

        c.x.data()[c.x.numel() / 2] = bad;
        const std::string in_x = error_of([&] { calibrator.calibrate([&] { c.run(); }); });
        EXPECT_NE(in_x.find("[patch_embed] calibration saw values of x"), std::string::npos)
            << in_x;
        c.x.data()[c.x.numel() / 2] = 0;
        EXPECT_EQ(calibrator.ranks().at(1).rank_x, before.at(1).rank_x) << "the old rules stay";

        c.parameter("blocks.1.fc1.weight").value.data()[0] = bad;
        const std::string in_forward = error_of([&] { calibrator.calibrate([&] { c.run(); }); });
        EXPECT_NE(in_forward.find("[blocks.1.fc2] calibration saw values of x"), std::string::npos)
            << in_forward;

        MethodOptions options = instant();
        options.method = "compress-gy";
        Calibrator of_g(*c.model, options);
        const std::string in_g = error_of([&] { of_g.calibrate([&] { c.run(); }); });
        EXPECT_NE(in_g.find("[blocks.3.fc2] calibration saw values of g_y"), std::string::npos)
            << in_g;
    }
}

/// The sine of the largest principal angle between the row spaces of two orthonormal bases, or
/// more.
double largest_angle(const Tensor& a, const Tensor& b) {
    const Tensor inside = matmul(matmul(b, a, Op::none, Op::transpose), a);
    return std::sqrt(sum_squares(b - inside));
}

TEST(Calibration, TheSplitOfABatchGivesTheSameSpaces) {
    for (const std::optional<Side> side : {std::optional<Side>(), std::optional(Side::channel)}) {
        MethodOptions options = instant(2);
        options.offset = "none";
        options.side = to_string(side);
        Case c("vit-micro", 16, /*dropout=*/0.1);
        std::vector<Calibrator::State> states;
        for (const std::int64_t parts : {1, 2, 4}) {
            Calibrator calibrator(*c.model, options);
            calibrator.calibrate([&] { c.run_split(parts); });
            states.push_back(calibrator.state());
        }
        for (std::size_t i = 1; i < states.size(); ++i) {
            ASSERT_EQ(states[i].size(), states[0].size());
            for (std::size_t k = 0; k < states[0].size(); ++k) {
                const auto &one = states[0][k], &other = states[i][k];
                ASSERT_EQ(one.basis.shape(), other.basis.shape()) << one.name;
                EXPECT_LT(largest_angle(one.basis, other.basis), sizeof(real) == 8 ? 1e-6 : 0.5)
                    << one.name;
            }
        }
    }
}

}  // namespace
}  // namespace slimgrad
