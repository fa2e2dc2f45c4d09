#include <gtest/gtest.h>

#include "nn/conv2d.h"
#include "nn/gradcheck.h"
#include "nn/losses.h"
#include "nn/models/mlp.h"
#include "nn/models/vit.h"
#include "tensor/ops.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

ModelConfig config_of(std::int64_t channels, std::int64_t side, std::uint64_t seed = 0) {
    ModelConfig config;
    config.channels = channels;
    config.height = config.width = side;
    config.seed = seed;
    return config;
}

std::int64_t parameter_count(Module& model) {
    std::int64_t count = 0;
    for (const Parameter* p : parameters(model)) count += p->value.numel();
    return count;
}

TEST(Models, EveryNameBuildsRunsAndLeavesNothingSaved) {
    for (const std::string& name : model_names()) {
        if (name.starts_with("vit-b")) continue;  // as vit-ti16, and large
        const auto model = make_model(name, config_of(3, 32));
        const std::vector<std::int32_t> labels{1, 2};
        Tape tape;
        const Var y = model->forward(tape.constant(random({2, 3, 32, 32})));
        EXPECT_EQ(y.shape(), (Shape{2, 10})) << name;
        tape.backward(cross_entropy(y, labels));
        EXPECT_EQ(ledger()[Category::saved].live, 0) << name;
        for (const Parameter* p : parameters(*model)) EXPECT_TRUE(p->grad.defined()) << name;
    }
}

TEST(Models, SizesOfTheVisionTransformers) {
    const auto blocks = [](std::int64_t c) { return 12 * c * c + 13 * c; };
    const auto rest = [](std::int64_t c) { return 48 * c + c + 64 * c + 2 * c + 10 * c + 10; };
    EXPECT_EQ(parameter_count(*make_model("vit-tiny", config_of(3, 32))),
              6 * blocks(192) + rest(192));
    EXPECT_EQ(parameter_count(*make_model("vit-micro", config_of(3, 32))),
              4 * blocks(96) + rest(96));
}

TEST(Models, UnknownNamesAndBadSizesAreErrors) {
    try {
        make_model("vit-giant", {});
        FAIL();
    } catch (const Error& error) {
        const std::string message = error.what();
        EXPECT_NE(message.find("'vit-giant'; known: mlp, vit-micro, vit-tiny"), std::string::npos)
            << message;
    }
    EXPECT_THROW(make_model("mlp", config_of(0, 32)), Error);
    EXPECT_THROW(make_model("vit-tiny", config_of(3, 31)), Error);
    const auto model = make_model("vit-micro", config_of(1, 28));
    const auto mlp = make_model("mlp", config_of(1, 28));
    Tape tape;
    for (Module* m : {model.get(), mlp.get()}) {
        EXPECT_THROW(m->forward(tape.constant(random({2, 3, 28, 28}))), Error);
        EXPECT_THROW(m->forward(tape.constant(random({2, 1, 32, 32}))), Error);
        EXPECT_THROW(m->forward(tape.constant(random({1, 28, 28}))), Error);
    }
}

TEST(Models, InitialValuesDependOnTheSeedAndTheLayersNameAlone) {
    const auto value = [](const ModelConfig& config, VitSize size, std::string_view wanted) {
        Vit model(config, size);
        Tensor found;
        for_each_parameter(model, [&](const std::string& path, Parameter& p) {
            if (path == wanted) found = p.value;
        });
        return found;
    };
    VitSize small, deep;
    small.width = deep.width = 24;
    deep.blocks = 8;
    const char* name = "blocks.1.fc1.weight";
    const Tensor w = value(config_of(3, 32), small, name);
    EXPECT_TRUE(identical(w, value(config_of(1, 28), deep, name)));
    EXPECT_FALSE(identical(w, value(config_of(3, 32, 1), small, name)));
    EXPECT_FALSE(identical(w, value(config_of(3, 32), small, "blocks.2.fc1.weight")));
}

TEST(Models, PatchSizeFollowsTheImage) {
    EXPECT_EQ(vit_patch(32, 32), 4);
    EXPECT_EQ(vit_patch(28, 28), 4);
    EXPECT_EQ(vit_patch(64, 64), 8);
    EXPECT_EQ(vit_patch(8, 8), 1);
    EXPECT_EQ(vit_patch(4, 4), 1);
    EXPECT_EQ(vit_patch(30, 30), 5);
    EXPECT_EQ(vit_patch(32, 64), 8);
    EXPECT_THROW(vit_patch(31, 31), Error);
    EXPECT_EQ(Vit(config_of(1, 28), {}).tokens(), 49);
}

