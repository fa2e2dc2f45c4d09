// Weights of image models that others have saved, and those for other classes and sizes.
#include "train/image_weights.h"

#include "data/safetensors.h"
#include "nn/batch_norm.h"
#include "nn/models/model.h"
#include "nn/models/resize.h"
#include "tests/values.h"
#include "train/weights.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

using Tensors = std::map<std::string, Tensor>;

/// A model in the names of another library: those that stand at this place of its list of names.
class ImageWeights : public Train {
  protected:
    static std::unique_ptr<Module> make(const std::string& name, std::int64_t classes = 3,
                                        std::int64_t side = 32, std::uint64_t seed = 1) {
        return make_model(name, {.height = side, .width = side, .classes = classes, .seed = seed});
    }
    static Tensors values_of(Module& model) {
        Tensors all;
        for_each_parameter(model, [&](const std::string& n, Parameter& p) { all[n] = p.value; });
        for_each_buffer(model, [&](const std::string& n, Tensor& b) { all[n] = b; });
        return all;
    }
    static Tensors in_names_of(Module& model, std::size_t place) {
        Tensors all;
        for (const auto& [name, value] : values_of(model)) {
            const auto names = file_names(dynamic_cast<BlockModel&>(model).aliases(), name);
            const auto& parts = names.at(std::min(place, names.size() - 1));
            const std::int64_t rows = value.size(0) / std::ssize(parts);
            for (std::size_t i = 0; i < parts.size(); ++i) {
                Shape shape = value.shape();
                shape[0] = rows;
                Tensor part(shape);
                std::copy_n(value.data() + static_cast<std::int64_t>(i) * part.numel(),
                            part.numel(), part.data());
                all[parts[i]] = part;
            }
        }
        return all;
    }
    fs::path write(const Tensors& tensors) const {
        std::vector<NamedTensor> named;
        for (const auto& [name, tensor] : tensors) named.push_back({name, tensor});
        const fs::path file = root_ / "weights.safetensors";
        write_safetensors(file, named);
        return file;
    }
    static void expect_equal(Module& a, Module& b) {
        const Tensors of_b = values_of(b);
        for (const auto& [name, value] : values_of(a))
            EXPECT_TRUE(identical(value, of_b.at(name))) << name;
    }
    std::string error(const Tensors& tensors, Module& model) const {
        const fs::path file = write(tensors);
        return message([&] { load_image_weights(file, model, "the model"); });
    }
};

TEST_F(ImageWeights, AreFoundUnderTheNamesOfEveryLibrary) {
    for (const char* name : {"resnet18", "mobilenetv2", "efficientnet-lite0", "deit-ti"}) {
        const auto model = make(name);
        for_each_buffer(*model, [](const std::string&, Tensor& b) { b.data()[0] = real(0.25); });
        for (std::size_t place = 0; place < 4; ++place) {
            const auto other = make(name, 3, 32, 2);
            const LoadReport report =
                load_image_weights(write(in_names_of(*model, place)), *other, "the model");
            EXPECT_EQ(to_string(report), "every tensor found its place") << name << place;
            expect_equal(*other, *model);
        }
    }
}

// As the other libraries print them.
TEST_F(ImageWeights, NamesOfOtherLibraries) {
    struct Case {
        const char *model, *own;
        std::vector<std::string> theirs;
    };
    const std::string face = "vit.encoder.layer.3.attention.attention.";
    const Case cases[] = {
        {"deit-ti", "blocks.3.attention.qkv.weight", {"blocks.3.attn.qkv.weight"}},
        {"deit-ti",
         "blocks.3.attention.qkv.bias",
         {"encoder.layers.encoder_layer_3.self_attention.in_proj_bias"}},
        {"deit-ti",
         "blocks.3.attention.qkv.bias",
         {face + "query.bias", face + "key.bias", face + "value.bias"}},
        {"deit-ti", "blocks.0.fc2.weight", {"encoder.layers.encoder_layer_0.mlp.3.weight"}},
        {"deit-ti", "blocks.0.fc2.weight", {"encoder.layer.0.output.dense.weight"}},
        {"deit-ti", "class_token", {"embeddings.cls_token"}},
        {"deit-ti", "positions", {"encoder.pos_embedding"}},
        {"resnet50",
         "layer2.0.downsample.1.running_var",
         {"resnet.encoder.stages.1.layers.0.shortcut.normalization.running_var"}},
        {"resnet50",
         "layer4.2.conv3.weight",
         {"encoder.stages.3.layers.2.layer.2.convolution.weight"}},
        {"mobilenetv2", "blocks.0.0.conv_pw.weight", {"features.1.conv.1.weight"}},
        {"mobilenetv2", "blocks.1.0.bn3.bias", {"features.2.conv.3.bias"}},
        {"efficientnet-lite0", "blocks.1.1.conv_dw.weight", {"_blocks.2._depthwise_conv.weight"}},
    };
    for (const auto& [model, own, theirs] : cases) {
        const auto names = file_names(dynamic_cast<BlockModel&>(*make(model)).aliases(), own);
        EXPECT_NE(std::ranges::find(names, theirs), names.end()) << own << " " << theirs[0];
    }
}

TEST_F(ImageWeights, AConvolutionThatCutsPatchesIsALinearLayer) {
    const auto model = make("deit-ti"), other = make("deit-ti", 3, 32, 2);
    Tensors tensors = in_names_of(*model, 1);
    Tensor& patches = tensors.at("patch_embed.proj.weight");
    patches = patches.reshape({192, 3, 16, 16});
    load_image_weights(write(tensors), *other, "the model");
    expect_equal(*other, *model);
}

