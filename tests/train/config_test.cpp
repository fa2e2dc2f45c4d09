// The one table of options, and the ways into it: C++, JSON, texts.
#include "train/config.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "data/json.h"
#include "tensor/error.h"
#include "train/json_file.h"

namespace slimgrad {
namespace {

using nlohmann::json;

template <class F>
std::string message(F f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

std::string from_json(const std::string& text) {
    return message([&] { config_from_json(json::parse(text), "c.json"); });
}

TEST(Config, EveryOptionHasARangeThatHoldsItsDefault) {
    TrainConfig config;
    EXPECT_NO_THROW(validate(config));
    for_each_option(config, [](const Option& option, auto& value) {
        EXPECT_NE(option.help, "") << option.name;
        using T = std::remove_cvref_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::int64_t> || std::is_same_v<T, std::uint64_t>) {
            const auto range = std::get<Integers>(option.range);
            for (const std::int64_t good : {range.low, range.high}) {
                T taken = 0;
                parse_option("[test]", option, std::to_string(good), taken);
                EXPECT_EQ(static_cast<std::int64_t>(taken), good) << option.name;
            }
            T taken = 0;
            EXPECT_THROW(parse_option("[test]", option, "9223372036854775808", taken), Error)
                << option.name;
            EXPECT_THROW(parse_option("[test]", option, std::to_string(range.low - 1), taken),
                         Error)
                << option.name;
        } else if constexpr (std::is_same_v<T, double>) {
            const auto range = std::get<Reals>(option.range);
            EXPECT_LE(range.high, double{std::numeric_limits<float>::max()}) << option.name;
            EXPECT_NO_THROW(check_option("[test]", option, value)) << option.name;
        }
    });
}

TEST(Config, ARecipeStandsForItsOptions) {
    const TrainConfig paper =
        config_from_json(json::parse(R"({"recipe": "instant-vision", "lr": 0.5})"), "c.json");
    EXPECT_EQ(paper.lr, 0.5);  // what is given comes first
    EXPECT_EQ(paper.batch, 64);
    EXPECT_EQ(paper.image_size, 224);
    EXPECT_EQ(paper.min_lr_rate, 0.01);
    EXPECT_TRUE(paper.augment);
    EXPECT_FALSE(to_json(paper).contains("recipe"));
    EXPECT_EQ(to_json(config_from_json(to_json(paper), "c.json")), to_json(paper));
    EXPECT_NO_THROW(validate(paper));
    EXPECT_EQ(config_from_json(json::parse(R"({"recipe": "instant-language"})"), "c.json").lr,
              2e-5);
    EXPECT_EQ(from_json(R"({"recipe": "paper"})"),
              "[config] c.json: unknown recipe 'paper'. Known: instant-language, instant-vision");
}

TEST(Config, JsonIsCheckedAsItIsWritten) {
    EXPECT_EQ(from_json(R"({"lr": 1, "epochs": 2, "out": "", "side_x": "", "seed": 7})"), "");
    EXPECT_EQ(from_json(R"({"epochs": 4611686018427387905})"),
              "[config] c.json: expected a whole number from 1 to 1000000 as epochs, got "
              "4611686018427387905");
    EXPECT_EQ(from_json(R"({"seed": -1})"),
              "[config] c.json: expected a whole number from 0 to 9223372036854775807 as seed, got "
              "-1");
    EXPECT_EQ(from_json(R"({"epochs": 2.0})"),
              "[config] c.json: expected a whole number from 1 to 1000000 as epochs, got 2.0");
    EXPECT_EQ(from_json(R"({"augment": 1})"),
              "[config] c.json: expected true or false as augment, got 1");
    EXPECT_EQ(from_json(R"({"epsilon": 0})"),
              "[config] c.json: expected a number above 0 and at most 1 as epsilon, got 0");
    EXPECT_EQ(from_json(R"({"optimizer": ["sgd"]})"),
              "[config] c.json: expected one of sgd, adam, adamw as optimizer, got '[\"sgd\"]'");
    EXPECT_EQ(from_json(R"({"optimizer": "lion"})"),
              "[config] c.json: unknown optimizer 'lion'. Known: sgd, adam, adamw");
    EXPECT_TRUE(from_json(R"({"rank_x": 0})").ends_with("as rank_x, got 0"));
    EXPECT_TRUE(
        from_json(R"({"rang_x": 1})").starts_with("[config] c.json: unknown option 'rang_x'"));
}

TEST(Config, TextsSetOptions) {
    TrainConfig config;
    set_option(config, "rank_x", "7", "[test]");
    set_option(config, "augment", "true", "[test]");
    set_option(config, "dropout", "0.25", "[test]");
    EXPECT_EQ(config.rank_x, 7);
    EXPECT_TRUE(config.augment);
    EXPECT_EQ(config.dropout, 0.25);
    EXPECT_EQ(message([&] { set_option(config, "dropout", "1", "[test]"); }),
              "[test] expected a number from 0 to below 1 as dropout, got 1");
    EXPECT_TRUE(message([&] {
                    set_option(config, "drop", "1", "[test]");
                }).starts_with("[test] unknown option 'drop'. Known: data, data_dir"));
}

TEST(Config, OptionsWithoutEffectAreFound) {
    std::vector<std::string> names = option_names();
    for (const Option& option : own_method_options())  // those of a method are its own matter
        EXPECT_EQ(std::erase(names, option.name), 1u);
    TrainConfig config;
    config.method = "compress-x";
    config.rank_x = 4;
    config.optimizer = "sgd";
    config.data = "cifar10";
    EXPECT_EQ(
        without_effect(config, names),
        (std::vector<std::string>{"pixel_scale has no effect: data cifar10 are not resized",
                                  "bad_pictures has no effect: data cifar10 are not resized",
                                  "workers has no effect: data cifar10 are not resized",
                                  "max_length has no effect: data cifar10 are images",
                                  "pad has no effect: data cifar10 are images",
                                  "batch_norm has no effect: model vit-micro has no BatchNorm",
                                  "epsilon has no effect: the ranks are fixed",
                                  "oversample has no effect: the ranks are fixed",
                                  "rank_g has no effect: the method is compress-x",
                                  "side_g has no effect: the method is compress-x",
                                  "calibrate_keep has no effect: calibrate is paper",
                                  "lr_step has no effect: the schedule is cosine",
                                  "gamma has no effect: the schedule is cosine"}));
    EXPECT_TRUE(without_effect(config, {"lr", "momentum", "side"}).empty());
}

TEST(JsonFile, IsStricterThanTheParser) {
    const auto parse = [](const std::string& text) {
        return message([&] { parse_json(text, "[test] it"); });
    };
    EXPECT_EQ(parse(R"({"a": [1, {"b": 2}, {"b": 3}], "c": {"a": 1}})"), "");
    EXPECT_EQ(parse(R"({"a": {"b": 1, "c": 2, "b": 3}})"), "[test] it has the key 'b' twice");
    EXPECT_EQ(parse("[1e400]"), "[test] it has a number that is too large: '1e400'");
    EXPECT_EQ(parse("[1, 2"), "[test] it is not valid JSON: mistake at byte 6");
    EXPECT_EQ(parse(std::string(64, '[') + std::string(64, ']')), "");
    EXPECT_EQ(parse(std::string(65, '[')), "[test] it is nested more than 64 levels deep");
    EXPECT_EQ(parse("\"\xff\""), "[test] it is not valid JSON: mistake at byte 2");
    // As many keys as a model has tensors: time grows with them, not with their square.
    std::string large = "{";
    for (int i = 0; i < 200'000; ++i) large += fmt::format("\"key{}\": {}, ", i, i);
    EXPECT_EQ(parse_json(large + "\"last\": 0}", "[test] it").size(), 200'001u);
}

}  // namespace
}  // namespace slimgrad
