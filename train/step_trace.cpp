#include "train/step_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "data/file.h"
#include "tensor/blas.h"
#include "train/method_spec.h"
#include "train/progress.h"
#include "train/summary.h"
#include "train/task.h"
#include "train/timeline_page.h"
#include "train/traced_run.h"
#include "train/training_loop.h"

namespace slimgrad {
namespace {

using nlohmann::json;

/// All methods see the same batch, so no method chooses these for itself.
constexpr const char* of_all_methods[] = {"data",    "data_dir", "model",      "from",
                                          "vocab",   "batch",    "max_length", "limit_train",
                                          "augment", "threads"};

/// The runs that the methods ask for, each with what it says of options without effect.
std::vector<MethodTrace> plan(const TraceOptions& options, const TraceNote& note) {
    check_option("[trace]", warmup_steps_option(), options.warmup_steps);
    require(!options.methods.empty(), "[trace] expected a method at least, got none");
    require(!options.base.codec_was_added,
            "[trace] a codec is a part of each method. Hint: METHOD+gact, or METHOD:codec=gact:L2");
    std::set<std::string> seen;
    std::vector<MethodTrace> traces;
    for (const std::string& method : options.methods) {
        require(seen.insert(method).second, "[trace] expected each method once, got '{}' twice",
                method);
        const MethodRun run = with_method(options.base, method);
        for (const char* name : of_all_methods)
            require(std::ranges::find(run.given, name) == run.given.end(),
                    "[trace] {}: '{}' is of all methods, which see the same batch. Hint: leave it "
                    "out of the method",
                    method, name);
        validate(run.config);
        for (const std::string& text : without_effect(run.config, run.given))
            note(fmt::format("{}: {}", method, text));
        MethodTrace& trace = traces.emplace_back();
        trace.method = method;
        trace.config = resolved(run.config);
    }
    return traces;
}

/// Says which options of all have no effect on any method.
void note_idle(const std::vector<MethodTrace>& traces, const TraceOptions& options,
               const TraceNote& note) {
    for (const std::string& name : options.given) {
        std::vector<std::string> notes;
        for (const MethodTrace& trace : traces)
            for (std::string& text : without_effect(trace.config, {name}))
                notes.push_back(std::move(text));
        if (notes.size() == traces.size()) note(notes.front());
    }
}

/// Throws Error, in the name of a method, for what would fail when its turn comes, and for a step
/// that would be exact since the method has not calibrated yet.
void require_traceable(const MethodTrace& trace, std::int64_t warmup_steps) {
    const TrainConfig& config = trace.config;
    const bool later = config.calibrate != "paper" && calibrated_slots(config).any();
    require(
        !later || warmup_steps >= config.calibrate_batches,
        "[trace] {}: calibrate {} leaves the first {} steps exact (calibrate_batches), expected "
        "as many warmup_steps, got {}",
        trace.method, config.calibrate, config.calibrate_batches, warmup_steps);
    try {
        require_possible(config);
    } catch (const Error& error) {
        fail("[trace] {}: {}", trace.method, error.what());
    }
}

void run(MethodTrace& trace, const TraceOptions& options, const std::function<void()>& between) {
    const std::int64_t steps = options.warmup_steps + 1;
    Progress progress(fmt::format("{} {}", trace.config.model, trace.method), 0, steps,
                      options.quiet);
    TracedRun run(trace.config);
    require(options.warmup_steps < run.total(),
            "[trace] {}: a run of {} steps has none after {} warmup_steps", trace.method,
            run.total(), options.warmup_steps);
    {  // gone before the step, which makes its own
        const Batch batch = run.batch(options.warmup_steps);
        trace.batch = fmt::format("{:016x}", digest(batch));
        trace.samples = batch.size();
    }
    TimelineRecorder recorder(run.model());
    for (std::int64_t step = 0; step < steps; ++step) {
        if (between) between();
        const bool watched = step == options.warmup_steps;
        trace.losses.push_back(run.step(step, watched ? &recorder : nullptr));
        progress.step(step + 1, trace.losses.back());
    }
    trace.timeline = recorder.finish();
}

json bytes_by_category(const CategoryBytes& bytes) {
    json out;
    for (std::size_t c = 0; c < category_count; ++c)
        out[std::string(name(static_cast<Category>(c)))] = bytes.at(c);
    return out;
}

json document_of(const MethodTrace& trace) {
    const Timeline& timeline = trace.timeline;
    const std::size_t k = timeline.peak_moment();
    json call;
    if (const TimelineCall* at = timeline.call_at(k))
        call = {{"layer", at->layer}, {"part", to_string(at->part)}};
    json out = to_json(timeline);
    const CategoryBytes& after = timeline.moments.at(timeline.after_forward).live;
    out.update({{"method", trace.method},
                {"batch", trace.batch},
                {"losses", trace.losses},
                {"loss", trace.losses.back()},
                {"peak",
                 {{"bytes", timeline.peak()},
                  {"moment", k},
                  {"call", call},
                  {"categories", bytes_by_category(timeline.moments.at(k).peak)}}},
                {"saved_after_forward", after.at(static_cast<std::size_t>(Category::saved))},
                {"flops", timeline.flops()},
                {"seconds", timeline.seconds()}});
    return out;
}

/// What a layer holds in this slot in the course of the step; if it keeps none, what it keeps in
/// slots that the first method does not know: the same value in another form.
std::int64_t held_instead(const Timeline& timeline, const HeldValue& value,
                          const std::set<std::string>& slots_of_first) {
    std::int64_t same = 0, other = 0;
    bool found = false;
    for (const HeldValue& held : timeline.held) {
        if (held.layer != value.layer || held.category != value.category) continue;
        if (held.slot == value.slot) {
            found = true;
            same += held.bytes;
        } else if (value.category == Category::saved && !slots_of_first.contains(held.slot)) {
            other += held.bytes;
        }
    }
    return found ? same : other;
}

/// What is live at a moment, each slot once.
std::vector<HeldValue> held_at(const Timeline& timeline, std::size_t moment) {
    std::vector<HeldValue> holders;
    std::map<std::tuple<Category, std::string, std::string>, std::size_t> places;
    for (const HeldValue& value : timeline.held) {
        if (!value.live_at(moment)) continue;
        const auto [place, is_new] =
            places.try_emplace({value.category, value.layer, value.slot}, holders.size());
        if (is_new)
            holders.push_back(value);
        else
            holders[place->second].bytes += value.bytes;
    }
    return holders;
}

/// Of the peak, what no held value accounts for.
CategoryBytes rest_of_peak(const Timeline& timeline) {
    const std::size_t k = timeline.peak_moment();
    CategoryBytes rest = timeline.moments.at(k).peak;
    for (const HeldValue& value : timeline.held)
        if (value.live_at(timeline.state_of_peak(k)))
            rest.at(static_cast<std::size_t>(value.category)) -= value.bytes;
    return rest;
}

/// A new file, or one that this program has written.
void require_chrome_place(const std::filesystem::path& file) {
    std::error_code none;
    if (!std::filesystem::is_regular_file(file, none)) return;
    const std::string text = read_text(file);
    // chrome_trace() as it is written, whose keys are in order.
    constexpr std::string_view begin =
        R"({"displayTimeUnit":"ms","otherData":{"made_by":"slimgrad )";
    require(text.empty() || text.starts_with(begin),
            "[trace] '{}' is there and is no trace of slimgrad. Hint: another --chrome, or remove "
            "it",
            file.string());
}

}  // namespace

