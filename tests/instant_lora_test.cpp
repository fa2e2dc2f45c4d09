// LoRA, alone and with INSTANT's rules on its three maps: what trains, and what that costs.
#include "instant/methods/lora.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "instant/calibration/calibrator.h"
#include "instant/cost/architectures.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/options.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "nn/models/text_model.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 3, number = sizeof(real);

MethodOptions lora(const std::string& method = "lora", std::int64_t rank = 2) {
    MethodOptions options{.method = method, .rank_x = 2, .rank_g = 2, .batch = batch};
    options.own.set("[test]", rank_option(), rank);
    return options;
}

/// A model and one batch for it.
struct Subject {
    std::unique_ptr<Module> model;
    std::function<Var(Tape&)> loss;

    std::vector<LinearShape> shapes() const {
        return trace_linear_maps(*model, [&] {
            Tape tape;
            loss(tape);
        });
    }
};

Subject image_model(const std::string& name, const std::string& blocks, std::int64_t side = 16) {
    Subject s;
    s.model = make_model(name, {.channels = 1, .height = side, .width = side});
    select_train_blocks(*s.model, blocks);
    Stream stream(1, "images");
    const Tensor x = normal({batch, 1, side, side}, 0, 1, stream);
    s.loss = [model = s.model.get(), x](Tape& tape) {
        return cross_entropy(model->forward(tape.constant(x)), std::vector<std::int32_t>{1, 0, 2});
    };
    return s;
}

Subject text_model(const std::string& blocks) {
    constexpr std::int64_t length = 9;
    BertConfig config = bert_preset("bert-tiny");
    config.vocab_size = 20;
    config.hidden_size = 12;
    config.num_attention_heads = 3;
    config.intermediate_size = 20;
    config.max_position_embeddings = length;
    Tokens tokens{length, {}, {}, Tensor::zeros({batch, length})};
    for (std::int32_t i = 0; i < batch * length; ++i) {
        tokens.ids.push_back(i % 17 + 1);
        tokens.types.push_back(0);
    }
    Subject s;
    auto model = make_text_model(config);
    select_train_blocks(*model, blocks);
    s.loss = [text = model.get(), tokens](Tape& tape) {
        return cross_entropy(text->forward(tape, tokens), std::vector<std::int32_t>{1, 0, 1});
    };
    s.model = std::move(model);
    return s;
}

std::vector<std::string> trained(Module& model) {
    std::vector<std::string> names;
    for_each_parameter(model, [&](const std::string& name, Parameter& p) {
        if (p.requires_grad) names.push_back(name);
    });
    return names;
}

bool ends_with_any(const std::string& name, std::initializer_list<const char*> ends) {
    return std::ranges::any_of(ends, [&](const char* end) { return name.ends_with(end); });
}

TEST(Lora, AdaptersAndHeadsTrainAndNothingElse) {
    const Subject vit = image_model("vit-micro", "last:1");
    const auto before = trained(*vit.model);
    adapt(*vit.model, lora(), 3);
    EXPECT_EQ(trained(*vit.model),
              (std::vector<std::string>{
                  "blocks.3.attention.qkv.lora_A.weight", "blocks.3.attention.qkv.lora_B.weight",
                  "blocks.3.attention.proj.lora_A.weight", "blocks.3.attention.proj.lora_B.weight",
                  "blocks.3.fc1.lora_A.weight", "blocks.3.fc1.lora_B.weight",
                  "blocks.3.fc2.lora_A.weight", "blocks.3.fc2.lora_B.weight", "head.weight",
                  "head.bias"}));
    EXPECT_TRUE(std::ranges::find(before, "norm.weight") != before.end()) << "LayerNorm did train";

    const Subject bert = text_model("all");
    adapt(*bert.model, lora(), 3);
    for (const std::string& name : trained(*bert.model))
        EXPECT_TRUE(ends_with_any(name, {".lora_A.weight", ".lora_B.weight"}) ||
                    name.starts_with("pooler.") || name.starts_with("classifier."))
            << name;
    EXPECT_EQ(trained(*bert.model).size(), 2u * 2 * 6 + 4);

    // A head that was frozen stays frozen.
    const Subject frozen = image_model("vit-micro", "last:1");
    for_each_parameter(*frozen.model, [](const std::string& name, Parameter& p) {
        if (name.starts_with("head.")) p.requires_grad = false;
    });
    adapt(*frozen.model, lora(), 3);
    EXPECT_EQ(trained(*frozen.model).size(), 8u);

    // Convolutions have no adapters: of a ResNet the classifier is left.
    const Subject resnet = image_model("resnet20", "all");
    adapt(*resnet.model, lora(), 3);
    EXPECT_EQ(trained(*resnet.model), (std::vector<std::string>{"linear.weight", "linear.bias"}));
    set_requires_grad(*resnet.model, false);
    EXPECT_EQ(error_of([&] { adapt(*resnet.model, lora(), 3); }),
              "[lora] the model has no linear layer that trains: nothing to adapt");
    EXPECT_EQ(error_of([&] { adapt(*vit.model, lora(), 3); }),
              "[lora] the model has adapters already");
}

