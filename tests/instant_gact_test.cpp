// What layers keep in few bits: the quantiser, the codec, bits by sensitivity, and the closed form.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "autograd/ops.h"
#include "instant/calibration/calibrator.h"
#include "instant/codec/automatic_bits.h"
#include "instant/cost/kept.h"
#include "instant/methods/gact.h"
#include "instant/methods/patch_rule.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "nn/models/text_model.h"
#include "nn/sequential.h"
#include "nn/silu.h"
#include "tensor/meter.h"
#include "tests/error_of.h"
#include "tests/values.h"

namespace slimgrad {
namespace {

constexpr std::array all_scales{Scales::group, Scales::token, Scales::channel};

Quantised::StreamOf stream_of_step(std::uint64_t step) {
    return [step](std::int64_t sample) {
        return Stream(3, "test", step, static_cast<std::uint32_t>(sample));
    };
}

std::int64_t held_bytes(const Packed& payload) {
    std::int64_t bytes = 0;
    for (const auto& storage : payload.held()) bytes += static_cast<std::int64_t>(storage->bytes());
    return bytes;
}

MethodOptions with(const std::string& method,
                   const std::vector<std::pair<std::string, OptionValue>>& values = {}) {
    MethodOptions options{.method = method};
    for (const auto& [name, value] : values) options.own.set("[test]", method_option(name), value);
    return options;
}

// ---- the quantiser

// The mean of n draws lies within 5 standard errors, and their variance within 5 of its own: the
// fourth moment of a rounding is at most its variance times step², which bounds the latter.
TEST(Quantised, IsUnbiasedAndItsVarianceIsThatOfTheory) {
    constexpr int draws = 1000;
    for (const Scales scales : all_scales)
        for (const Shape& shape : {Shape{2, 5, 37}, Shape{2, 3, 4, 6}})
            for (const int bits : {1, 2, 4, 8}) {
                const QuantisedForm form{bits, scales, 64};
                const Tensor x = random(shape), theory = rounding_variance(x, form);
                std::vector<double> sum(x.values().size()), squares(x.values().size());
                for (std::uint64_t draw = 0; draw < draws; ++draw) {
                    const Tensor back = Quantised(x, form, stream_of_step(draw)).unpack();
                    for (std::size_t i = 0; i < sum.size(); ++i) {
                        const double error = double{back.values()[i]} - x.values()[i];
                        sum[i] += error;
                        squares[i] += error * error;
                    }
                }
                const double range = 10, step = range / ((1 << bits) - 1);
                const double dust = 1e-5;  // u has 16 bits, and the numbers 24
                double total = 0, expected = 0;
                for (std::size_t i = 0; i < sum.size(); ++i) {
                    const double variance = theory.values()[i];
                    // A few roundings up of a fraction next to 0 are no news either.
                    EXPECT_LT(std::abs(sum[i] / draws),
                              5 * std::sqrt(variance / draws) + 4 * step / draws + dust * range);
                    total += squares[i] / draws;
                    expected += variance;
                }
                EXPECT_NEAR(total, expected, 5 * std::sqrt(expected * step * step / draws) + 1e-4);
            }
}

TEST(Quantised, HoldsWhatItsFormSays) {
    const std::int64_t number = sizeof(real);
    for (const Scales scales : all_scales)
        for (const Shape& sample : {Shape{}, Shape{1}, Shape{7}, Shape{300}, Shape{5, 37},
                                    Shape{1, 8}, Shape{3, 4, 6}, Shape{0, 4}})
            for (const int bits : {1, 2, 4, 8})
                for (const std::int64_t samples : {0, 1, 3}) {
                    const QuantisedForm form{bits, scales, 64};
                    Shape shape{samples};
                    shape.insert(shape.end(), sample.begin(), sample.end());
                    const Tensor x = random(shape);
                    const Quantised q(x, form, stream_of_step(0));
                    EXPECT_EQ(held_bytes(q), form.bytes(sample, samples, number));
                    EXPECT_EQ(q.unpack().shape(), shape);
                }
    // 5 tokens of 37 channels in 4 bits: 19 bytes a token.
    EXPECT_EQ((QuantisedForm{4, Scales::token}.bytes({5, 37}, 1, 4)), 5 * 19 + 5 * 8);
    EXPECT_EQ((QuantisedForm{4, Scales::channel}.bytes({5, 37}, 1, 4)), 5 * 19 + 37 * 8);
    EXPECT_EQ((QuantisedForm{4, Scales::group, 64}.bytes({5, 37}, 1, 4)), 93 + 3 * 8);
    // Of images a channel is a plane, a token a pixel.
    EXPECT_EQ((QuantisedForm{8, Scales::channel}.bytes({3, 4, 6}, 1, 4)), 72 + 3 * 8);
    EXPECT_EQ((QuantisedForm{8, Scales::token}.bytes({3, 4, 6}, 1, 4)), 72 + 24 * 8);
}

TEST(Quantised, ScalesAreOfWhatTheySay) {
    // One token a thousand times the others, then one channel: only their own scale feels it.
    for (const bool token : {true, false}) {
        Tensor x = random({1, 6, 40});
        for (std::int64_t t = 0; t < 6; ++t)
            for (std::int64_t c = 0; c < 40; ++c)
                if (token ? t == 2 : c == 7) x.data()[t * 40 + c] *= 1000;
        const auto error = [&](Scales scales) {
            const Tensor back = Quantised(x, {8, scales, 240}, stream_of_step(0)).unpack();
            double sum = 0;
            for (std::int64_t t = 0; t < 6; ++t)
                for (std::int64_t c = 0; c < 40; ++c)
                    if (token ? t != 2 : c != 7)
                        sum += std::abs(double{back.at({0, t, c})} - x.at({0, t, c}));
            return sum / (6 * 40);
        };
        EXPECT_GT(error(Scales::group), 1) << "one scale for all";
        EXPECT_LT(error(token ? Scales::token : Scales::channel), 0.05);
    }
}

TEST(Quantised, WhatIsNotFiniteIsRefusedWithTheLayersName) {
    for (const Scales scales : all_scales)
        for (const real bad :
             {std::numeric_limits<real>::quiet_NaN(), std::numeric_limits<real>::infinity()}) {
            Tensor x = random({3, 5, 40});
            x.data()[200 + 7] = bad;  // of sample 1
            const LayerScope layer("blocks.0.fc1");
            const std::string said = error_of([&] {
                Quantised(x, {4, scales}, stream_of_step(0));
            });
            EXPECT_EQ(said.rfind("[blocks.0.fc1] a value of sample 1 is not finite and cannot be "
                                 "kept in 4 bits",
                                 0),
                      0u)
                << said;
        }
    // Each value is finite, but the distance between them is not.
    for (const Scales scales : all_scales) {
        Tensor x = random({3, 5, 40});
        x.data()[200] = std::numeric_limits<real>::max();
        x.data()[201] = x.data()[240] = -std::numeric_limits<real>::max();
        const LayerScope layer("blocks.0.fc1");
        EXPECT_EQ(error_of([&] {
                      Quantised(x, {4, scales}, stream_of_step(0));
                  }).rfind("[blocks.0.fc1] a value of sample 1 is not finite", 0),
                  0u);
    }
    EXPECT_EQ(error_of([] {
                  Quantised(random({1, 8}), {4, Scales::group, 12}, stream_of_step(0));
              }),
              "[codec] expected groups of a multiple of 8 elements, got 12");
}

// ---- the codec

TEST(Gact, PacksEachActivationOnceAndNothingElse) {
    Stream stream(1, "test");
    Sequential model;
    Linear& q = model.add<Linear>(64, 64, stream);
    Linear& k = model.add<Linear>(64, 64, stream);
    name_modules(model);
    Tape tape(tape_options(with("gact")));
    const Var x = tape.input(random({2, 8, 64}));
    const Var loss = sum(q.forward(x) * k.forward(x));
    // x once for both, and the two factors.
    const std::int64_t each = QuantisedForm{.bits = 4}.bytes({8, 64}, 2, sizeof(real));
    EXPECT_EQ(ledger()[Category::saved].live, 3 * each);
    tape.backward(loss);
    EXPECT_EQ(ledger()[Category::saved].live, 0);

    // 32 bits are none.
    Tape plain(tape_options(with("gact", {{"bits", std::string("32")}})));
    const Var y = q.forward(plain.input(random({2, 8, 64})));
    EXPECT_EQ(ledger()[Category::saved].live, 2 * 8 * 64 * static_cast<std::int64_t>(sizeof(real)));
}

TEST(Gact, EvaluationIsExact) {
    for (TapeOptions options : {tape_options(with("gact")), TapeOptions{.derivative_bits = 2}}) {
        options.training = false;
        EXPECT_EQ(error_of([&] { Tape tape(options); }),
                  "[tape] evaluation is exact: a codec and derivatives in few bits are for "
                  "training");
    }
}

TEST(Gact, WhatWouldNotShrinkIsLeftAsItIs) {
    const GactCodec codec({.bits = 8});
    EXPECT_EQ(codec.form_of("a x", {2}), std::nullopt) << "two numbers need two numbers of range";
    EXPECT_EQ(codec.form_of("a x", {}), std::nullopt);
    EXPECT_EQ(codec.form_of("a x", {2, 2, 2, 64}), std::nullopt) << "five axes";
    EXPECT_TRUE(codec.form_of("a x", {64}).has_value());
    const auto cost = codec.cost("a x", {2}, 3);
    ASSERT_TRUE(cost.has_value());
    EXPECT_EQ(cost->bytes, 3 * 2 * 4);
    EXPECT_EQ(cost->pack, 0);
}

TEST(Gact, TheGradientOfALinearLayerIsRightOnAverage) {
    Stream stream(1, "test");
    Linear layer(48, 8, stream);
    const Tensor x = random({3, 5, 48}), g = random({3, 5, 8}, 2);
    const auto gradient = [&](const std::string& method, std::uint64_t step) {
        TapeOptions options = tape_options(with(method, {}));
        options.step = step;
        Tape tape(options);
        const Var in = tape.input(x);
        tape.backward(layer.forward(in), g);
        Tensor gw = layer.weight().grad.dense();
        zero_grad(layer);
        return gw;
    };
    const Tensor exact = gradient("vanilla", 0);
    constexpr int draws = 400;
    Tensor mean = Tensor::zeros(exact.shape());
    double one = 0;
    for (int i = 0; i < draws; ++i) {
        const Tensor gw = gradient("gact", static_cast<std::uint64_t>(i));
        one += sum_squares(gw - exact) / draws;
        mean = mean + gw * (real(1) / draws);
    }
    EXPECT_GT(one, 0);
    const double left = sum_squares(mean - exact);
    EXPECT_LT(left, 1.5 * one / draws) << "the mean of independent errors";
    // And the error of one is what theory says of a linear layer.
    const Tensor variances = rounding_variance(x, {.bits = 4});
    double theory = 0;
    for (std::int64_t row = 0; row < 15; ++row) {
        double of_g = 0, of_x = 0;
        for (std::int64_t c = 0; c < 8; ++c)
            of_g += double{g.data()[row * 8 + c]} * g.data()[row * 8 + c];
        for (std::int64_t c = 0; c < 48; ++c) of_x += variances.data()[row * 48 + c];
        theory += of_g * of_x;
    }
    EXPECT_NEAR(one / theory, 1, 0.1);
}

TEST(Gact, OptionsAndTheCodecWord) {
    EXPECT_EQ(gact_codec(with("gact"))->form_of("a", {64})->bits, 4);
    EXPECT_EQ(gact_codec(with("gact", {{"bits", std::string("2")}}))->form_of("a", {64})->bits, 2);
    for (const auto& [level, bits] : {std::pair{"L1", 4}, {"L1.1", 8}, {"L1.2", 2}, {"L2", 4}})
        EXPECT_EQ(
            gact_codec(with("gact", {{"level", std::string(level)}}))->form_of("a", {64})->bits,
            bits);
    EXPECT_EQ(automatic_bits(with("gact")), std::nullopt);
    EXPECT_EQ(automatic_bits(with("vanilla")), std::nullopt);
    EXPECT_EQ(automatic_bits(with("gact", {{"level", std::string("L2.1")}})), 3);

    MethodOptions options{.method = "instant"};
    add_codec(options, "gact:L2", "[test]");
    EXPECT_EQ(options.method, "instant+gact");
    EXPECT_EQ(automatic_bits(options), 4);
    EXPECT_EQ(error_of([&] { add_codec(options, "gact", "[test]"); }),
              "[test] method 'instant+gact' has a codec already, got codec 'gact'");
    MethodOptions vanilla;
    EXPECT_EQ(error_of([&] { add_codec(vanilla, "zip", "[test]"); }),
              "[test] expected codec gact, or gact:LEVEL with a level of L1, L1.1, L1.2, L2, L2.1, "
              "L2.2, got 'zip'");
    EXPECT_EQ(error_of([&] { add_codec(vanilla, "gact:L3", "[test]"); }),
              "[test] unknown level 'L3'. Known: L1, L1.1, L1.2, L2, L2.1, L2.2");
    add_codec(vanilla, "gact", "[test]");
    EXPECT_EQ(vanilla.method, "gact");
    EXPECT_EQ(error_of([] {
                  tape_options(with("gact", {{"group_size", std::int64_t{12}}}));
              }),
              "[method] expected a group_size that is a multiple of 8, got 12");
}

// ---- bits by sensitivity

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

// ---- cheaper activations

template <class Layer>
void expect_unbiased_derivative(Layer& layer, int bits) {
    const Tensor x = random({3, 5, 21}) * real(2), g = random({3, 5, 21}, 2);
    const auto gradient = [&](int derivative_bits, std::uint64_t step) {
        Tape tape({.step = step, .derivative_bits = derivative_bits});
        const Var in = tape.input(x);
        const Var y = layer.forward(in);
        if (derivative_bits > 0) {
            EXPECT_EQ(ledger()[Category::saved].live, 3 * 14 * derivative_bits)
                << "105 elements a sample are 14 times eight";
        }
        tape.backward(y, g);
        return tape.gradient(in);
    };
    const Tensor exact = gradient(0, 0);
    constexpr int draws = 600;
    Tensor mean = Tensor::zeros(exact.shape());
    double one = 0;
    for (int i = 0; i < draws; ++i) {
        const Tensor gx = gradient(bits, static_cast<std::uint64_t>(i));
        one += sum_squares(gx - exact) / draws;
        mean = mean + gx * (real(1) / draws);
    }
    EXPECT_GT(one, 0);
    EXPECT_LT(sum_squares(mean - exact), 1.4 * one / draws);
}

TEST(CheaperActivations, DerivativesInFewBitsAreRightOnAverage) {
    for (const int bits : {2, 3}) {
        GELU erf(GELU::Form::erf), tanh(GELU::Form::tanh);
        SiLU silu;
        expect_unbiased_derivative(erf, bits);
        expect_unbiased_derivative(tanh, bits);
        expect_unbiased_derivative(silu, bits);
    }
    GELU layer(GELU::Form::erf);
    EXPECT_EQ(error_of([&] {
                  Tape tape({.derivative_bits = 4});
                  layer.forward(tape.input(random({2, 8})));
              }),
              "[gelu] expected derivatives of 2 or 3 bits, got 4");
}

TEST(CheaperActivations, LayerNormMayKeepItsOutput) {
    LayerNorm layer(24);
    Stream stream(1, "test");
    for (Parameter* parameter : parameters(layer))
        parameter->value.copy_from(uniform({24}, real(0.3), 2, stream));
    const Tensor x = random({3, 5, 24}) * real(3) + Tensor::full({3, 5, 24}, 2);
    const Tensor g = random({3, 5, 24}, 2);
    const auto gradients = [&](bool output) {
        Tape tape({.norm_keeps_output = output});
        const Var in = tape.input(x);
        tape.backward(layer.forward(in), g);
        std::vector<Tensor> all{tape.gradient(in)};
        for (Parameter* parameter : parameters(layer)) all.push_back(parameter->grad.dense());
        zero_grad(layer);
        return all;
    };
    const auto of_x = gradients(false), of_y = gradients(true);
    for (std::size_t i = 0; i < of_x.size(); ++i)
        expect_close(of_y[i], of_x[i], fmt::format("{}", i), sizeof(real) == 8 ? 1e-12 : 1e-4);
    // A channel scaled to little, or to nothing, does not say what x was.
    for (const real scale : {real(0.05), real(0)}) {
        parameters(layer)[0]->value.data()[3] = scale;
        const auto without = gradients(false), fallen_back = gradients(true);
        for (std::size_t i = 0; i < without.size(); ++i)
            EXPECT_TRUE(std::ranges::equal(without[i].values(), fallen_back[i].values()));
    }
}

TEST(CheaperActivations, ALinearLayerSharesTheOutputThatLayerNormKeeps) {
    Stream stream(1, "test");
    Sequential model;
    model.add<LayerNorm>(64);
    model.add<Linear>(64, 64, stream);
    name_modules(model);
    const auto saved = [&](const char* keeps) {
        Tape tape(tape_options(with("gact", {{"norm_keeps", std::string(keeps)}})));
        const Var y = model.forward(tape.constant(random({2, 8, 64})));
        return ledger()[Category::saved].live;
    };
    EXPECT_EQ(saved("input") - saved("output"),
              QuantisedForm{.bits = 4}.bytes({8, 64}, 2, sizeof(real)));
}

// ---- the closed form of a whole model

constexpr std::int64_t batch = 3;

struct WholeModel {
    std::unique_ptr<Module> model;
    std::function<Var(Tape&, std::int64_t)> loss;
};

std::vector<std::int32_t> labels(std::int64_t count) {
    return std::vector<std::int32_t>(static_cast<std::size_t>(count), 1);
}

WholeModel images(const std::string& name) {
    WholeModel all{make_model(name, {.channels = 3, .height = 16, .width = 16, .classes = 10}), {}};
    all.loss = [model = all.model.get()](Tape& tape, std::int64_t count) {
        return cross_entropy(model->forward(tape.constant(random({count, 3, 16, 16}))),
                             labels(count));
    };
    return all;
}

WholeModel texts() {
    BertConfig config = bert_preset("bert-tiny");
    config.vocab_size = 100;
    auto model = make_text_model(config);
    WholeModel all;
    all.loss = [model = model.get()](Tape& tape, std::int64_t count) {
        constexpr std::int64_t length = 16;
        const auto n = static_cast<std::size_t>(count * length);
        const Tokens tokens{.length = length,
                            .ids = std::vector<std::int32_t>(n, 7),
                            .types = std::vector<std::int32_t>(n, 0),
                            .key_padding = Tensor::zeros({count, length})};
        return cross_entropy(model->forward(tape, tokens), labels(count));
    };
    all.model = std::move(model);
    return all;
}

/// What the ledger says at the end of forward, and what the closed form says.
void expect_agreement(WholeModel& all, MethodOptions method, bool texts = false) {
    SCOPED_TRACE(method.method);
    method.rank_x = method.rank_g = 2;
    method.batch = batch;
    method.own.set("[test]", grid_option(), std::string(texts ? "4x4" : ""));
    const TapeOptions options = tape_options(method);
    const auto forward = [&](Tape& tape, std::int64_t count) { all.loss(tape, count); };
    const std::vector<KeptValue> values = trace_kept(*all.model, options, forward);
    const std::vector<LinearShape> shapes = trace_linear_maps(*all.model, [&] {
        Tape tape({.update_statistics = false});
        all.loss(tape, 2);
    });
    Calibrator calibrator(*all.model, method);
    calibrator.calibrate([&] {
        Tape tape({.update_statistics = false});
        tape.backward(all.loss(tape, batch));
    });
    const KeptBytes expected = kept_bytes(
        values, options.codec.get(),
        model_cost(shapes, compressions_of(shapes, method), batch, Convention::executed), batch);
    Tape tape(options);
    const Var loss = all.loss(tape, batch);
    EXPECT_EQ(ledger()[Category::saved].live, expected.total);
    tape.backward(loss);
    EXPECT_EQ(ledger()[Category::saved].live, 0);
    zero_grad(*all.model);
    std::int64_t sum = 0;
    for (const std::int64_t bytes : expected.of_value) sum += bytes;
    EXPECT_EQ(sum, expected.total);
}

void expect_agreement_of_every_combination(WholeModel& all, bool is_text) {
    for (const std::string method : {"vanilla", "instant", "compress-x", "compress-gy", "random",
                                     "sketch", "compact", "galore", "lbp-wht"}) {
        expect_agreement(all, with(method), is_text);
        if (method != "vanilla") expect_agreement(all, with(method + "+gact"), is_text);
    }
    for (const char* level : {"L1", "L1.1", "L1.2", "L2"})
        expect_agreement(all, with("gact", {{"level", std::string(level)}}));
    for (const char* bits : {"1", "32"})
        expect_agreement(all, with("gact", {{"bits", std::string(bits)}}));
    for (const char* scales : {"token", "channel"})
        expect_agreement(all, with("gact", {{"scales", std::string(scales)}}));
    for (const char* keep_x : {"8", "4"})
        expect_agreement(all, with("sketch+gact", {{"keep_x", std::string(keep_x)}}));
    for (const char* bits : {"2", "3"})
        expect_agreement(all, with("gact", {{"gelu_bits", std::string(bits)},
                                            {"norm_keeps", std::string("output")}}));
}

TEST(KeptBytes, TheLedgerAgreesForEveryLevelAndCombination) {
    if (sizeof(real) == 8) GTEST_SKIP() << "closed forms are in single precision";
    WholeModel vit = images("vit-micro"), bert = texts();
    expect_agreement_of_every_combination(vit, false);
    expect_agreement_of_every_combination(bert, true);
    for (const char* name : {"resnet20", "mlp"}) {
        WholeModel all = images(name);
        for (const char* method : {"vanilla", "gact", "instant+gact", "sketch+gact"})
            expect_agreement(all, with(method));
    }
}

TEST(KeptBytes, WhatAModelHoldsIsNamed) {
    WholeModel all = images("vit-micro");
    const auto values =
        trace_kept(*all.model, {}, [&](Tape& tape, std::int64_t count) { all.loss(tape, count); });
    const auto named = [&](const std::string& name) {
        return std::ranges::find_if(values, [&](const KeptValue& v) { return v.name() == name; });
    };
    const auto qkv = named("blocks.0.attention.qkv x");
    ASSERT_NE(qkv, values.end());
    EXPECT_TRUE(qkv->activation);
    EXPECT_TRUE(qkv->linear_x);
    EXPECT_EQ(qkv->sample.size(), 2u);
    EXPECT_EQ(qkv->bits_a_sample, 32 * numel(qkv->sample));
    EXPECT_EQ(qkv->bits_a_batch, 0);
    for (const KeptValue& value : values) EXPECT_NE(value.slot, "w") << "that is a parameter";
}

// With bits of its own each value holds what the closed form says.
TEST(KeptBytes, AutomaticBitsToo) {
    if (sizeof(real) == 8) GTEST_SKIP() << "closed forms are in single precision";
    WholeModel all = images("vit-micro");
    const auto codec = gact_codec(with("gact", {{"level", std::string("L2.1")}}));
    const auto rehearse = [&](const std::shared_ptr<const Codec>& used, TapeObserver* observer) {
        Tape tape({.codec = used, .observer = observer});
        tape.backward(all.loss(tape, batch));
    };
    const auto values = sensitivities_by_calls(codec, *all.model, rehearse);
    codec->set_bits(allocate_bits(values, 3));
    std::set<int> bits;
    for (const auto& [name, b] : codec->bits()) bits.insert(b);
    EXPECT_GT(bits.size(), 1u);
    const auto kept =
        trace_kept(*all.model, {}, [&](Tape& tape, std::int64_t count) { all.loss(tape, count); });
    Tape tape({.codec = codec});
    const Var loss = all.loss(tape, batch);
    EXPECT_EQ(ledger()[Category::saved].live,
              kept_bytes(kept, codec.get(), ModelCost{}, batch).total);
}

}  // namespace
}  // namespace slimgrad
