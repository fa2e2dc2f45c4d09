// The published models of images against torchvision and timm in float64 (tests/golden/vision.py):
// logits, all gradients, and running statistics, with values that both sides draw by name.
#include <gtest/gtest.h>

#include "golden/golden.h"
#include "nn/models/model.h"

namespace slimgrad {
namespace {

constexpr bool is_double = sizeof(real) == 8;
constexpr std::uint64_t seed = 31;

const GoldenFile& golden() {
    static const GoldenFile file("vision");
    return file;
}

class PublishedModels : public ::testing::TestWithParam<std::string> {
  protected:
    PublishedModels() {
        const auto fill = [&](const std::string& name, Tensor& value) {
            value.copy_from(golden_initial(seed, prefix_ + theirs(name), value.shape()));
        };
        for_each_parameter(*model_,
                           [&](const std::string& name, Parameter& p) { fill(name, p.value); });
        for_each_buffer(*model_, fill);
    }

    /// What the other library calls a parameter or buffer.
    std::string theirs(const std::string& name) {
        for (const auto& parts : file_names(dynamic_cast<BlockModel&>(*model_).aliases(), name))
            for (const char* kind : {"grad.", "after."})
                if (parts.size() == 1 && golden().has(prefix_ + kind + parts[0])) return parts[0];
        fail("[golden] {} has no place for {}", GetParam(), name);
    }

    /// The error of a sum is relative to that of the absolute values, that of an element to their
    /// mean.
    void expect_summary(const std::string& key, const Tensor& got) {
        const Tensor expected = golden()[prefix_ + key];
        const auto found = golden_summary(got);
        // A bias before a convolution with a normalisation behind it has a gradient of 0 but for
        // rounding.
        const auto n = static_cast<double>(got.numel());
        const double total = std::max(double{expected.data()[1]}, 1e-3 * n), mean = total / n;
        double error = 0;
        for (std::size_t i = 0; i < 4; ++i)
            error = std::max(
                error, std::abs(found[i] - double{expected.data()[i]}) / (i < 2 ? total : mean));
        expect_error_within(1e-9, error, key);
    }

    const std::string prefix_ = GetParam() + "/";
    const std::int64_t side_ = GetParam() == "efficientformer-l1" ? 224 : 64;  // 7x7 tokens
    const std::unique_ptr<Module> model_ =
        make_model(GetParam(), {.height = side_, .width = side_, .classes = 10});
};

TEST_P(PublishedModels, LogitsAndGradientsAreThoseOfTheOtherLibrary) {
    const Tensor x = golden_values(seed, {4, 3, side_, side_}, prefix_ + "x", 0, 0, 1);
    const Tensor g = golden_values(seed, {4, 10}, prefix_ + "g", 0, 0, 1);
    {
        Tape tape({.training = false, .recording = false});
        expect_close("logits_eval", model_->forward(tape.constant(x)).value(),
                     golden()[prefix_ + "logits_eval"], is_double ? 1e-9 : 1e-4);
    }
    Tape tape;
    const Var y = model_->forward(tape.constant(x));
    expect_close("logits", y.value(), golden()[prefix_ + "logits"], is_double ? 1e-9 : 1e-4);
    if (!is_double) return;  // near the kink of a ReLU rounding changes a gradient as a whole
    tape.backward(y, g);
    std::size_t found = 0;
    for_each_parameter(*model_, [&](const std::string& name, Parameter& p) {
        expect_summary("grad." + theirs(name), p.grad.dense());
        ++found;
    });
    EXPECT_EQ(found, golden().keys(prefix_ + "grad.").size());
    for_each_buffer(*model_, [&](const std::string& name, Tensor& buffer) {
        expect_summary("after." + theirs(name), buffer);
    });
}

INSTANTIATE_TEST_SUITE_P(Golden, PublishedModels,
                         ::testing::Values("resnet18", "resnet50", "mobilenetv2",
                                           "efficientnet-lite0", "efficientformer-l1",
                                           "efficientformerv2-s0", "swinv2-s",
                                           "deit-ti"),
                         [](const auto& info) {
                             std::string name = info.param;
                             std::ranges::replace(name, '-', '_');
                             return name;
                         });

}  // namespace
}  // namespace slimgrad