Option methods_of_trace_option() {
    return {"methods", AnyText{},
            "methods, with commas between them; each may have options of its own, "
            "instant:oversample=7"};
}

Option warmup_steps_option() {
    constexpr std::int64_t most = 1'000'000;
    return {"warmup_steps", Integers{0, most}, "steps of training before the one that is watched"};
}

const std::vector<std::string>& not_for_a_trace() {
    static const std::vector<std::string> names{"method", "out", "checkpoint_every", "log_every",
                                                "limit_test"};
    return names;
}

std::vector<MethodTrace> trace_methods(const TraceOptions& options, const TraceNote& note,
                                       const std::function<void()>& between) {
    std::vector<MethodTrace> traces = plan(options, note);
    note_idle(traces, options, note);
    for (const MethodTrace& trace : traces) require_traceable(trace, options.warmup_steps);
    if (const std::int64_t threads = traces.front().config.threads; threads > 0)
        set_threads(static_cast<int>(threads));
    for (MethodTrace& trace : traces) run(trace, options, between);
    return traces;
}

json trace_document(const std::vector<MethodTrace>& traces, std::int64_t warmup_steps) {
    const TrainConfig& config = traces.front().config;
    json document{{"data", config.data},
                  {"model", config.model},
                  {"samples", traces.front().samples},
                  {"seed", config.seed},
                  {"step", warmup_steps},
                  {"environment", environment()},
                  {"methods", json::array()},
                  {"holders", peak_holders(traces)}};
    for (const MethodTrace& trace : traces) document["methods"].push_back(document_of(trace));
    return document;
}

