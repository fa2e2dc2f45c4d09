// What holds for every method of the table, whoever added it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "instant/calibration/calibrator.h"
#include "instant/cost/cost_model.h"
#include "nn/conv2d.h"
#include "nn/linear.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tests/error_of.h"

namespace slimgrad {
namespace {

constexpr std::int64_t batch = 3, extra = 1;  // a class token

struct Grid {
    std::int64_t rows, columns;
};
constexpr Grid ragged{5, 6}, whole_patches{8, 8};

/// Where a method is exact, if it ever is: the settings of its own options that make it so. Those
/// that are not listed here, though they have a rule, are never exact.
const std::map<std::string, std::map<std::string, OptionValue>> exact_limits{
    {"vanilla", {}},
    {"compress-x", {}},
    {"compress-gy", {}},
    {"instant", {}},
    {"espace", {{"rank", std::int64_t{1000}}}},
    {"gradient-filter", {{"patch", std::int64_t{1}}}},
    {"sketch", {{"rank", std::int64_t{1000}}}},
    {"lbp-wht", {{"order", std::int64_t{15}}}},
};

void set(MethodOptions& options, const std::string& name, const OptionValue& value) {
    for (const Option& option : find_method(options.method).options)
        if (option.name == name) options.own.set("[test]", option, value);
}

/// A method with settings under which it compresses.
MethodOptions compressing(const std::string& name) {
    MethodOptions options{.method = name};
    options.rank_x = options.rank_g = 2;
    options.batch = batch;
    set(options, "rank", std::int64_t{2});
    set(options, "order", std::int64_t{2});
    set(options, "patch", std::int64_t{4});
    return options;
}

MethodOptions exact(const std::string& name) {
    MethodOptions options{.method = name, .offset = "none", .batch = batch};
    options.rank_x = options.rank_g = 1000;
    for (const auto& [option, value] : exact_limits.at(name)) set(options, option, value);
    return options;
}

/// Methods with a rule: what changes the model or the optimiser alone has tests of its own.
std::vector<std::string> rules() {
    std::vector<std::string> names;
    for (const Method& method : methods())
        if (method.rule && !method.name.starts_with("test-")) names.push_back(method.name);
    return names;
}

/// One layer of tokens, or one convolution, as a model.
struct OneLayer final : Module {
    explicit OneLayer(bool convolution, Grid grid = ragged) : convolution(convolution), grid(grid) {
        name_modules(*this);
    }
    LinearMap& layer() {
        return convolution ? static_cast<LinearMap&>(conv) : static_cast<LinearMap&>(linear);
    }
    Var forward(const Var& x) override {
        if (convolution) return conv.forward(x);
        const TokenScope tokens(x.tape(), {grid.rows, grid.columns, extra});
        return linear.forward(x);
    }
    void visit(Visitor& visitor) override {
        if (convolution)
            visitor.module("conv", conv);
        else
            visitor.module("linear", linear);
    }
    std::string kind() const override { return "one_layer"; }
    Shape shape() const {
        return convolution ? Shape{batch, channels, grid.rows, grid.columns}
                           : Shape{batch, grid.rows * grid.columns + extra, channels};
    }

