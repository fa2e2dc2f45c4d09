// The table of methods: what an entry brings is all that the rest of slimgrad knows of it.
#include "instant/methods/method.h"

#include <gtest/gtest.h>

#include <set>

#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "instant/methods/low_rank_rule.h"
#include "nn/linear.h"
#include "nn/sequential.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

std::shared_ptr<const BackwardRule> exact(const RuleRequest&) { return ExactRule::instance(); }

/// A rule that remembers what its entry was told.
struct Told final : BackwardRule {
    explicit Told(std::int64_t depth) : depth(depth) {}
    std::int64_t depth;
    std::string name() const override { return "told"; }
    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        ExactRule::instance()->save(x, saved, call);
    }
    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        return ExactRule::instance()->backward(gy, saved, call);
    }
};

const Option depth{"depth", Integers{1, 9}, "how deep", std::int64_t{3}};

/// Registered once in this process.
void register_told() {
    static const bool once = [] {
        register_method({.name = "test-told",
                         .help = "a method of a test",
                         .x_slot = "x",
                         .g_slot = "g W",
                         .rule =
                             [](const RuleRequest& r) {
                                 const auto value = r.options.own.get<std::int64_t>(depth);
                                 return std::make_shared<const Told>(value);
                             },
                         .options = {depth}});
        return true;
    }();
    (void)once;
}

TEST(Methods, EveryEntrySaysWhatItIs) {
    std::set<std::string> names, fields;
    for (const Option& option : method_options()) EXPECT_TRUE(fields.insert(option.name).second);
    for (const Method& method : methods()) {
        SCOPED_TRACE(method.name);
        EXPECT_TRUE(names.insert(method.name).second);
        EXPECT_EQ(&find_method(method.name), &method);
        for (const std::string& text : {method.help, method.x_slot, method.g_slot})
            EXPECT_FALSE(text.empty());
        EXPECT_TRUE(method.rule || method.projection || method.adapt || method.tape);
        for (const std::string& name : method.heeds) EXPECT_TRUE(fields.contains(name)) << name;
        for (const Option& option : method.options) EXPECT_TRUE(fields.contains(option.name));
    }
    EXPECT_EQ(methods().front().name, "vanilla");
    const std::string unknown = error_of([] { find_method("magic"); });
    EXPECT_EQ(unknown.find("[method] unknown method 'magic'; known: vanilla, compress-x"), 0u);
    EXPECT_NE(unknown.find("the program that registers it"), std::string::npos);
}

TEST(Methods, OneOfAUsersIsInstalledWithItsOptions) {
    register_told();
    Stream stream(1, "test");
    Sequential model;
    Linear& body = model.add<Linear>(3, 4, stream);
    Linear& top = model.add<Linear>(4, 2, stream);
    top.set_compressible(false);
    name_modules(model);

    MethodOptions options{.method = "test-told"};
    {
        const Calibrator calibrator(model, options);
        EXPECT_FALSE(calibrator.needed());
        EXPECT_EQ(body.rule()->name(), "told");
        EXPECT_EQ(dynamic_cast<const Told&>(*body.rule()).depth, 3);
        EXPECT_EQ(top.rule()->name(), "vanilla");
    }
    options.own.set("[test]", depth, std::int64_t{7});
    const Calibrator calibrator(model, options);
    EXPECT_EQ(dynamic_cast<const Told&>(*body.rule()).depth, 7);

    EXPECT_EQ(error_of([&] { options.own.set("[test]", depth, std::int64_t{10}); }),
              "[test] expected a whole number from 1 to 9 as depth, got 10");
    EXPECT_EQ(error_of([&] { options.own.set("[test]", depth, std::string("deep")); }),
              "[test] expected a whole number from 1 to 9 as depth, got deep");
    options.own.given(depth) = std::int64_t{0};
    EXPECT_NE(error_of([&] { validate(options); }), "no error");
}

TEST(Methods, OptionsThatAMethodDoesNotHeedAreIdle) {
    register_told();
    const auto notes = [](const char* method, const std::vector<std::string>& given) {
        return idle_notes(idle_method_options({.method = method}), given);
    };
    EXPECT_EQ(notes("instant", {"epsilon", "rank_x", "side_g"}).size(), 0u);
    EXPECT_EQ(notes("compress-x", {"rank_g", "depth"}),
              (std::vector<std::string>{"rank_g has no effect: the method is compress-x",
                                        "depth has no effect: the method is compress-x"}));
    EXPECT_EQ(notes("test-told", {"depth"}).size(), 0u);
    EXPECT_EQ(notes("random", {"rank", "side", "redraw_every", "rank_x"}).size(), 0u);
    EXPECT_EQ(notes("random", {"epsilon"}).size(), 1u);
    EXPECT_EQ(notes("espace", {"ratio", "side"}).size(), 0u);
    EXPECT_EQ(notes("espace", {"rank_x", "redraw_every", "break_even", "side_g"}).size(), 4u);
    EXPECT_EQ(notes("test-told", {"epsilon"}).size(), 1u);
    EXPECT_EQ(notes("gact", {"bits", "group_size", "gelu_bits"}).size(), 0u);
    EXPECT_EQ(notes("sketch+gact", {"adapt_every", "sensitivity", "rank"}).size(), 2u);
}