TEST_F(ImageWeights, AClassifierForOtherClassesStaysFresh) {
    const auto model = make("resnet18", 5), other = make("resnet18", 3, 32, 2);
    const LoadReport report = load_image_weights(write(values_of(*model)), *other, "the model");
    EXPECT_EQ(report.fresh, (std::vector<std::string>{"fc.weight", "fc.bias"}));
    EXPECT_EQ(report.unused, report.fresh);
    EXPECT_TRUE(to_string(report).starts_with(
        "fresh, since of another shape: fc.weight (5, 512), expected (3, 512), fc.bias (5,), "
        "expected (3,)"));
    const auto before = make("resnet18", 3, 32, 2);
    EXPECT_TRUE(identical(values_of(*other).at("fc.weight"), values_of(*before).at("fc.weight")));
    EXPECT_TRUE(
        identical(values_of(*other).at("conv1.weight"), values_of(*model).at("conv1.weight")));
}

TEST_F(ImageWeights, ABackboneLeavesTheClassifierFresh) {
    const auto model = make("mobilenetv2"), other = make("mobilenetv2", 3, 32, 2);
    Tensors tensors = values_of(*model);
    tensors.erase("classifier.weight");
    tensors.erase("classifier.bias");
    tensors["head_dist.weight"] = random({2, 2});
    tensors["bn1.num_batches_tracked"] = random({1});
    for (const char* table : {"attention_bias_idxs", "relative_position_index", "attn_mask"})
        tensors[fmt::format("blocks.1.{}", table)] = random({4, 4});  // timm saves some of them
    const LoadReport report = load_image_weights(write(tensors), *other, "the model");
    EXPECT_EQ(to_string(report),
              "fresh: classifier.weight, classifier.bias; unused: head_dist.weight");
}

TEST_F(ImageWeights, PositionsOfAnotherSizeAreResized) {
    const auto large = make("deit-ti", 3, 64), small = make("deit-ti", 3, 32, 2);
    load_image_weights(write(values_of(*large)), *small, "the model");
    const Tensor from = values_of(*large).at("positions"), to = values_of(*small).at("positions");
    ASSERT_EQ(to.shape(), (Shape{1, 5, 192}));
    for (std::int64_t k = 0; k < 192; ++k) EXPECT_EQ(to.at({0, 0, k}), from.at({0, 0, k}));
    std::vector<real> resized(4 * 192);
    resize_bicubic({4, 4, 192}, from.data() + 192, 2, 2, resized.data());
    for (std::size_t k = 0; k < resized.size(); ++k) EXPECT_EQ(to.data()[192 + k], resized[k]);
}

TEST_F(ImageWeights, FaultsAreOneLineAndLeaveTheModelAsItWas) {
    const auto model = make("resnet18"), other = make("resnet18", 3, 32, 2);
    const auto untouched = make("resnet18", 3, 32, 2);
    const Tensors good = values_of(*model);
    Tensors bad = good;
    bad.erase("layer1.0.conv1.weight");
    EXPECT_TRUE(has(error(bad, *other), "does not fit the model: missing: layer1.0.conv1.weight"));
    bad = good;
    bad["layer4.2.conv1.weight"] = random({2, 2});
    EXPECT_TRUE(has(error(bad, *other), "unexpected: layer4.2.conv1.weight"));
    bad = good;
    bad["fc_norm.weight"] = random({512});
    EXPECT_TRUE(has(error(bad, *other), "unexpected: fc_norm.weight"));
    bad = good;
    bad["layer1.0.bn1.weight"] = Tensor::full({}, 1);
    EXPECT_TRUE(has(error(bad, *other), "layer1.0.bn1.weight ()"));
    bad = good;
    bad["layer2.0.conv1.weight"] = random({128, 64, 3, 2});
    EXPECT_TRUE(has(error(bad, *other),
                    "of another shape: layer2.0.conv1.weight (128, 64, 3, 2), "
                    "expected (128, 64, 3, 3)"));
    bad = good;
    bad["bn1.running_var"] = bad["bn1.running_var"].clone();
    bad["bn1.running_var"].data()[7] = std::nanf("");
    EXPECT_TRUE(has(error(bad, *other), "bn1.running_var"));
    expect_equal(*other, *untouched);
}

TEST_F(ImageWeights, PartsThatDoNotStackAreNamedEach) {
    const auto model = make("deit-ti"), other = make("deit-ti", 3, 32, 2);
    Tensors bad = in_names_of(*model, 3);
    bad["vit.encoder.layer.0.attention.attention.key.weight"] = random({192, 5});
    const std::string said = error(bad, *other);
    EXPECT_TRUE(has(said, "key.weight (192, 5), expected (192, 192)")) << said;
}

TEST_F(ImageWeights, ARunMayGoOnWithFrozenStatistics) {
    TrainConfig config = small("first", "efficientnet-lite0");
    config.epochs = 1;
    config.limit_train = 16;
    config.augment = false;
    config.drop_path = 0.2;
    EXPECT_TRUE(run(config));
    config.batch_norm = "frozen";
    EXPECT_TRUE(has(message([&] { validate(config); }), "batch_norm frozen"));
    config.from = config.out;
    config.out = (root_ / "second").string();
    EXPECT_TRUE(run(config));
    const auto statistics = [&](const std::string& run, const std::string& name) {
        return SafeTensors::open(root_ / run / "model.safetensors").tensor(name);
    };
    for (const char* name : {"bn1.running_mean", "blocks.3.1.bn2.running_var"})
        EXPECT_TRUE(identical(statistics("first", name), statistics("second", name))) << name;
    EXPECT_FALSE(identical(statistics("first", "bn1.weight"), statistics("second", "bn1.weight")));
}

}  // namespace
}  // namespace slimgrad
