// Bits by sensitivity: which are measured, and which follow from them.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "instant/codec/automatic_bits.h"
#include "instant/methods/gact.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/sequential.h"
#include "tests/error_of.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

double objective(const std::vector<Sensitivity>& values, const std::map<std::string, int>& bits) {
    double sum = 0;
    for (const auto& [name, elements, c] : values) {
        const double levels = std::exp2(bits.at(name)) - 1;
        sum += c / (levels * levels);
    }
    return sum;
}

std::int64_t bits_held(const std::vector<Sensitivity>& values,
                       const std::map<std::string, int>& bits) {
    std::int64_t sum = 0;
    for (const Sensitivity& value : values) sum += value.elements * bits.at(value.name);
    return sum;
}

// No other choice that holds no more bits is better.
TEST(Gact, BitsAreThoseOfAnExhaustiveSearch) {
    constexpr std::array ladder{1, 2, 4, 8, 32};
    Stream stream(1, "test");
    for (int round = 0; round < 40; ++round) {
        std::vector<Sensitivity> values;
        for (const char* name : {"a", "b", "c", "d"})
            values.push_back({name, 1 + static_cast<std::int64_t>(stream.below(5)) * 100,
                              std::exp2(double{stream.uniform(-8, 8)})});
        const double average = 1 + 7 * double{stream.uniform()};
        const auto chosen = allocate_bits(values, average);
        const std::int64_t held = bits_held(values, chosen);
        std::int64_t elements = 0;
        for (const Sensitivity& value : values) elements += value.elements;
        EXPECT_LE(static_cast<double>(held), average * static_cast<double>(elements));
        double best = std::numeric_limits<double>::infinity();
        for (const int a : ladder)
            for (const int b : ladder)
                for (const int c : ladder)
                    for (const int d : ladder) {
                        const std::map<std::string, int> bits{
                            {"a", a}, {"b", b}, {"c", c}, {"d", d}};
                        if (bits_held(values, bits) <= held)
                            best = std::min(best, objective(values, bits));
                    }
        EXPECT_LE(objective(values, chosen), best * (1 + 1e-12));
    }
}

TEST(Gact, EdgesOfTheChoiceOfBits) {
    EXPECT_TRUE(allocate_bits({}, 4).empty());
    EXPECT_EQ(allocate_bits({{"a", 10, 1}}, 40).at("a"), 32) << "nothing has to go";
    EXPECT_EQ(allocate_bits({{"a", 10, 1}}, 1).at("a"), 1);
    EXPECT_EQ(allocate_bits({{"a", 10, 0}, {"b", 10, 1}}, 4.5).at("b"), 8) << "a does not matter";
    EXPECT_EQ(error_of([] {
                  allocate_bits({{"a", 10, 1}}, 0.5);
              }),
              "[codec] expected at least 1 bit on average, got 0.5");
    EXPECT_EQ(error_of([] {
                  allocate_bits({{"a", 10, std::nan("")}}, 4);
              }),
              "[codec] the sensitivity of 'a' is nan");
    EXPECT_EQ(error_of([] {
                  allocate_bits({{"a", 10, 1}, {"a", 10, 1}}, 4);
              }),
              "[codec] 'a' is there twice");
}

/// A model of three kinds of kept values, and a rehearsal of its step.
struct Small {
    Small() {
        Stream stream(1, "test");
        model.add<Linear>(32, 64, stream);
        model.add<GELU>();
        model.add<LayerNorm>(64);
        model.add<Linear>(64, 8, stream);
        name_modules(model);
    }
    Rehearsal rehearsal() {
        return [this](const std::shared_ptr<const Codec>& codec, TapeObserver* observer) {
            Tape tape({.seed = 5, .codec = codec, .observer = observer});
            tape.backward(model.forward(tape.constant(x)), g);
        };
    }
    Sequential model;
    Tensor x = random({4, 6, 32}), g = random({4, 6, 8}, 2);
};

