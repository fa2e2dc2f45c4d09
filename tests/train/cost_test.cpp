#include "train/cost_document.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace slimgrad {
namespace {

using nlohmann::json;

CostOptions of(const std::string& model, const std::string& blocks = "all") {
    CostOptions options;
    options.model = model;
    options.train_blocks = blocks;
    return options;
}

CostOptions instant(CostOptions options, std::int64_t rank) {
    options.method = "instant";
    options.rank_x = options.rank_g = rank;
    return options;
}

// The figures of vanilla in the tables of the INSTANT paper.
TEST(CostDocument, ReproducesThePapersVanillaRows) {
    const auto paper = [](const CostOptions& o) { return cost_document(o)["paper"]; };
    const json bert = paper(of("bert-base", "last:1"));  // Tab. 2: 14495 MFLOPs, 13.50 MiB
    EXPECT_EQ(bert["backward"], 14'495'514'624);
    EXPECT_EQ(bert["saved_bytes"], 14'155'776);
    EXPECT_EQ(paper(of("distilbert", "last:1"))["backward"], 14'495'514'624);
    EXPECT_EQ(paper(of("bert-base"))["backward"], 173'946'175'488);  // Tab. 2: 173946
    EXPECT_EQ(paper(of("bert-base"))["saved_bytes"], std::int64_t{162} << 20);
    EXPECT_EQ(paper(of("distilbert"))["backward"], 86'973'087'744);
    const json llama = paper(of("tinyllama", "last:1"));  // Tab. 13: 90194 MFLOPs, 35 MiB
    EXPECT_EQ(llama["backward"], 90'194'313'216);
    EXPECT_EQ(llama["saved_bytes"], std::int64_t{35} << 20);
}

// Tables 1 and 11: what the vision models leave to the methods, without heads and down-sampling.
TEST(CostDocument, ReproducesThePapersVisionModels) {
    const auto paper = [](const std::string& model, const char* blocks) {
        const json all = cost_document(of(model, blocks))["paper"]["compressible"];
        return std::pair{all["backward"].get<double>() / 1e6,
                         all["saved_bytes"].get<double>() / (1 << 20)};
    };
    const auto expect = [&](const std::string& model, const char* blocks, double mflops,
                            double mebibytes) {
        const auto [backward, saved] = paper(model, blocks);
        EXPECT_NEAR(backward, mflops, 0.5) << model << " " << blocks;
        EXPECT_NEAR(saved, mebibytes, 0.005) << model << " " << blocks;
    };
    expect("efficientformer-l1", "last:4", 1484, 1.95);
    expect("efficientformer-l1", "all", 4528, 18.46);
    expect("efficientformerv2-s0", "last:4", 349, 1.47);
    expect("vit-b32", "last:2", 2831, 2.05);  // printed 2.20: docs/cost.md
    // SwinV2's rows are those of 256x256 pixels without Q, K and V.
    const json swin = cost_document(of("swinv2-s", "last:2"))["paper"];
    double backward = 0, saved = 0;
    for (const json& layer : swin["layers"])
        if (layer["compressible"] && !layer["name"].get<std::string>().ends_with("qkv")) {
            backward += layer["backward"].get<double>();
            saved += layer["saved_bytes"].get<double>();
        }
    EXPECT_NEAR(backward / 1e6, 2718, 0.5);
    EXPECT_NEAR(saved / (1 << 20), 2.25, 0.005);
}

// The number of weights is that of torchvision's models without BatchNorm and classifier.
TEST(CostDocument, ConvolutionalNetworksHaveTheirPublishedWeightsAndProducts) {
    const auto sums = [](CostOptions o, std::int64_t side) {
        o.height = o.width = side;
        std::int64_t weights = 0, compressible = 0;
        const json document = cost_document(o);
        std::int64_t products = 0;
        for (const json& layer : document["paper"]["layers"]) {
            if (layer["name"] == "fc" || layer["name"] == "classifier") continue;
            products += layer["forward"].get<std::int64_t>() / 2;
            weights += layer["Cx"].get<std::int64_t>() * layer["Cy"].get<std::int64_t>();
            compressible += layer["compressible"] ? 1 : 0;
        }
        return std::tuple{weights, products, compressible};
    };
    EXPECT_EQ(sums(of("resnet50"), 224), (std::tuple{23'454'912, 4'087'136'256, 49}));
    EXPECT_EQ(sums(of("mobilenetv2"), 224), (std::tuple{2'189'760, 299'494'272, 35}));
    // At 32x32 the last stage sees one position, and nothing there has a token axis.
    EXPECT_EQ(std::get<2>(sums(of("resnet50", "last:2"), 32)), 0);
    EXPECT_EQ(std::get<2>(sums(of("resnet50", "last:2"), 224)), 6);
}

TEST(CostDocument, TheShortcutOfABottleneckKeepsTheSameImage) {
    CostOptions o = of("resnet50", "last:3");
    o.height = o.width = 224;
    const json document = cost_document(o);
    const auto saved = [&](const char* convention, const std::string& name) {
        for (const json& layer : document[convention]["layers"])
            if (layer["name"] == name) return layer["saved_bytes"].get<std::int64_t>();
        return std::int64_t{-1};
    };
    // The unfolded image is nine times the raw one that vanilla keeps: bytes fall below 49 / 9.
    for (const json& layer : document["paper"]["layers"])
        if (layer["name"] == "layer4.1.conv2") {
            EXPECT_NEAR(layer["break_even_bytes_x"], 49.0 / 9, 1e-9);
            EXPECT_GT(layer["break_even_x"], 40);
        }
    EXPECT_EQ(saved("paper", "layer4.0.downsample.0"), 4 * 1024 * 14 * 14);
    EXPECT_EQ(saved("executed", "layer4.0.downsample.0"), 0);
    EXPECT_EQ(saved("executed", "layer4.0.conv1"), 4 * 1024 * 14 * 14);
    for (const json& layer : document["executed"]["layers"])
        EXPECT_EQ(layer["needs_gx"].get<bool>(),
                  layer["name"] != "layer4.0.conv1" && layer["name"] != "layer4.0.downsample.0")
            << layer["name"];
}

TEST(CostDocument, CalibrationHasColumnsOfItsOwn) {
    CostOptions o = instant(of("bert-base", "last:1"), 16);
    o.batch = 32;
    const json cost = cost_document(o)["paper"];
    const json& calibration = cost["calibration"];
    EXPECT_EQ(calibration["passes"], 5LL * 32 * 3 * 7'247'757'312);
    EXPECT_EQ(calibration["total"], calibration["passes"].get<std::int64_t>() +
                                        calibration["gram"].get<std::int64_t>() +
                                        calibration["decomposition"].get<std::int64_t>());
    // App. B.3 with its own formula: 3.3 % of vanilla, 8.9 % of INSTANT with ranks of 16 ...
    EXPECT_NEAR(calibration["of_vanilla"], 0.0333, 0.0001);
    EXPECT_NEAR(calibration["of_method"], 0.0889, 0.0001);
    EXPECT_NEAR(cost["times_less"]["backward"], 16, 1e-9);
    EXPECT_NEAR(cost["times_less"]["backward_with_calibration"], 8.89, 0.005);
    // ... and 2.6 and 4.5 % with the 50 tokens of ViT-B/32.
    CostOptions vit = instant(of("vit-b32", "last:1"), 16);
    vit.batch = 32;
    const json small = cost_document(vit)["paper"]["calibration"];
    EXPECT_NEAR(small["of_vanilla"], 0.0257, 0.0001);
    EXPECT_NEAR(small["of_method"], 0.0455, 0.0001);

    o.calibrate_every = 0;
    const json once = cost_document(o)["paper"];
    EXPECT_EQ(once["calibration"]["total"], calibration["total"]);
    EXPECT_TRUE(once["calibration"]["per_sample"].is_null());
    EXPECT_TRUE(once["backward_with_calibration"].is_null());
    EXPECT_EQ(cost_document(of("bert-base"))["paper"]["calibration"]["total"], 0);
}

TEST(CostDocument, BreakEvenIsReportedAndOnRequestObeyed) {
    CostOptions o = instant(of("bert-base", "last:1"), 250);
    const json report = cost_document(o);
    const json q = report["paper"]["layers"][0], executed_q = report["executed"]["layers"][0];
    EXPECT_NEAR(q["break_even_x"], 219.43, 0.005);
    EXPECT_NEAR(q["break_even_g"], 219.43, 0.005);
    // Together, Q, K and V are one layer of 2304 outputs; nothing below needs their g_x.
    EXPECT_NEAR(executed_q["break_even_x"], 271.06, 0.005);
    EXPECT_TRUE(executed_q["break_even_g"].is_null());
    EXPECT_TRUE(executed_q["rank_g"].is_null());
    EXPECT_EQ(report["executed"]["slots"]["beyond_break_even"], (json{{"x", 1}, {"g", 1}}));
    EXPECT_EQ(report["paper"]["slots"]["beyond_break_even"], (json{{"x", 4}, {"g", 4}}));

    o.break_even = "vanilla";
    const json left = cost_document(o)["executed"];
    EXPECT_EQ(left["slots"]["left_vanilla"], (json{{"x", 1}, {"g", 1}}));
    EXPECT_EQ(left["slots"]["beyond_break_even"], (json{{"x", 0}, {"g", 0}}));
    const json proj = left["layers"][3];
    EXPECT_EQ(proj["left_vanilla_x"], 250);
    EXPECT_EQ(proj["rank_x"], nullptr);
    EXPECT_EQ(proj["compress"], 0);
    EXPECT_EQ(proj["saved_bytes"], 4 * 512 * 768);
    EXPECT_GT(proj["calibration"]["gram"], 0) << "the rank had to be measured";
}

TEST(CostDocument, SidesAreChosenBySlot) {
    CostOptions o = instant(of("bert-base", "last:1"), 8);
    o.side = "channel";
    o.side_g = "auto";
    const json layer = cost_document(o)["paper"]["layers"][3];
    EXPECT_EQ(layer["side_x"], "channel");
    EXPECT_EQ(layer["side_g"], "token");
    EXPECT_EQ(layer["saved_bytes"], 4 * 512 * 8);
}

TEST(CostDocument, RanksAreCutToTheirAxis) {
    CostOptions o = instant(of("resnet50"), 64);
    const json document = cost_document(o);
    for (const json& layer : document["paper"]["layers"]) {
        if (!layer["compressible"].get<bool>()) {
            EXPECT_TRUE(layer["rank_x"].is_null());
            continue;
        }
        EXPECT_LE(layer["rank_x"], std::min(layer["L"], layer["Cx"]));
        EXPECT_LE(layer["rank_g"], std::min(layer["L"], layer["Cy"]));
    }
}

TEST(CostDocument, BadInputIsOneLine) {
    const auto message = [](const CostOptions& o) -> std::string {
        try {
            cost_document(o);
        } catch (const Error& error) {
            return error.what();
        }
        return "no error";
    };
    const auto has = [](const std::string& text, const std::string& part) {
        return text.find(part) != std::string::npos;
    };
    EXPECT_TRUE(has(message(of("gpt")), "tinyllama, mlp, vit-micro"));
    EXPECT_TRUE(has(message(of("tinyllama", "last:23")), "from 1 to 22"));
    CostOptions o = of("resnet50");
    o.tokens = 64;
    EXPECT_TRUE(has(message(o), "'resnet50' takes images"));
    o = of("bert-base");
    o.method = "instant";
    EXPECT_TRUE(has(message(o), "needs rank_x"));
    o.break_even = "never";
    EXPECT_TRUE(has(message(o), "report, vanilla"));
    o = of("bert-base");
    o.batch = 0;
    EXPECT_TRUE(has(message(o), "batch"));
    o = of("mobilenetv2");
    o.width = -1;
    EXPECT_TRUE(has(message(o), "from 0 to 16384 as width, got -1"));
}

}  // namespace
}  // namespace slimgrad
