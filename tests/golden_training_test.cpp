#include <gtest/gtest.h>

#include <array>

#include "golden/golden.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "optim/optimizer.h"
#include "tensor/ops.h"
#include "tensor/random.h"

// Training against PyTorch in float64, from the same initial weights and batches
// (tests/golden/training.py). Nothing here is drawn from a language's own generator: both sides
// make weights and batches from slimgrad's integer streams, with values that are exact in float.

namespace slimgrad {
namespace {

constexpr bool is_double = sizeof(real) == 8;
constexpr std::uint64_t seed = 20;

const GoldenFile& golden() {
    static const GoldenFile file("training");
    return file;
}

struct Recipe {
    std::string model;
    std::int64_t batch;
    OptimizerOptions options;

    friend void PrintTo(const Recipe& recipe, std::ostream* out) { *out << recipe.model; }
};

class Training : public ::testing::TestWithParam<Recipe> {
  protected:
    void SetUp() override {
        for_each_parameter(*model_, [](const std::string& path, Parameter& p) {
            p.value = golden_initial(seed, path, p.value.shape());
        });
    }

    /// The loss of a step, with the gradients of all parameters.
    double forward_and_backward(std::uint64_t step) {
        const std::uint64_t batch = step % 5;
        const Tensor x = golden_values(seed, {run_.batch, 3, 32, 32}, prefix_ + "x", batch, 0, 1);
        Stream draw(seed, prefix_ + "labels", batch);
        std::vector<std::int32_t> labels(static_cast<std::size_t>(run_.batch));
        for (auto& label : labels) label = static_cast<std::int32_t>((draw() >> 16) % 10);
        zero_grad(*model_);
        Tape tape;
        const Var loss = cross_entropy(model_->forward(tape.constant(x)), labels);
        tape.backward(loss);
        return loss.value().item();
    }

    double gradient_norm() {
        double squares = 0;
        for (const Parameter* p : parameters(*model_)) squares += sum_squares(p->grad.dense());
        return std::sqrt(squares);
    }

    void expect_end(const std::string& path, const Tensor& t) {
        const Tensor expected = golden()[prefix_ + "end." + path];
        const auto got = golden_summary(t);
        const double total = expected.data()[1], mean = total / static_cast<double>(t.numel());
        double error = 0;
        for (std::size_t i = 0; i < 4; ++i)
            error = std::max(error, std::abs(got[i] - expected.data()[i]) / (i < 2 ? total : mean));
        expect_error_within(1e-5, error, "end." + path);
    }

    const Recipe& run_ = GetParam();
    const std::string prefix_ = run_.model + "/";
    const std::unique_ptr<Module> model_ = make_model(run_.model, {});
};

// The double build follows PyTorch within 1e-5 at every step. The float build is compared with the
// same float64 losses within 1e-4, for the first three steps: after that rounding grows with the
// training itself.
TEST_P(Training, FollowsPyTorch) {
    const auto optimizer = make_optimizer(*model_, run_.options);
    const Tensor losses = golden()[prefix_ + "loss"];
    const std::int64_t steps = is_double ? losses.numel() : 3;
    for (std::int64_t step = 0; step < steps; ++step) {
        const double loss = forward_and_backward(static_cast<std::uint64_t>(step));
        expect_error_within(is_double ? 1e-5 : 1e-4, std::abs(loss / losses.data()[step] - 1),
                            fmt::format("loss.{}", step));
        if (step == 0) {
            const double norm = golden()[prefix_ + "grad_norm"].item();
            expect_error_within(is_double ? 1e-9 : 1e-4, std::abs(gradient_norm() / norm - 1),
                                "grad_norm");
        }
        optimizer->step();
    }
    if (!is_double) return;

    std::set<std::string> unseen = golden().keys(prefix_ + "end.");
    for_each_parameter(*model_, [&](const std::string& path, Parameter& p) {
        expect_end(path, p.value);
        unseen.erase(path);
    });
    for_each_buffer(*model_, [&](const std::string& path, Tensor& buffer) {
        expect_end(path, buffer);
        unseen.erase(path);
    });
    EXPECT_TRUE(unseen.empty()) << *unseen.begin() << " is PyTorch's but not slimgrad's";
}

OptimizerOptions sgd(double lr, bool nesterov, double weight_decay) {
    OptimizerOptions options{.name = "sgd", .lr = lr};
    options.momentum = 0.9;
    options.nesterov = nesterov;
    options.weight_decay = weight_decay;
    return options;
}

INSTANTIATE_TEST_SUITE_P(
    Golden, Training,
    ::testing::Values(Recipe{"mlp", 16, sgd(0.05, true, 1e-3)},
                      Recipe{"vit-tiny", 2, {.name = "adamw", .lr = 1e-4, .weight_decay = 0.05}},
                      Recipe{"resnet20", 4, sgd(0.005, false, 5e-4)}),
    [](const auto& info) {
        std::string name = info.param.model;
        std::ranges::replace(name, '-', '_');
        return name;
    });

TEST(GoldenTraining, StreamIsTheOneThatPyTorchsSideDraws) {
    Stream stream(seed, "stream", 3);
    const Tensor words = golden()["stream"];
    for (const real word : words.values()) EXPECT_EQ(static_cast<real>(stream()), word);
}

}  // namespace
}  // namespace slimgrad