TEST(Models, PatchEmbeddingIsAConvolutionWithItsWeights) {
    const ModelConfig config = config_of(3, 16);
    VitSize size;
    size.width = 6;
    size.blocks = 0;
    Vit vit(config, size);
    Stream stream(1, "test");
    Conv2dOptions options;
    options.kernel = options.stride = vit.patch();
    Conv2d convolution(3, 6, options, stream);
    const auto from = parameters(vit), to = parameters(convolution);
    to[0]->value = from[0]->value.reshape(to[0]->value.shape());
    to[1]->value = from[1]->value;
    from[2]->value = Tensor::zeros(from[2]->value.shape());  // no positions
    const Tensor x = random({2, 3, 16, 16});

    Tape tape;
    const Tensor tokens = transpose(convolution.forward(tape.constant(x)).value(), {0, 2, 3, 1});
    const Tensor pooled = sum(tokens.reshape({2, -1, 6}), 1) * (real(1) / 64);
    LayerNorm norm(6);
    Tensor expected = norm.forward(tape.constant(pooled)).value();
    expected = matmul(expected, from[5]->value, Op::none, Op::transpose);
    add_row_in_place(expected, from[6]->value);
    EXPECT_LT(sum_squares(vit.forward(tape.constant(x)).value() - expected), 1e-8);
}

TEST(Models, GradientsAgreeWithFiniteDifferences) {
    if constexpr (sizeof(real) == 8) {
        GradcheckOptions options;
        options.max_elements = 12;
        VitSize size;
        size.width = 12;
        size.blocks = 2;
        ModelConfig config = config_of(2, 8);
        config.dropout = 0.2;
        Vit vit(config, size);
        EXPECT_NO_THROW(gradcheck(vit, random({2, 2, 8, 8}), options));
        Mlp mlp(config);
        EXPECT_NO_THROW(gradcheck(mlp, random({2, 2, 8, 8}), options));
    }
}

TEST(Models, TrainBlocksFreezeWhatComesBefore) {
    const auto model = make_model("vit-micro", config_of(1, 28));
    const auto trained = [&] {
        std::vector<std::string> names;
        for_each_parameter(*model, [&](const std::string& path, Parameter& p) {
            if (p.requires_grad) names.push_back(path);
        });
        return names;
    };
    const std::size_t all = trained().size();
    select_train_blocks(*model, "last:2");
    EXPECT_EQ(trained().front(), "blocks.2.norm1.weight");
    EXPECT_EQ(trained().back(), "head.bias");
    EXPECT_EQ(trained().size(), 2 * 12u + 4);
    {
        Tape tape;
        const Var y = model->forward(tape.constant(random({2, 1, 28, 28})));
        for (const auto& [layer, bytes] : ledger().saved_by_layer())
            EXPECT_TRUE(bytes == 0 || !(layer.starts_with("blocks.0") || layer == "patch_embed"));
        tape.backward(y, random({2, 10}));
    }
    for_each_parameter(*model, [](const std::string& path, Parameter& p) {
        EXPECT_EQ(p.grad.defined(), p.requires_grad) << path;
    });
    select_train_blocks(*model, "all");
    EXPECT_EQ(trained().size(), all);
    for (const char* word : {"last:0", "last:5", "last:", "last:2x", "first:1", "", "last:-1"})
        EXPECT_THROW(select_train_blocks(*model, word), Error) << word;
    ReLU plain;
    EXPECT_THROW(select_train_blocks(plain, "last:1"), Error);
}

TEST(Models, DropoutLayersDrawInTrainingOnly) {
    ModelConfig config = config_of(1, 28);
    config.dropout = 0.5;
    const auto model = make_model("vit-micro", config);
    const Tensor x = random({2, 1, 28, 28});
    const auto run = [&](bool training, std::uint64_t step) {
        TapeOptions options;
        options.training = training;
        options.step = step;
        Tape tape(options);
        return model->forward(tape.constant(x)).value();
    };
    EXPECT_TRUE(identical(run(true, 1), run(true, 1)));
    EXPECT_FALSE(identical(run(true, 1), run(true, 2)));
    EXPECT_TRUE(identical(run(false, 1), run(false, 2)));
}

}  // namespace
}  // namespace slimgrad