TEST(Lora, RanksAreEightUnlessGivenAndCutToTheLayer) {
    const auto shape_of = [](const MethodOptions& options, const std::string& name) {
        const Subject s = image_model("vit-micro", "last:1");
        adapt(*s.model, options, 3);
        Shape shape;
        for_each_parameter(*s.model, [&](const std::string& path, Parameter& p) {
            if (path == "blocks.3." + name) shape = p.value.shape();
        });
        return shape;
    };
    EXPECT_EQ(shape_of({.method = "lora"}, "fc1.lora_A.weight"), (Shape{8, 96}));
    EXPECT_EQ(shape_of({.method = "lora"}, "attention.qkv.lora_A.weight"), (Shape{24, 96}));
    EXPECT_EQ(shape_of({.method = "lora"}, "attention.qkv.lora_B.weight"), (Shape{288, 24}));
    EXPECT_EQ(shape_of(lora("lora+instant", 1000), "fc1.lora_B.weight"), (Shape{384, 96}));
    EXPECT_EQ(shape_of(lora("lora", 1000), "attention.qkv.lora_A.weight"), (Shape{288, 96}));
}

TEST(Lora, NamesCombineWithAnyRule) {
    const Method& both = find_method("lora+instant");
    EXPECT_TRUE(both.adapt && both.adapted_shapes && both.rule);
    EXPECT_TRUE(both.calibrated.x && both.calibrated.g);
    EXPECT_TRUE(find_method("instant+lora").adapt != nullptr);
    EXPECT_NE(error_of([] {
                  find_method("lora+lora");
              }).find("lora does not go with what is named before it"),
              std::string::npos);
    EXPECT_EQ(idle_notes(idle_method_options(lora("lora+instant")), {"rank", "alpha", "epsilon"}),
              (std::vector<std::string>{"epsilon has no effect: the ranks are fixed"}));
    EXPECT_EQ(idle_notes(idle_method_options(lora()), {"rank", "alpha"}).size(), 0u);
    EXPECT_EQ(idle_notes(idle_method_options({.method = "instant"}), {"rank"}).size(), 1u);
}

std::vector<MethodOptions> every_rule_and_side() {
    std::vector<MethodOptions> all{lora(), lora("lora+compress-x", 3), lora("lora+compress-gy", 3)};
    for (const char* side : {"token", "channel", "auto"}) {
        all.push_back(lora("lora+instant", 3));
        all.back().side = side;
    }
    all.back().break_even = "vanilla";  // some slots are compressed, and some left exact
    return all;
}

TEST(Lora, MeterAndLedgerEqualTheClosedForms) {
    const std::vector<std::function<Subject()>> subjects{
        [] { return image_model("vit-micro", "all"); },
        [] { return image_model("vit-micro", "last:1"); },
        [] { return image_model("mlp", "all", 8); },
        [] { return image_model("resnet20", "all"); },
        [] { return text_model("all"); },
        [] { return text_model("last:1"); }};
    for (const auto& make : subjects)
        for (const MethodOptions& options : every_rule_and_side()) {
            const Subject s = make();
            SCOPED_TRACE(s.model->kind() + ", " + options.method + ", " + options.side);
            const std::vector<LinearShape> known = lora_shapes(s.shapes(), options);
            adapt(*s.model, options, 3);
            const std::vector<LinearShape> shapes = s.shapes();
            // What is said of a model known by its shapes is what becomes of the model.
            ASSERT_EQ(known.size(), shapes.size());
            for (std::size_t i = 0; i < shapes.size(); ++i) {
                const LinearShape &a = known[i], &b = shapes[i];
                EXPECT_EQ(a.name, b.name);
                EXPECT_EQ(a.in_channels, b.in_channels) << a.name;
                EXPECT_EQ(a.out_channels, b.out_channels) << a.name;
                EXPECT_EQ(a.held_elements, b.held_elements) << a.name;
                EXPECT_EQ(a.input_group, b.input_group) << a.name;
                EXPECT_EQ(a.needs_gx, b.needs_gx) << a.name;
                EXPECT_EQ(a.needs_gw, b.needs_gw) << a.name;
                EXPECT_EQ(a.adapted, b.adapted) << a.name;
                EXPECT_EQ(a.compressible, b.compressible) << a.name;
                EXPECT_EQ(a.parts, b.parts) << a.name;
            }
            Calibrator calibrator(*s.model, options);
            calibrator.calibrate([&] {
                Tape tape;
                tape.backward(s.loss(tape));
            });
            const std::vector<LayerRanks> ranks = calibrator.ranks();
            const ModelCost expected =
                model_cost(shapes, compressions_of(shapes, options), batch, Convention::executed);
            meter().reset();
            Tape tape;
            const Var loss = s.loss(tape);
            std::map<std::string, std::int64_t> saved = ledger().saved_by_layer();
            tape.backward(loss);
            ASSERT_FALSE(expected.rows.empty());
            for (const ModelCost::Row& row : expected.rows) {
                const std::string& name = row.layer.name;
                EXPECT_EQ(meter().count(name, "forward"), row.cost.forward) << name;
                EXPECT_EQ(meter().count(name, "compress"), row.cost.compress) << name;
                EXPECT_EQ(meter().count(name, "g_w"), row.cost.g_w) << name;
                EXPECT_EQ(meter().count(name, "g_x"), row.cost.g_x) << name;
                EXPECT_EQ(saved[name] * 4, row.cost.saved_bytes * number) << name;
                const auto found = std::ranges::find(ranks, name, &LayerRanks::name);
                ASSERT_NE(found, ranks.end());
                if (row.layer.adapted) {
                    EXPECT_EQ(row.cost.g_w + row.cost.saved_bytes, 0) << name;
                    EXPECT_FALSE(found->x) << name;
                }
                if (found->x) {
                    EXPECT_EQ(found->rank_x, row.compression.rank_x) << name;
                }
                if (found->g) {
                    EXPECT_EQ(found->rank_g, row.compression.rank_g) << name;
                }
            }
            EXPECT_EQ(meter().phase("g_w"), expected.total.g_w) << "no other layer makes a g_w";
            EXPECT_EQ(ledger()[Category::saved].live, 0);
        }
}