TEST(Gact, SensitivitiesByPassesAreThoseOfTheirDefinition) {
    Small small;
    const auto codec = std::make_shared<GactCodec>(QuantisedForm{.bits = 4});
    const auto found = sensitivities_by_passes(codec, small.model, small.rehearsal());
    ASSERT_EQ(found.size(), 4u);
    EXPECT_EQ(found[0].name, "0 x");
    EXPECT_EQ(found[0].elements, 4 * 6 * 32);
    for (const Parameter* parameter : parameters(small.model))
        EXPECT_FALSE(parameter->grad.defined());
    // x of the first layer matters to its own g_w alone: 3 passes differ by two roundings to 1 bit,
    // each of which adds what theory says.
    struct Watch final : TapeObserver {
        void differentiated(const Differentiated& call) override {
            if (call.function.name() == "0") gy = call.gy;
        }
        Tensor gy;
    } watch;
    small.rehearsal()(codec, &watch);
    zero_grad(small.model);
    const Tensor variances = rounding_variance(small.x, {.bits = 1});
    double theory = 0;
    for (std::int64_t row = 0; row < 24; ++row) {
        double of_g = 0, of_x = 0;
        for (std::int64_t c = 0; c < 64; ++c)
            of_g += double{watch.gy.data()[row * 64 + c]} * watch.gy.data()[row * 64 + c];
        for (std::int64_t c = 0; c < 32; ++c) of_x += variances.data()[row * 32 + c];
        theory += of_g * of_x;
    }
    EXPECT_GT(found[0].c, 1.3 * theory);
    EXPECT_LT(found[0].c, 3.5 * theory);
}

TEST(Gact, SensitivitiesByCallsRankValuesAsPassesDo) {
    Small small;
    const auto codec = std::make_shared<GactCodec>(QuantisedForm{.bits = 8});
    const auto passes = sensitivities_by_passes(codec, small.model, small.rehearsal());
    const auto calls = sensitivities_by_calls(codec, small.model, small.rehearsal());
    ASSERT_EQ(passes.size(), calls.size());
    const auto by_c = [](std::vector<Sensitivity> values) {
        std::ranges::sort(values, std::greater(), &Sensitivity::c);
        std::vector<std::string> names;
        for (const Sensitivity& value : values) names.push_back(value.name);
        return names;
    };
    EXPECT_EQ(by_c(passes), by_c(calls));
    for (std::size_t i = 0; i < calls.size(); ++i) {
        EXPECT_EQ(passes[i].name, calls[i].name);
        EXPECT_EQ(passes[i].elements, calls[i].elements);
        EXPECT_GT(calls[i].c, 0.15 * passes[i].c) << calls[i].name;
        EXPECT_LT(calls[i].c, 1.5 * passes[i].c) << calls[i].name;
    }
    for (const Parameter* parameter : parameters(small.model))
        EXPECT_FALSE(parameter->grad.defined());
}

TEST(Gact, SensitivitiesAreThoseOfValuesLeftAsTheyAreToo) {
    Small small;
    const auto codec = std::make_shared<GactCodec>(QuantisedForm{.bits = 4});
    const std::map<std::string, int> bits{{"0 x", 32}, {"3 x", 1}};
    for (const auto& find : {sensitivities_by_calls, sensitivities_by_passes}) {
        codec->set_bits({});
        const auto before = find(codec, small.model, small.rehearsal());
        codec->set_bits(bits);
        const auto after = find(codec, small.model, small.rehearsal());
        EXPECT_EQ(codec->bits(), bits);
        ASSERT_EQ(after.size(), before.size());
        for (std::size_t i = 0; i < after.size(); ++i) {
            EXPECT_EQ(after[i].name, before[i].name);
            EXPECT_GT(after[i].c, 0) << after[i].name;
            if (after[i].name == "0 x" || find == sensitivities_by_calls) {
                EXPECT_EQ(after[i].c, before[i].c) << after[i].name;
            }
        }
    }
}

TEST(Gact, BitsAreOfALayerHoweverOftenItRuns) {
    Stream stream(1, "test");
    Sequential model;
    auto& layer = model.add<Linear>(32, 32, stream);
    name_modules(model);
    const Tensor x = random({4, 6, 32}), g = random({4, 6, 32}, 2);
    const Rehearsal twice = [&](const std::shared_ptr<const Codec>& codec, TapeObserver* observer) {
        Tape tape({.codec = codec, .observer = observer});
        tape.backward(layer.forward(layer.forward(tape.constant(x))), g);
    };
    const auto codec = std::make_shared<GactCodec>(QuantisedForm{.bits = 4});
    for (const auto& find : {sensitivities_by_calls, sensitivities_by_passes}) {
        const auto found = find(codec, model, twice);
        ASSERT_EQ(found.size(), 1u);
        EXPECT_EQ(found[0].elements, 2 * 4 * 6 * 32);
        EXPECT_EQ(allocate_bits(found, 4).at("0 x"), 4);
    }
}

}  // namespace
}  // namespace slimgrad
