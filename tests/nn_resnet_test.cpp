#include "nn/models/resnet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "autograd/ops.h"
#include "data/loader.h"
#include "data/safetensors.h"
#include "nn/gradcheck.h"
#include "nn/losses.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

std::int64_t count_parameters(Module& model) {
    std::int64_t n = 0;
    for (const Parameter* p : parameters(model)) n += p->value.numel();
    return n;
}

TEST(ResNet, HasTheParametersOfThePublishedModels) {
    for (const auto& [depth, values] :
         {std::pair{20, 271098}, {32, 466426}, {44, 661754}, {56, 857082}}) {
        ResNet model(depth, {});
        std::int64_t buffers = 0;
        for_each_buffer(model, [&](const std::string&, Tensor& t) { buffers += t.numel(); });
        EXPECT_EQ(count_parameters(model) + buffers, values);
    }
}

TEST(ResNet, PresentsThePublishedNames) {
    ResNet model(20, {});
    std::map<std::string, Shape> shapes;
    for_each_parameter(
        model, [&](const std::string& name, Parameter& p) { shapes[name] = p.value.shape(); });
    EXPECT_EQ(shapes.size(), 19u + 2 * 19 + 2);  // convolutions, normalisations, classifier
    EXPECT_EQ(shapes.at("conv1.weight"), (Shape{16, 3, 3, 3}));
    EXPECT_EQ(shapes.at("bn1.bias"), (Shape{16}));
    EXPECT_EQ(shapes.at("layer2.0.conv1.weight"), (Shape{32, 16, 3, 3}));
    EXPECT_EQ(shapes.at("layer3.2.bn2.weight"), (Shape{64}));
    EXPECT_EQ(shapes.at("linear.weight"), (Shape{10, 64}));
    EXPECT_EQ(shapes.at("linear.bias"), (Shape{10}));
}

TEST(ResNet, GradientsAgreeWithFiniteDifferences) {
    if constexpr (sizeof(real) == 4) GTEST_SKIP() << "needs double precision";
    ResNet model(8, {.channels = 2, .classes = 3});
    GradcheckOptions options;
    options.max_elements = 12;
    EXPECT_NO_THROW(gradcheck(model, random({2, 2, 8, 7}), options));
}

TEST(ResNet, TheShortcutOfOptionAHasNoParametersAndPadsChannels) {
    BasicBlock block(2, 4, 1, "block");
    // With weights of zero the branch is zero, and what is left is relu(shortcut(x)).
    for_each_parameter(block, [](const std::string&, Parameter& p) {
        std::ranges::fill(p.value.values(), real(0));
    });
    Tensor x = random({1, 2, 4, 5});
    for (real& value : x.values()) value = std::abs(value);
    Tape tape;
    const Tensor y = block.forward(tape.constant(x)).value();
    ASSERT_EQ(y.shape(), (Shape{1, 4, 2, 3}));
    for (std::int64_t c = 0; c < 4; ++c)
        for (std::int64_t i = 0; i < 2; ++i)
            for (std::int64_t j = 0; j < 3; ++j)
                EXPECT_EQ(y.at({0, c, i, j}),
                          c == 0 || c == 3 ? 0 : x.at({0, c - 1, 2 * i, 2 * j}));
}

TEST(ResNet, SameSeedSameBitsAndNothingIsLeftAfterBackward) {
    const Tensor x = random({4, 3, 16, 16});
    const std::vector<std::int32_t> labels{1, 2, 3, 4};
    std::vector<Tensor> gradients;
    for (int repeat = 0; repeat < 2; ++repeat) {
        ResNet model(20, {.seed = 7});
        Tape tape;
        const Var logits = model.forward(tape.constant(x));
        EXPECT_EQ(logits.shape(), (Shape{4, 10}));
        tape.backward(cross_entropy(logits, labels));
        EXPECT_EQ(ledger()[Category::saved].live, 0);
        gradients.push_back(parameters(model).front()->grad.value);
    }
    EXPECT_TRUE(identical(gradients[0], gradients[1]));
}

TEST(ResNet, IsKnownByNameAndTrainsItsLastBlocksAlone) {
    const auto model = make_model("resnet20", {});
    EXPECT_EQ(count_parameters(*make_model("resnet32", {})), 464154);
    select_train_blocks(*model, "last:1");
    std::string trained;
    for_each_parameter(*model, [&](const std::string& name, Parameter& p) {
        if (p.requires_grad) trained += name + " ";
    });
    EXPECT_EQ(trained,
              "layer3.2.conv1.weight layer3.2.bn1.weight layer3.2.bn1.bias layer3.2.conv2.weight "
              "layer3.2.bn2.weight layer3.2.bn2.bias linear.weight linear.bias ");
    EXPECT_NO_THROW(select_train_blocks(*model, "last:9"));
    EXPECT_THROW(select_train_blocks(*model, "last:10"), Error);
}

TEST(ResNet, ThePretrainedModelScoresWhatItsAuthorsReport) {
    if constexpr (sizeof(real) == 8) GTEST_SKIP() << "one precision is enough";
    const char* const variable = std::getenv("SLIMGRAD_SHARED_DATA");
    const std::filesystem::path shared = variable ? variable : "";
    const auto weights = shared / "weights/resnet-cifar10-akamaster/resnet20.safetensors";
    if (!variable || !std::filesystem::exists(weights)) GTEST_SKIP() << "set SLIMGRAD_SHARED_DATA";

    const auto model = make_model("resnet20", {});
    std::vector<NamedTensor> targets;
    for_each_parameter(*model, [&](const std::string& name, Parameter& parameter) {
        targets.push_back({name, parameter.value});
    });
    for_each_buffer(*model, [&](const std::string& name, Tensor& buffer) {
        targets.push_back({name, buffer});
    });
    load_tensors(SafeTensors::open(weights), targets);

    auto images = load_images("cifar10", (shared / "cifar-10-batches-bin").string());
    const Loader loader(std::make_shared<ImageData>(std::move(images.test)),
                        {.batch_size = 100, .shuffle = false});
    int right = 0;
    for (std::int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
        const Batch batch = loader.batch(step);
        TapeOptions evaluation;
        evaluation.training = evaluation.recording = false;
        Tape tape(evaluation);
        const Tensor logits = model->forward(tape.constant(batch.x)).value();
        for (std::int64_t i = 0; i < batch.size(); ++i) {
            const Tensor row = logits.rows(i, 1);
            const auto best = std::ranges::max_element(row.values()) - row.values().begin();
            right += best == batch.labels[static_cast<std::size_t>(i)];
        }
    }
    EXPECT_NEAR(right, 9173, 10);
}

TEST(ResNet, WrongShapesAndDepthsGiveOneClearLine) {
    ResNet model(8, {});
    Tape tape;
    try {
        model.forward(tape.constant(random({2, 1, 8, 8})));
        FAIL();
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(),
                     "[resnet] expected images (batch, 3, height, width), got (2, 1, 8, 8)");
    }
    EXPECT_THROW(ResNet(18, {}), Error);
    EXPECT_THROW(ResNet(2, {}), Error);
}

}  // namespace
}  // namespace slimgrad
