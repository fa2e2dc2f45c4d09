#include <algorithm>
#include <map>
#include <set>

#include "data/file.h"
#include "tensor/ledger.h"
#include "tensor/meter.h"
#include "train/method_spec.h"
#include "train/step_trace.h"
#include "train/timeline_page.h"
#include "train/traced_run.h"
#include "train_fixture.h"

namespace slimgrad {
namespace {

constexpr auto saved = static_cast<std::size_t>(Category::saved);

class Trace : public Train {
  protected:
    static TraceOptions small_trace(std::vector<std::string> methods,
                                    const std::string& model = "vit-micro") {
        TraceOptions options;
        options.methods = std::move(methods);
        options.quiet = true;
        options.base.model = model;
        options.base.limit_train = 64;
        options.base.limit_test = 16;
        options.base.batch = 8;
        options.base.calibrate_batches = 2;
        options.base.threads = 1;
        return options;
    }
    static std::vector<MethodTrace> traced(const TraceOptions& options) {
        return trace_methods(options, [](const std::string&) {});
    }
    static std::string refusal(const TraceOptions& options) {
        return message([&] { trace(options, [](const std::string&) {}); });
    }
};

/// Looks at the ledger where the recorder cannot be asked: at the end of forward.
class LedgerAfterForward final : public TapeObserver {
  public:
    void end(const std::string& /*name*/, Pass pass) override {
        if (pass != Pass::forward) return;
        live = ledger()[Category::saved].live;
        by_layer = ledger().saved_by_layer();
    }
    std::int64_t live = 0;
    std::map<std::string, std::int64_t> by_layer;
};

/// What each layer holds of a category.
std::map<std::string, std::int64_t> held_at(const Timeline& timeline, std::size_t moment,
                                            Category category = Category::saved) {
    std::map<std::string, std::int64_t> held;
    for (const HeldValue& value : timeline.held)
        if (value.category == category && value.live_at(moment)) held[value.layer] += value.bytes;
    return held;
}

std::int64_t sum_of(const std::map<std::string, std::int64_t>& held) {
    std::int64_t sum = 0;
    for (const auto& [layer, bytes] : held) sum += bytes;
    return sum;
}

const std::vector<std::string> several{"vanilla", "compress-x",          "instant",      "gact",
                                       "sketch",  "lora+instant:rank=2", "instant+gact", "galore"};

// The same step without anyone who watches has the ledger's own peak and the meter's own count.
TEST_F(Trace, PeakAndWorkAreThoseOfTheLedgerAndTheMeter) {
    for (const std::string method : {"vanilla", "instant", "gact", "sketch"}) {
        const TraceOptions options = small_trace({method});
        const std::vector<MethodTrace> traces = traced(options);
        const Timeline& timeline = traces[0].timeline;

        TracedRun run(traces[0].config);
        run.step(0);
        run.step(1);
        // The batch is made before the watch begins, and calibrations would come before it too.
        const std::int64_t before = meter().total();
        ledger().reset_peaks();
        const double loss = run.step(2);
        EXPECT_EQ(timeline.peak(), ledger().total().peak) << method;
        EXPECT_EQ(timeline.flops(), meter().total() - before) << method;
        EXPECT_EQ(traces[0].losses.back(), loss) << method;
    }
}

TEST_F(Trace, WhatIsHeldIsTheLedgersAccountAtEveryMoment) {
    for (const std::string& method : several) {
        const std::vector<MethodTrace> traces = traced(small_trace({method}));
        const Timeline& timeline = traces[0].timeline;
        for (std::size_t k = 0; k < timeline.moments.size(); ++k) {
            const Moment& moment = timeline.moments[k];
            ASSERT_EQ(sum_of(held_at(timeline, k)), moment.live.at(saved)) << method << " " << k;
            ASSERT_EQ(sum_of(held_at(timeline, timeline.state_of_peak(k))), moment.peak.at(saved))
                << method << " " << k;
            ASSERT_GE(total(moment.peak), total(moment.live)) << method << " " << k;
            for (const std::int64_t bytes : moment.peak) ASSERT_GE(bytes, 0) << method << " " << k;
            for (const Category category : {Category::parameters, Category::gradients})
                ASSERT_EQ(sum_of(held_at(timeline, k, category)),
                          moment.live.at(static_cast<std::size_t>(category)))
                    << method << " " << k << " " << name(category);
        }
    }
}

TEST_F(Trace, ForwardFillsAndBackwardEmptiesWhatIsSaved) {
    for (const std::string& method : several) {
        const std::vector<MethodTrace> traces = traced(small_trace({method}));
        const Timeline& timeline = traces[0].timeline;
        const std::size_t after = timeline.after_forward;
        EXPECT_EQ(timeline.moments.front().live.at(saved), 0) << method;
        EXPECT_GT(timeline.moments.at(after).live.at(saved), 0) << method;
        std::set<std::string> parts;
        for (const TimelineCall& call : timeline.calls) {
            EXPECT_LT(call.begin, call.end);
            EXPECT_EQ(call.part == TimelineCall::Part::forward, call.end <= after) << call.layer;
            if (call.part == TimelineCall::Part::update) {
                EXPECT_EQ(timeline.moments.at(call.begin).live.at(saved), 0) << method;
            }
            parts.insert(to_string(call.part));
        }
        EXPECT_EQ(parts, (std::set<std::string>{"forward", "backward", "update"})) << method;
        EXPECT_EQ(timeline.moments.back().live.at(saved), 0) << method;
        EXPECT_TRUE(std::ranges::is_sorted(timeline.moments, {}, &Moment::seconds)) << method;
    }
}

TEST_F(Trace, OwnersAfterForwardAreTheLedgers) {
    const std::vector<MethodTrace> traces = traced(small_trace({"vanilla"}));
    const Timeline& timeline = traces[0].timeline;
    const TrainConfig& config = traces[0].config;
    const std::unique_ptr<Task> task = open_task(config);
    const std::unique_ptr<Module> model = model_to_train(*task, config);
    LedgerAfterForward seen;
    Tape tape({.seed = config.seed, .observer = &seen});
    const Batch batch = task->train().batch(2);
    const Var y = logits(*model, tape, batch);
    // The loss comes after these.
    std::map<std::string, std::int64_t> held = held_at(timeline, timeline.after_forward);
    held.erase("cross_entropy");
    EXPECT_EQ(held, seen.by_layer);
    EXPECT_EQ(sum_of(held), seen.live);
}

TEST_F(Trace, MethodsBeginFromTheSameWeightsAndSeeTheSameBatch) {
    const std::vector<MethodTrace> traces = traced(
        small_trace({"vanilla", "compress-x", "compress-gy", "instant", "sketch", "galore"}));
    for (const MethodTrace& trace : traces) {
        ASSERT_EQ(trace.losses.size(), 3U);
        EXPECT_EQ(trace.losses[0], traces[0].losses[0]) << trace.method;
        EXPECT_EQ(trace.batch, traces[0].batch) << trace.method;
    }
    // What compresses gradients is elsewhere after a step.
    EXPECT_NE(traces[3].losses[2], traces[0].losses[2]);
}

TEST_F(Trace, StepsAreThoseOfTraining) {
    for (const std::string method : {"vanilla", "instant", "gact:level=L2", "sketch"}) {
        TraceOptions options = small_trace({method});
        options.warmup_steps = 4;
        options.base.calibrate_every = 2;
        options.base.clip = 1;
        options.base.dropout = 0.1;
        const std::vector<MethodTrace> traces = traced(options);
        TrainConfig config = traces[0].config;
        config.out = (root_ / file_name(method)).string();
        ASSERT_TRUE(run(config));
        std::vector<double> losses;
        for (const json& line : metrics(file_name(method)))
            if (line["type"] == "step" && losses.size() < 5) losses.push_back(line["loss"]);
        EXPECT_EQ(traces[0].losses, losses) << method;
    }
}

TEST_F(Trace, StepsThatCalibrateThemselvesAreThoseOfTraining) {
    for (const std::string how : {"train", "stream"}) {
        TraceOptions options = small_trace({"instant"});
        options.warmup_steps = 5;
        options.base.calibrate = how;
        options.base.calibrate_every = 4;
        const std::vector<MethodTrace> traces = traced(options);
        TrainConfig config = traces[0].config;
        config.out = (root_ / how).string();
        ASSERT_TRUE(run(config));
        std::vector<double> losses;
        for (const json& line : metrics(how))
            if (line["type"] == "step" && losses.size() < 6) losses.push_back(line["loss"]);
        EXPECT_EQ(traces[0].losses, losses) << how;

        options.warmup_steps = 1;
        EXPECT_TRUE(has(refusal(options), "leaves the first 2 steps exact")) << refusal(options);
    }
}

TEST_F(Trace, TextsWork) {
    TraceOptions options = small_trace({"vanilla", "instant"}, "bert-tiny");
    options.base.data = "embedded-text";
    options.base.max_length = 24;
    const std::vector<MethodTrace> traces = traced(options);
    EXPECT_EQ(traces[0].losses[0], traces[1].losses[0]);
    const auto after = [](const MethodTrace& trace) {
        return trace.timeline.moments.at(trace.timeline.after_forward).live.at(saved);
    };
    EXPECT_LT(after(traces[1]), after(traces[0]));
}

TEST_F(Trace, HoldersAreTheLargestAndSayWhatOthersKeep) {
    const std::vector<MethodTrace> traces = traced(small_trace({"vanilla", "instant"}));
    const json rows = peak_holders(traces);
    ASSERT_EQ(rows.size(), 10U);
    const json all = peak_holders(traces, 10'000);
    std::int64_t sum = 0;
    for (const json& row : all) sum += row["bytes"].get<std::int64_t>();
    EXPECT_EQ(sum, traces[0].timeline.peak());
    EXPECT_TRUE(std::ranges::is_sorted(
        rows, [](const json& a, const json& b) { return a["bytes"] > b["bytes"]; }));
    const auto row_of = [&](const std::string& layer, const std::string& slot) {
        return std::ranges::find_if(
            all, [&](const json& row) { return row["layer"] == layer && row["slot"] == slot; });
    };
    const auto fc2 = row_of("blocks.0.fc2", "x"), weight = row_of("blocks.0.fc2", "weight");
    ASSERT_NE(fc2, all.end());
    ASSERT_NE(weight, all.end());
    EXPECT_EQ((*weight)["category"], "parameters");
    EXPECT_EQ((*weight)["bytes"], 384 * 96 * 4);
    EXPECT_EQ((*weight)["kept"]["instant"], 384 * 96 * 4);
    EXPECT_EQ((*fc2)["bytes"], 8 * 49 * 384 * 4);
    EXPECT_EQ((*fc2)["shape"], "(8, 49, 384)");
    std::int64_t x_hat = 0;
    for (const HeldValue& value : traces[1].timeline.held)
        if (value.layer == "blocks.0.fc2" && value.slot == "x_hat") x_hat = value.bytes;
    EXPECT_GT(x_hat, 0);
    EXPECT_EQ((*fc2)["kept"]["instant"], x_hat);
}

TEST_F(Trace, ChromesTraceIsWellFormed) {
    const std::vector<MethodTrace> traces = traced(small_trace({"vanilla", "instant"}));
    const json document = json::parse(chrome_trace(traces).dump());
    std::map<int, std::int64_t> flops;
    std::map<int, std::size_t> calls, counters;
    for (const json& event : document.at("traceEvents")) {
        ASSERT_TRUE(event.at("name").is_string());
        const int process = event.at("pid");
        const std::string kind = event.at("ph");
        if (kind == "M") continue;
        ASSERT_GE(event.at("ts").get<double>(), 0);
        if (kind == "X") {
            ASSERT_GE(event.at("dur").get<double>(), 0);
            flops[process] += event.at("args").at("flops").get<std::int64_t>();
            ++calls[process];
        } else {
            ASSERT_EQ(kind, "C");
            for (const auto& [name, value] : event.at("args").items())
                ASSERT_TRUE(value.is_number_integer()) << name;
            ++counters[process];
        }
    }
    for (const int process : {1, 2}) {
        const Timeline& timeline = traces.at(static_cast<std::size_t>(process) - 1).timeline;
        EXPECT_EQ(flops[process], timeline.flops());
        EXPECT_EQ(calls[process], timeline.calls.size());
        EXPECT_EQ(counters[process], 2 * timeline.moments.size());
    }
}

TEST_F(Trace, WritesAPageThatNeedsNothingElse) {
    TraceOptions options = small_trace({"vanilla", "instant:oversample=0"});
    options.page = root_ / "trace.html";
    options.chrome = root_ / "trace.json";
    const json document = trace(options, [](const std::string&) {});
    const std::string page = text_of(options.page);
    EXPECT_TRUE(has(page, "instant:oversample=0"));
    EXPECT_TRUE(has(page, "<th>blocks.0.gelu</th>"));
    for (const char* outside : {"<link", "src=", "http:", "https:", "@import", "url("})
        EXPECT_FALSE(has(page, outside)) << outside;
    EXPECT_EQ(document["methods"].size(), 2U);
    EXPECT_TRUE(json::parse(text_of(options.chrome)).contains("traceEvents"));
    // Its own files it replaces, and no others.
    trace(options, [](const std::string&) {});
    write_file(options.chrome, "{\"mine\": 1}");
    EXPECT_TRUE(has(refusal(options), "is no trace of slimgrad"));
    options.chrome.clear();
    write_file(options.page, "mine");
    EXPECT_TRUE(has(refusal(options), "is no page of slimgrad"));
    EXPECT_EQ(text_of(options.page), "mine");
}

TEST_F(Trace, NothingIsLeftBehind) {
    const CategoryBytes before = [] {
        CategoryBytes live{};
        for (std::size_t c = 0; c < category_count; ++c)
            live.at(c) = ledger()[static_cast<Category>(c)].live;
        return live;
    }();
    traced(small_trace({"vanilla", "instant", "gact"}));
    for (std::size_t c = 0; c < category_count; ++c)
        EXPECT_EQ(ledger()[static_cast<Category>(c)].live, before.at(c)) << c;
}

TEST_F(Trace, BadOptionsAreNamedInOneLine) {
    const auto refused = [&](const std::function<void(TraceOptions&)>& change,
                             const std::string& part) {
        TraceOptions options = small_trace({"vanilla", "instant"});
        change(options);
        const std::string text = refusal(options);
        EXPECT_TRUE(has(text, part)) << text;
        EXPECT_FALSE(has(text, "\n")) << text;
    };
    refused([](TraceOptions& o) { o.methods = {}; }, "expected a method at least");
    refused([](TraceOptions& o) { o.methods = {"instant", "instant"}; }, "got 'instant' twice");
    refused([](TraceOptions& o) { o.methods = {"instan"}; }, "unknown method 'instan'");
    refused([](TraceOptions& o) { o.methods = {"vanilla:batch=4"}; }, "see the same batch");
    refused([](TraceOptions& o) { o.methods = {"vanilla:seed=4"}; }, "not for a method to choose");
    refused([](TraceOptions& o) { o.warmup_steps = -1; }, "warmup_steps");
    refused([](TraceOptions& o) { o.base.model = "vit-huge"; }, "unknown model 'vit-huge'");
    refused([](TraceOptions& o) { o.base.batch = 1000; }, "batch");
    refused([&](TraceOptions& o) { o.page = root_ / "no" / "t.html"; }, "there is no directory");
    refused([&](TraceOptions& o) { o.chrome = root_; }, "it is a directory");
    refused([&](TraceOptions& o) { o.page = o.chrome = root_ / "t"; }, "both the page");
    refused([](TraceOptions& o) { o.base.from = "nowhere"; }, "no such file");
    refused([&](TraceOptions& o) { o.page = root_ / "t", o.chrome = root_ / "." / "t"; },
            "both the page");
    refused([](TraceOptions& o) { o.base.codec_was_added = true; },
            "[trace] a codec is a part of each method");
    refused([](TraceOptions& o) { o.base.steps = o.warmup_steps; },
            "has none after 2 warmup_steps");
}

TEST_F(Trace, OptionsWithoutEffectAreSaid) {
    TraceOptions options = small_trace({"vanilla", "instant"});
    options.base.momentum = 0.5;
    options.given = {"momentum", "calibrate_batches"};
    std::vector<std::string> notes;
    trace_methods(options, [&](const std::string& note) { notes.push_back(note); });
    ASSERT_EQ(notes.size(), 1U);
    EXPECT_TRUE(has(notes[0], "momentum has no effect")) << notes[0];
}

}  // namespace
}  // namespace slimgrad