json chrome_trace(const std::vector<MethodTrace>& traces) {
    json events = json::array();
    for (std::size_t i = 0; i < traces.size(); ++i)
        add_chrome_events(events, traces[i].timeline, traces[i].method, static_cast<int>(i) + 1);
    const TrainConfig& config = traces.front().config;
    return {{"displayTimeUnit", "ms"},
            {"otherData", {{"made_by", "slimgrad " SLIMGRAD_VERSION}, {"model", config.model}}},
            {"traceEvents", events}};
}

json peak_holders(const std::vector<MethodTrace>& traces, std::size_t most) {
    const Timeline& first = traces.front().timeline;
    std::map<std::string, std::set<std::string>> slots;  // of saved values, by layer
    for (const HeldValue& value : first.held)
        if (value.category == Category::saved) slots[value.layer].insert(value.slot);
    json rows = json::array();
    const auto add = [&](const HeldValue& value, const auto& held_by) {
        json kept;
        for (const MethodTrace& trace : traces) kept[trace.method] = held_by(trace.timeline);
        const double share = static_cast<double>(value.bytes) / static_cast<double>(first.peak());
        rows.push_back({{"category", name(value.category)},
                        {"layer", value.layer},
                        {"slot", value.slot},
                        {"shape", value.shape},
                        {"bytes", value.bytes},
                        {"share", share},
                        {"kept", kept}});
    };
    for (const HeldValue& value : held_at(first, first.state_of_peak(first.peak_moment())))
        add(value, [&](const Timeline& timeline) {
            return &timeline == &first ? value.bytes
                                       : held_instead(timeline, value, slots[value.layer]);
        });
    const CategoryBytes rest = rest_of_peak(first);
    for (std::size_t c = 0; c < category_count; ++c)
        if (rest.at(c) != 0)
            add({static_cast<Category>(c), "", "", "", rest.at(c)},
                [&](const Timeline& timeline) { return rest_of_peak(timeline).at(c); });
    std::stable_sort(rows.begin(), rows.end(),
                     [](const json& a, const json& b) { return a["bytes"] > b["bytes"]; });
    if (rows.size() > most)
        rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(most), rows.end());
    return rows;
}

json trace(const TraceOptions& options, const TraceNote& note,
           const std::function<void()>& between) {
    for (const auto& file : {options.page, options.chrome}) {
        const std::filesystem::path directory = file.parent_path();
        std::error_code none;
        require(!std::filesystem::is_directory(file, none),
                "[trace] cannot write '{}': it is a directory", file.string());
        require(directory.empty() || std::filesystem::is_directory(directory, none),
                "[trace] cannot write '{}': there is no directory '{}'", file.string(),
                directory.string());
    }
    const auto place = [](const std::filesystem::path& file) {
        return std::filesystem::weakly_canonical(std::filesystem::absolute(file));
    };
    require(options.page.empty() || options.chrome.empty() ||
                place(options.page) != place(options.chrome),
            "[trace] '{}' cannot be both the page and the trace", options.page.string());
    if (!options.page.empty()) require_timeline_place(options.page);
    if (!options.chrome.empty()) require_chrome_place(options.chrome);
    const std::vector<MethodTrace> traces = trace_methods(options, note, between);
    json document = trace_document(traces, options.warmup_steps);
    if (!options.page.empty()) write_timeline_page(document, options.page);
    if (!options.chrome.empty()) write_file(options.chrome, chrome_trace(traces).dump() + "\n");
    return document;
}

}  // namespace slimgrad