TEST(Methods, WhatIsSaidOfASlotStandsBeforeWhatIsSaidOfBoth) {
    const auto notes = [](const MethodOptions& options) {
        return idle_notes(idle_method_options(options), {"epsilon", "rank", "ratio", "side"});
    };
    EXPECT_EQ(notes({.method = "compress-x", .rank_x = 3, .side_x = "token"}),
              (std::vector<std::string>{"epsilon has no effect: the ranks are fixed",
                                        "rank has no effect: the method is compress-x",
                                        "ratio has no effect: the method is compress-x",
                                        "side has no effect: each slot has its own"}));
    EXPECT_EQ(notes({.method = "compress-x", .rank_g = 3, .side_g = "token"}).size(), 2u);
    EXPECT_EQ(notes({.method = "random", .rank_x = 3, .side_x = "token"}).size(), 1u);
    EXPECT_EQ(
        notes({.method = "random", .rank_x = 3, .rank_g = 3, .side_x = "token", .side_g = "token"}),
        (std::vector<std::string>{"epsilon has no effect: the method is random",
                                  "rank has no effect: the ranks are fixed",
                                  "ratio has no effect: the ranks are fixed",
                                  "side has no effect: each slot has its own"}));
    MethodOptions fixed{.method = "espace"};
    EXPECT_EQ(notes(fixed).size(), 1u);
    fixed.own.set("[test]", method_option("rank"), std::int64_t{3});
    EXPECT_EQ(notes(fixed), (std::vector<std::string>{"epsilon has no effect: the method is espace",
                                                      "ratio has no effect: the rank is fixed"}));
}

TEST(Methods, WhatARuleWithoutClosedFormCostsIsNotGuessed) {
    register_told();
    const LinearShape layer{"layer", 7, 5, 6, 7 * 5, "layer"};
    EXPECT_EQ(error_of([&] { compression_of(layer, {.method = "test-told"}); }),
              "[cost] method 'test-told' has no closed form. Hint: train with it, its run counts");
    EXPECT_EQ(compression_of(layer, {.method = "galore"}).rank_x, std::nullopt);
}

TEST(Methods, NamesThatDoNotGoTogetherAreRefused) {
    register_told();
    const auto refused = [](const std::string& name) {
        return error_of([&] { find_method(name); });
    };
    EXPECT_EQ(refused("instant+random"),
              "[method] 'instant+random': random does not go with what is named before it");
    EXPECT_EQ(refused("random+instant"),
              "[method] 'random+instant': instant does not go with what is named before it");
    EXPECT_EQ(refused("test-told+test-told"),
              "[method] 'test-told+test-told': test-told does not go with what is named before it");
    EXPECT_EQ(refused("instant+magic").find("[method] unknown method 'magic'; known: vanilla,"),
              0u);
    EXPECT_EQ(refused("magic+instant").find("[method] unknown method 'magic'; known: vanilla,"),
              0u);
    for (const std::string name : {"instant+", "+instant", "+", "random++espace"})
        EXPECT_NE(refused(name), "no error") << name;
    // What was refused once is refused again: no half of a combination stays behind.
    EXPECT_NE(refused("instant+random"), "no error");
    EXPECT_NE(error_of([] { validate({.method = "instant+random"}); }), "no error");
}

TEST(Methods, EntriesThatCannotBeAreRefused) {
    register_told();
    const auto refused = [](Method method) {
        return error_of([&] { register_method(std::move(method)); });
    };
    EXPECT_EQ(refused({.name = "vanilla", .rule = exact}),
              "[method] there is already a method 'vanilla'");
    EXPECT_EQ(refused({.name = "test-adapts",
                       .adapt = [](Module&, const MethodOptions&, std::uint64_t) {}}),
              "no error")
        << "one that changes the model needs no rule";
    EXPECT_EQ(refused({.name = "test-none"}), "[method] expected an entry with a name and a rule");
    EXPECT_EQ(refused({.name = "test-other",
                       .rule = exact,
                       .options = {{"depth", Integers{1, 8}, "how deep", std::int64_t{3}}}}),
              "[method] 'test-other': there is already an option 'depth', and it means something "
              "else");
    EXPECT_EQ(refused({.name = "test-other",
                       .rule = exact,
                       .options = {{"width", Integers{1, 8}, "how wide", std::int64_t{9}}}}),
              "[method] expected a whole number from 1 to 8 as width, got 9");
    EXPECT_EQ(
        refused({.name = "test-other",
                 .rule = exact,
                 .options = {{"a-b", Integers{1, 8}, "", std::int64_t{3}}}}),
        "[method] 'test-other': expected options of small letters, digits and '_', got 'a-b'");
    for (const std::string name :
         {"test+other", "+", "test:other", "test,other", " test", "test/other", "..", "-test"})
        EXPECT_EQ(
            refused({.name = name, .rule = exact}),
            "[method] expected a name of letters, digits, '-', '_' and '.', got '" + name + "'");
    for (const std::string& name : method_names()) EXPECT_NE(name, "test-other");
}

}  // namespace
}  // namespace slimgrad