TEST(Lora, RulesOfFullRankChangeNoGradient) {
    const auto gradients = [](const MethodOptions& options) {
        const Subject s = text_model("all");
        adapt(*s.model, options, 3);
        for_each_parameter(*s.model, [](const std::string& name, Parameter& p) {
            if (!name.ends_with("lora_B.weight")) return;
            Stream stream(2, name);
            p.value.copy_from(normal(p.value.shape(), 0, 1, stream));
        });
        Calibrator calibrator(*s.model, options);
        calibrator.calibrate([&] {
            Tape tape;
            tape.backward(s.loss(tape));
        });
        Tape tape;
        tape.backward(s.loss(tape));
        std::map<std::string, Tensor> all;
        for_each_parameter(*s.model, [&](const std::string& name, Parameter& p) {
            if (p.grad.defined()) all[name] = p.grad.dense().clone();
        });
        return all;
    };
    MethodOptions full = lora("lora+instant", 3);
    full.rank_x = full.rank_g = 1000;
    const auto exact = gradients(lora("lora", 3)), same = gradients(full);
    ASSERT_EQ(exact.size(), 2u * 2 * 6 + 4);
    ASSERT_EQ(same.size(), exact.size());
    for (const auto& [name, value] : exact)
        EXPECT_LT(std::sqrt(sum_squares(same.at(name) - value)),
                  (sizeof(real) == 8 ? 1e-10 : 1e-3) * std::sqrt(sum_squares(value)))
            << name;
}

// App. G: W costs its g_x alone, and x is kept for A as it was for W.
TEST(Lora, PaperConventionOfAKnownArchitecture) {
    constexpr std::int64_t l = 512, c = 768, h = 3072, r = 8;
    const std::vector<LinearShape> base = architecture("bert-base", 0, "last:1");
    const MethodOptions options{.method = "lora"};
    const auto shapes = lora_shapes(base, options);
    const auto cost_of = [&](const std::vector<LinearShape>& layers, Convention convention) {
        return model_cost(layers, std::vector<Compression>(layers.size()), 1, convention).total;
    };
    const LinearCost vanilla = cost_of(base, Convention::paper),
                     paper = cost_of(shapes, Convention::paper);
    const std::int64_t adapters = 4 * (2 * c * r) + 2 * (c * r + r * h);  // numbers in A and B
    EXPECT_EQ(paper.backward(), vanilla.backward() / 2 + 4 * l * adapters);
    EXPECT_EQ(paper.saved_bytes, vanilla.saved_bytes + 6 * 4 * l * r);
    // Executed, Q, K and V have no g_x, neither of W nor of A, and keep one x.
    const LinearCost executed = cost_of(shapes, Convention::executed);
    EXPECT_EQ(executed.g_x, paper.g_x - 3 * 2 * l * c * (c + r));
    EXPECT_EQ(executed.g_w, paper.g_w);
    EXPECT_EQ(executed.saved_bytes, paper.saved_bytes - 2 * 4 * l * c);
    EXPECT_EQ(executed.forward, paper.forward);

    LinearShape qkv = base[0];  // in one product, as a ViT has it
    qkv.name = qkv.input_group = "qkv";
    qkv.out_channels = 3 * 768;
    qkv.parts = 3;
    const auto vit = lora_shapes({qkv, base[3]}, options);
    EXPECT_EQ(vit[1].name, "qkv.lora_A");
    EXPECT_EQ(vit[1].out_channels, 24);
    EXPECT_EQ(vit[2].in_channels, 24);
    EXPECT_EQ(vit[2].out_channels, 3 * 768);
    EXPECT_FALSE(vit[0].needs_gx || vit[1].needs_gx);
    EXPECT_TRUE(vit[2].needs_gx && vit[3].needs_gx);
}

}  // namespace
}  // namespace slimgrad