    static constexpr std::int64_t channels = 4;  // in and out: it may follow itself
    bool convolution;
    Grid grid;
    Stream stream{1, "layer"};
    Linear linear{channels, channels, stream};
    Conv2d conv{channels, channels, {.kernel = 3, .padding = 1}, stream};
};

Tensor draw(const Shape& shape, const char* what) {
    Stream stream(2, what);
    return normal(shape, 0, 1, stream);
}

/// The method on a model, calibrated on one pair where it must be.
void install(OneLayer& model, const MethodOptions& options) {
    Calibrator calibrator(model, options);
    calibrator.calibrate([&] {
        Tape tape({.update_statistics = false});
        tape.backward(model.forward(tape.input(draw(model.shape(), "x0"))),
                      draw(model.shape(), "g0"));
    });
}

struct Gradients {
    Tensor y, gx, gw, gb;
    std::int64_t saved = 0;
};

Gradients run(OneLayer& model, const Tensor& x, const Tensor& gy,
              const TapeOptions& tape_options = {}) {
    zero_grad(model);
    Gradients result;
    Tape tape(tape_options);
    const Var input = tape.input(x.clone());
    const Var y = model.forward(input);
    const auto saved = ledger().saved_by_layer();
    const auto own = saved.find(model.layer().path());
    result.saved = own == saved.end() ? 0 : own->second;
    result.y = y.value();
    tape.backward(y, gy);
    result.gx = tape.gradient(input);
    if (model.layer().weight().grad.defined()) result.gw = model.layer().weight().grad.dense();
    result.gb = model.layer().bias()->grad.dense();
    zero_grad(model);
    return result;
}

double relative_error(const Tensor& got, const Tensor& expected) {
    const Tensor difference = got - expected;
    return std::sqrt(sum_squares(difference) / sum_squares(expected));
}

constexpr double rounding = sizeof(real) == 4 ? 2e-5 : 1e-12;

class Table : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Layers, Table, testing::Bool(),
                         [](const auto& info) { return info.param ? "Conv2d" : "Linear"; });

TEST_P(Table, MethodsAreExactInTheirLimit) {
    for (const auto& [name, settings] : exact_limits) {
        if (!std::ranges::count(method_names(), name)) continue;
        if (name == "gradient-filter" && GetParam()) continue;  // it sums W over the kernel
        SCOPED_TRACE(name);
        OneLayer model(GetParam(), whole_patches);
        const Tensor x = draw(model.shape(), "x"), gy = draw(model.shape(), "g");
        const Gradients expected = run(model, x, gy);
        install(model, exact(name));
        const Gradients got = run(model, x, gy);
        EXPECT_LE(relative_error(got.y, expected.y), rounding);
        EXPECT_LE(relative_error(got.gx, expected.gx), rounding);
        EXPECT_LE(relative_error(got.gw, expected.gw), rounding);
        EXPECT_LE(relative_error(got.gb, expected.gb), rounding);
    }
}

TEST_P(Table, CountsAreThoseOfTheClosedForm) {
    for (const std::string& name : rules()) {
        SCOPED_TRACE(name);
        OneLayer model(GetParam());
        const MethodOptions options = compressing(name);
        const Tensor x = draw(model.shape(), "x"), gy = draw(model.shape(), "g");
        const std::vector<LinearShape> shapes = trace_linear_maps(model, [&] {
            Tape tape;
            model.forward(tape.input(x));
        });
        install(model, options);
        const LinearCost cost =
            model_cost(shapes, compressions_of(shapes, options), batch, Convention::executed).total;
        meter().reset();
        const Gradients got = run(model, x, gy);
        EXPECT_EQ(meter().phase("forward"), cost.forward);
        EXPECT_EQ(meter().phase("compress"), cost.compress);
        EXPECT_EQ(meter().phase("g_w"), cost.g_w);
        EXPECT_EQ(meter().phase("g_x"), cost.g_x);
        EXPECT_EQ(got.saved * number_bytes,
                  cost.saved_bytes * static_cast<std::int64_t>(sizeof(real)));
        EXPECT_EQ(ledger()[Category::saved].live, 0) << "nothing stays after backward";
    }
}

// y = f(f(x)): the gradients are the sums of those of two calls on tapes of their own.
TEST_P(Table, ALayerMayRunTwiceInOneGraph) {
    for (const std::string& name : rules()) {
        SCOPED_TRACE(name);
        OneLayer model(GetParam());
        install(model, compressing(name));
        const Tensor x = draw(model.shape(), "x"), gy = draw(model.shape(), "g");
        Tape tape;
        const Var input = tape.input(x.clone());
        const Var hidden = model.forward(input);
        tape.backward(model.forward(hidden), gy);
        const Tensor gw = model.layer().weight().grad.dense();
        const Gradients second = run(model, hidden.value(), gy);
        const Gradients first = run(model, x, second.gx);
        EXPECT_LE(relative_error(tape.gradient(input), first.gx), rounding);
        EXPECT_LE(relative_error(gw, first.gw + second.gw), rounding);
    }
}

TEST_P(Table, EvaluationIsExact) {
    for (const std::string& name : rules()) {
        SCOPED_TRACE(name);
        OneLayer model(GetParam());
        const Tensor x = draw(model.shape(), "x"), gy = draw(model.shape(), "g");
        const Gradients expected = run(model, x, gy);
        install(model, compressing(name));
        const Gradients got = run(model, x, gy, {.training = false});
        EXPECT_EQ(relative_error(got.y, expected.y), 0);
        EXPECT_EQ(relative_error(got.gx, expected.gx), 0);
        EXPECT_EQ(relative_error(got.gw, expected.gw), 0);
    }
}

TEST_P(Table, AFrozenLayerKeepsNothingAndMakesNoGw) {
    for (const std::string& name : rules()) {
        SCOPED_TRACE(name);
        OneLayer model(GetParam());
        model.layer().weight().requires_grad = false;
        install(model, compressing(name));
        const Tensor x = draw(model.shape(), "x"), gy = draw(model.shape(), "g");
        meter().reset();
        const Gradients got = run(model, x, gy);
        EXPECT_FALSE(got.gw.defined());
        EXPECT_TRUE(got.gx.defined());
        EXPECT_EQ(got.saved, 0);
        EXPECT_EQ(meter().phase("g_w"), 0);
        EXPECT_EQ(meter().phase("compress"), 0);
    }
}

TEST_P(Table, NoGxIsMadeWhereNothingBelowAsksForIt) {
    for (const std::string& name : rules()) {
        SCOPED_TRACE(name);
        OneLayer model(GetParam());
        install(model, compressing(name));
        const Tensor x = draw(model.shape(), "x"), gy = draw(model.shape(), "g");
        const Gradients all = run(model, x, gy);
        meter().reset();
        Tape tape;
        tape.backward(model.forward(tape.constant(x)), gy);
        EXPECT_EQ(meter().phase("g_x"), 0);
        EXPECT_LE(relative_error(model.layer().weight().grad.dense(), all.gw), rounding);
    }
}

/// Gradients do not depend on what ran before, only on seed, step and layer.
TEST_P(Table, AStepIsTheSameWhateverRanBefore) {
    for (const std::string& name : rules()) {
        SCOPED_TRACE(name);
        OneLayer model(GetParam()), other(GetParam());
        install(model, compressing(name));
        install(other, compressing(name));
        const Tensor x = draw(model.shape(), "x"), gy = draw(model.shape(), "g");
        for (const std::uint64_t step : {0, 1, 2}) run(model, gy, x, {.seed = 3, .step = step});
        const TapeOptions at{.seed = 3, .step = 777};
        const Gradients after = run(model, x, gy, at), alone = run(other, x, gy, at);
        EXPECT_EQ(relative_error(after.gx, alone.gx), 0);
        EXPECT_EQ(relative_error(after.gw, alone.gw), 0);
    }
}

TEST(Table, OptionsOutOfRangeAreRefusedByName) {
    for (const Method& method : methods())
        for (const Option& option : method.options) {
            SCOPED_TRACE(method.name + " " + option.name);
            OptionValue beyond;
            if (const auto* whole = std::get_if<Integers>(&option.range)) beyond = whole->low - 1;
            if (const auto* number = std::get_if<Reals>(&option.range)) beyond = number->low - 1;
            if (std::holds_alternative<Words>(option.range)) beyond = std::string("no such word");
            if (std::holds_alternative<std::monostate>(beyond)) continue;
            MethodOptions options{.method = method.name};
            options.own.given(option) = beyond;
            const std::string said = error_of([&] { validate(options); });
            EXPECT_NE(said.find(option.name), said.npos) << said;
        }
}

}  // namespace
}  // namespace slimgrad
