// The benchmarks as programs: cases, verification, the worker's protocol. No time is asserted.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/measure.h"
#include "bench/memory.h"
#include "bench/projectors.h"
#include "bench/worker.h"
#include "bench/workload.h"
#include "instant/methods/method.h"
#include "tensor/error.h"
#include "tensor/ops.h"
#include "tests/places.h"
#include "tests/temporary.h"

namespace slimgrad::bench {
namespace {

using nlohmann::json;

Case tiny(const std::string& name) { return find_cases(name).front(); }

Variant variant(const std::string& method, std::int64_t x = 3, std::int64_t g = 2) {
    Variant v;
    v.method = method;
    v.ranks = {x, g, {}};
    return v;
}

template <class F>
std::string message_of(F f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

TEST(BenchCase, GroupsAndNames) {
    EXPECT_EQ(find_cases("linear").size(), 5u) << "the tiny one only by its name";
    EXPECT_EQ(find_cases("step/tiny").front().size.width, 16);
    const std::string message = message_of([] { find_cases("lineer"); });
    EXPECT_NE(message.find("unknown case 'lineer'"), std::string::npos) << message;
    for (const Case& which : cases()) EXPECT_NE(message.find(which.name), std::string::npos);
}

TEST(BenchCase, FlopRatiosAreThoseOfThePaper) {
    const auto ratio = [](const char* name, std::int64_t r) {
        return flop_ratio(tiny(name), variant("instant", r, r));
    };
    // Eq. 34 over 768->768 (four times), 768->3072 and 3072->768 at L = 512, by hand.
    const double l = 512, c = 768;
    const double vanilla = 4 * l * c * 12 * c;
    const double instant = 2 * 32 * (12 * c * c + 4 * 2 * l * c + 2 * 5 * l * c);
    EXPECT_NEAR(ratio("linear/bert-8x512x768", 16), vanilla / instant, 1e-9);
    EXPECT_EQ(ratio("linear/bert-8x512x768", 16), ratio("step/bert-block-8x512x768", 16));
    EXPECT_NEAR(ratio("tab11/linears", 16), 2831.16 / 161.54, 0.005) << "ranks of its own";
    EXPECT_EQ(flop_ratio(tiny("linear/tiny"), variant("vanilla")), 1);
    EXPECT_EQ(ratio("step/resnet20-128", 16), 1);
}

TEST(BenchCase, AVariantMayHaveOptionsOfItsOwn) {
    const Case which = tiny("linear/tiny");
    const auto variants = variants_of(which, {"sketch:keep-x=8:power=2"}, {{3, 3, {}}});
    ASSERT_EQ(variants.size(), 2u);
    EXPECT_EQ(label(variants[0], which.kind), "sketch keep-x=8:power=2 R3 qkv");
    verify(which, variants[0]);
    Variant exact = variant_of("sketch:power=2");
    exact.ranks = {3, 3, {}};
    EXPECT_LT(flop_ratio(which, variants[0]), flop_ratio(which, exact)) << "quantising x counts";
    for (const auto& [spec, part] :
         {std::pair{"sketch:rank=3", "'rank' is not an option of its own beside the rank"},
          {"sketch:epochs=3", "'epochs' is not"},
          {"sketch:keep-x=7", "keep_x"},
          {"sketch:tolerance=0.1", "'tolerance' does hangs on the gradients"},
          {"magic", "magic"}})
        EXPECT_NE(message_of([&spec = spec] { variant_of(spec); }).find(part), std::string::npos)
            << spec;
}

TEST(BenchCase, LayersOfABlock) {
    const auto names = [](const Case& which, bool fused) {
        std::vector<std::string> all;
        for (const LinearShape& shape : linear_shapes(which, fused)) all.push_back(shape.name);
        return all;
    };
    EXPECT_EQ(names(tiny("linear/tiny"), true),
              (std::vector<std::string>{"qkv", "proj", "fc1", "fc2"}));
    EXPECT_EQ(names(tiny("linear/tiny"), false).size(), 6u);
    EXPECT_EQ(names(tiny("tab11/linears"), true).size(), 8u);
}

TEST(BenchProjectors, AreOrthonormalAndCutToTheirAxis) {
    Stream stream(1, "test");
    const auto p = random_projector(Side::token, 9, 7, stream);
    ASSERT_EQ(p->basis.shape(), (Shape{7, 7}));
    const Tensor unit = matmul(p->basis, p->basis, Op::none, Op::transpose);
    for (std::int64_t i = 0; i < 7; ++i)
        for (std::int64_t j = 0; j < 7; ++j) EXPECT_NEAR(unit.at({i, j}), i == j, 1e-6);
}

TEST(BenchProjectors, LayersOfOneInputShareP) {
    const auto shapes = linear_shapes(tiny("linear/tiny"), false);
    const auto all = random_projectors(shapes, variant("instant"), 2);
    EXPECT_EQ(all[0].p, all[1].p);
    EXPECT_NE(all[0].q, all[1].q);
    EXPECT_NE(all[0].p, all[3].p);
    EXPECT_EQ(all[0].p->rank(), 3);
    EXPECT_EQ(all[0].q->rank(), 2);
    const auto again = random_projectors(shapes, variant("instant"), 2);
    EXPECT_TRUE(identical(all[5].q->basis, again[5].q->basis));
}

TEST(BenchVerify, EveryModeGivesWhatItsFormulasGive) {
    Case resnet = tiny("step/resnet20-128"), step = tiny("step/tiny"),
         linears = tiny("linear/tiny");
    resnet.size.batch = 2;
    step.size.tokens = linears.size.tokens = 16;  // 4x4: lbp-wht needs four a side
    for (const Method& method : methods()) {
        if (method.adapt) continue;
        SCOPED_TRACE(method.name);
        const auto verify_in_both_ranks = [&](const Case& which) {
            verify(which, variant(method.name));
            if (!method.projection)
                verify(which, variant(method.name, 40, 40));  // more than there is
        };
        verify_in_both_ranks(step);
        const auto verify_resnet = [&] { verify(resnet, variant(method.name), 1e-3); };
        if (method.name == "gradient-filter")
            EXPECT_NE(message_of(verify_resnet).find("no plain form"), std::string::npos);
        else
            verify_resnet();
        if (!method.rule) continue;
        verify_in_both_ranks(linears);
        Variant separate = variant(method.name);
        separate.fused = false;
        verify(linears, separate);
    }
}

TEST(BenchProjectors, CompactLeavesOutputProjectionsExactAsInTraining) {
    const Case which = tiny("linear/tiny");
    std::vector<std::string> exact;
    for (const LinearShape& shape : linear_shapes(which, true))
        if (make_rule(shape, variant("compact"), {}, 2) == ExactRule::instance())
            exact.push_back(shape.name);
    EXPECT_EQ(exact, (std::vector<std::string>{"proj"}));
}

TEST(BenchVerify, MethodsThatAreNoRuleAreRefusedWithTheReason) {
    EXPECT_EQ(message_of([] { make_workload(tiny("linear/tiny"), variant("galore")); }),
              "[bench] 'galore' differs from vanilla in the optimizer alone: time it in the steps");
    EXPECT_EQ(
        message_of([] { make_workload(tiny("step/tiny"), variant("lora")); }),
        "[bench] 'lora' changes the model, and bench times the backward of one: leave it out");
}

TEST(BenchVerify, ADifferenceIsAnErrorThatNamesTheTensor) {
    const auto record = make_workload(tiny("step/tiny"), variant("instant"))->record();
    auto spoiled = record;
    const auto it = std::ranges::find(spoiled, "g.0.fc1.weight", &NamedTensor::name);
    ASSERT_NE(it, spoiled.end());
    it->tensor = it->tensor.clone();
    it->tensor.data()[5] += real(0.01) * std::sqrt(static_cast<real>(sum_squares(it->tensor)));
    const auto compare = [&](const std::vector<NamedTensor>& got) {
        return message_of([&] { compare_records("step", got, record, {"out.", "g."}, 1e-4); });
    };
    EXPECT_EQ(compare(record), "no error");
    EXPECT_NE(compare(spoiled).find("'g.0.fc1.weight' is wrong"), std::string::npos);
    it->tensor.data()[5] = std::numeric_limits<real>::quiet_NaN();
    EXPECT_NE(compare(spoiled).find("'g.0.fc1.weight' is wrong"), std::string::npos);
    spoiled.erase(it);
    EXPECT_NE(compare(spoiled).find("'g.0.fc1.weight' is missing"), std::string::npos);
    // Compressed gradients are not vanilla's: verification would notice a rule that does nothing.
    const auto vanilla = make_workload(tiny("step/tiny"), variant("vanilla"))->record();
    EXPECT_NE(compare(vanilla), "no error");
}

TEST(BenchWorkload, BadInputIsRefused) {
    EXPECT_NE(message_of([] {
                  make_workload(tiny("step/tiny"), variant("magic"));
              }).find("vanilla, compress-x"),
              std::string::npos);
    EXPECT_NE(message_of([] {
                  make_workload(tiny("step/tiny"), variant("instant", 0, 1));
              }).find("as rank_x, got 0"),
              std::string::npos);
    Case empty = tiny("step/tiny");
    empty.size.batch = 0;
    EXPECT_NE(message_of([&] { make_workload(empty, variant("vanilla")); }).find("as batch, got 0"),
              std::string::npos);
}

TEST(BenchWorkload, AStepMayBeRepeated) {
    const auto workload = make_workload(tiny("step/tiny"), variant("instant"));
    for (int i = 0; i < 3; ++i) {
        const Seconds seconds = workload->run();
        ASSERT_EQ(seconds.size(), 3u);
        EXPECT_EQ(seconds[0].first, "forward");
        EXPECT_GT(total(seconds), 0);
    }
    for (const auto& [name, value] : workload->record()) EXPECT_TRUE(all_finite(value)) << name;
}

TEST(BenchWorkload, PartsAddUpToTheirPhase) {
    const Seconds seconds = make_workload(tiny("linear/tiny"), variant("instant"))->run();
    double parts = 0;
    for (const auto& [name, value] : seconds)
        if (name.starts_with("backward.")) parts += value;
    EXPECT_NEAR(parts, phase(seconds, "backward"), 1e-12);
    EXPECT_NEAR(total(seconds), phase(seconds, "backward") + phase(seconds, "compress"), 1e-12);
}

TEST(BenchMeasure, RowsHaveRatiosToTheBestVanilla) {
    const Case which = tiny("linear/tiny");
    MeasureOptions options;
    options.rounds = 3;
    const auto measured = measure(
        which, variants_of(which, {"vanilla", "instant"}, {{2, 2, {}}, {3, 3, {}}}), options);
    ASSERT_EQ(measured.size(), 6u) << "vanilla and two ranks, Q, K and V as one and as three";
    const json rows = to_json(measured);
    double best = 0;
    for (const json& row : rows) {
        EXPECT_EQ(row.at("rounds"), 3);
        EXPECT_LE(row.at("quartiles")[0], row.at("seconds"));
        if (row.at("method") == "vanilla") best = std::max(best, row.at("speedup").get<double>());
    }
    EXPECT_DOUBLE_EQ(best, 1);
    EXPECT_EQ(rows.back().at("label"), "instant R3 q,k,v");
    options.stop = [] { return true; };
    EXPECT_TRUE(measure(which, variants_of(which, {"vanilla"}, {{2, 2, {}}}), options).empty());
}

TEST(BenchMeasure, Quartiles) {
    const Spread s = spread({4, 1, 3, 2, 5});
    EXPECT_EQ(s.median, 3);
    EXPECT_EQ(s.lower, 2);
    EXPECT_EQ(s.upper, 4);
    EXPECT_EQ(spread({1, 2}).median, 1.5);
    EXPECT_NE(message_of([] { spread({}); }).find("no measurement"), std::string::npos);
}

TEST(BenchMemory, InstantHoldsLess) {
    const MemoryUse vanilla = measure_memory(tiny("step/tiny"), variant("vanilla", 1, 1), 2);
    const MemoryUse instant = measure_memory(tiny("step/tiny"), variant("instant", 1, 1), 2);
    EXPECT_LT(instant.saved_peak, vanilla.saved_peak);
    EXPECT_GE(vanilla.ledger_peak, vanilla.saved_peak);
}

/// What the worker answers to these lines.
std::vector<json> ask(const std::vector<std::string>& lines) {
    std::stringstream in, out;
    for (const std::string& line : lines) in << line << "\n";
    serve(in, out);
    std::vector<json> answers;
    for (std::string line; std::getline(out, line);) answers.push_back(json::parse(line));
    return answers;
}

TEST(BenchWorker, OneAnswerALine) {
    const auto answers =
        ask({json{{"do", "prepare"},
                  {"id", "a"},
                  {"case", "linear/tiny"},
                  {"method", "instant"},
                  {"rank_x", 2},
                  {"rank_g", 2},
                  {"batch", 3},
                  {"fused", false},
                  {"verify", true}}
                 .dump(),
             R"({"do": "run", "id": "a"})", R"({"do": "drop", "id": "a"})",
             R"({"do": "run", "id": "a"})", R"({"do": "quit"})", R"({"do": "hello"})"});
    ASSERT_EQ(answers.size(), 4u) << "nothing after quit";
    EXPECT_EQ(answers[0].at("case").at("batch"), 3);
    EXPECT_EQ(answers[0].at("case").at("layers").size(), 6u);
    EXPECT_GE(answers[0].at("case").at("sets"), 1);
    EXPECT_GT(answers[1].at("seconds").at("backward.fc2"), 0);
    EXPECT_EQ(answers[2], json::object());
    EXPECT_TRUE(answers[3].contains("error"));
}

TEST(BenchWorker, ReadsAFolderOfPictures) {
    const TemporaryDirectory here;
    for (const char* part : {"train", "test"})
        for (const char* file : {"colour.png", "grey.jpg"}) {
            std::filesystem::create_directories(here / part / file);  // a class of its own
            std::filesystem::copy(tests_directory() / "pictures" / file, here / part / file);
        }
    const auto answers = ask({json{{"do", "prepare"},
                                   {"id", "a"},
                                   {"pictures", here.path().string()},
                                   {"side", 8},
                                   {"record", (here / "record").string()}}
                                  .dump(),
                              R"({"do": "run", "id": "a"})",
                              R"({"do": "prepare", "id": "b", "pictures": "nowhere"})"});
    EXPECT_EQ(answers.at(0).at("case").at("pictures"), 2);
    EXPECT_GT(answers.at(1).at("seconds").at("read"), 0);
    EXPECT_GT(answers.at(1).at("seconds").at("read.decode"), 0);
    EXPECT_NE(answers.at(2).value("error", "").find("nowhere"), std::string::npos);
    const Tensor images = SafeTensors::open(here / "record").tensor("out.x");
    EXPECT_EQ(images.shape(), (Shape{2, 3, 8, 8}));
    const real brightest = std::ranges::max(images.values());
    EXPECT_LE(brightest, 1);
    EXPECT_GT(brightest, 0.5);
}

TEST(BenchWorker, WhatCannotBeDoneIsAnswered) {
    const auto error = [](const std::string& line) {
        const auto answers = ask({line});
        return answers.at(0).value("error", "no error");
    };
    const auto says = [&](const std::string& line, const std::string& part) {
        EXPECT_NE(error(line).find(part), std::string::npos) << line << ": " << error(line);
    };
    says("nonsense", "not valid JSON");
    says("[1]", "expected an object");
    says(R"({"do": 3})", "bad command");
    says(R"({"do": "dance"})", "known: hello, prepare");
    says(R"({"do": "prepare", "id": "a", "case": "step/huge"})", "step/tiny");
    says(R"({"do": "prepare", "id": "a", "case": "step"})", "one case");
    says(R"({"do": "prepare", "id": "a", "case": "step/tiny", "method": "magic"})", "instant");
    says(R"({"do": "prepare", "id": "a", "case": "step/tiny", "batch": -1})", "as batch, got -1");
    says(R"({"do": "prepare", "id": "a", "case": "step/tiny", "batch": 288230376151711744})",
         "as batch, got 288230376151711744");
    says(R"({"do": "prepare", "id": "a", "case": "step/tiny", "record": "/no/where.safetensors"})",
         "/no/where");
    says(R"({"do": "threads", "threads": 0})", "as threads, got 0");
    says(R"({"do": "threads", "threads": 4294967297})", "as threads, got 4294967297");
    says(R"({"do": "run"})", "bad command");
}

TEST(BenchWorker, RecordsAStep) {
    const auto file = std::filesystem::temp_directory_path() /
                      ("slimgrad bench " + std::to_string(getpid()) + ".safetensors");
    const json command = {{"do", "prepare"},     {"id", "a"},   {"case", "step/tiny"},
                          {"method", "instant"}, {"rank_x", 3}, {"record", file.string()}};
    const auto answers = ask({command.dump()});
    ASSERT_FALSE(answers.at(0).contains("error")) << answers[0];
    const SafeTensors record = SafeTensors::open(file);
    std::filesystem::remove(file);
    for (const char* name : {"in.x", "in.gy", "out.y", "w.0.attention.qkv.weight", "g.1.fc2.bias",
                             "new.1.fc2.bias", "P.0.attention.qkv", "Q.1.fc2"})
        EXPECT_TRUE(record.contains(name)) << name;
    EXPECT_EQ(record.shape("P.0.attention.qkv"), (Shape{3, 8}));
    const Tensor before = record.tensor("w.0.fc1.weight"),
                 after = record.tensor("new.0.fc1.weight");
    EXPECT_FALSE(identical(before, after));
    // It can be made again from the seed alone.
    const auto again = make_workload(tiny("step/tiny"), variant("instant", 3, 16))->record();
    for (const auto& [name, value] : again)
        EXPECT_TRUE(identical(record.tensor(name), value)) << name;
}

}  // namespace
}  // namespace slimgrad::bench
