#include "train/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autograd/saved.h"
#include "tensor/meter.h"

namespace slimgrad {
namespace {

using nlohmann::json;

constexpr auto at(Category category) { return static_cast<std::size_t>(category); }
constexpr std::size_t never = static_cast<std::size_t>(-1);

std::map<std::string, std::int64_t> flops_by_phase() {
    std::map<std::string, std::int64_t> flops;
    for (const auto& [key, count] : meter().counts()) flops[key.second] += count;
    return flops;
}

std::int64_t bytes_of(const Tensor& tensor) {
    return tensor.defined() ? static_cast<std::int64_t>(tensor.storage()->bytes()) : 0;
}

CategoryBytes live_bytes() {
    CategoryBytes live{};
    for (std::size_t c = 0; c < category_count; ++c)
        live.at(c) = ledger()[static_cast<Category>(c)].live;
    return live;
}

}  // namespace

std::int64_t total(const CategoryBytes& bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
}

std::string to_string(TimelineCall::Part part) {
    constexpr std::array names{"forward", "backward", "update"};
    return names.at(static_cast<std::size_t>(part));
}

std::int64_t TimelineCall::total_flops() const {
    std::int64_t sum = 0;
    for (const auto& [phase, count] : flops) sum += count;
    return sum;
}

std::size_t Timeline::peak_moment() const {
    const auto most = std::ranges::max_element(
        moments, {}, [](const Moment& moment) { return total(moment.peak); });
    return static_cast<std::size_t>(most - moments.begin());
}

std::int64_t Timeline::peak() const { return total(moments.at(peak_moment()).peak); }

const TimelineCall* Timeline::call_at(std::size_t k) const {
    const auto found = std::ranges::find_if(
        calls, [k](const TimelineCall& call) { return call.begin < k && k <= call.end; });
    return found == calls.end() ? nullptr : &*found;
}

std::int64_t Timeline::flops() const {
    std::int64_t sum = 0;
    for (const TimelineCall& call : calls) sum += call.total_flops();
    return sum;
}

/// While it lives the clock of the timeline stands still.
class TimelineRecorder::Note {
  public:
    explicit Note(TimelineRecorder& recorder) : recorder_(recorder) {}
    ~Note() { recorder_.paused_ += Clock::now() - since_; }
    Note(const Note&) = delete;
    Note& operator=(const Note&) = delete;

    double seconds() const {
        return std::chrono::duration<double>(since_ - recorder_.start_ - recorder_.paused_).count();
    }

  private:
    TimelineRecorder& recorder_;
    Clock::time_point since_ = Clock::now();
};

TimelineRecorder::TimelineRecorder(Module& model) {
    for_each_parameter(model, [this](const std::string& path, const Parameter& parameter) {
        const std::size_t dot = path.rfind('.');
        const bool root = dot == path.npos;  // of the model itself
        trained_.push_back({root ? "" : path.substr(0, dot), root ? path : path.substr(dot + 1),
                            &parameter, never});
    });
}

void TimelineRecorder::start() {
    for (const Trained& of : trained_)
        timeline_.held.push_back({Category::parameters, of.layer, of.name,
                                  to_string(of.parameter->value.shape()),
                                  bytes_of(of.parameter->value), 0, never});
    flops_ = flops_by_phase();
    ledger().reset_peaks();
    start_ = Clock::now();
    const Note note(*this);
    moment(note, {});
}

void TimelineRecorder::forward_ended() {
    const Note note(*this);
    moment(note, {});
    timeline_.after_forward = timeline_.moments.size() - 1;
}

void TimelineRecorder::update(const std::function<void()>& work) {
    begin_call("optimizer", Part::update);
    work();
    end_call();
}

Timeline TimelineRecorder::finish() {
    {
        const Note note(*this);
        moment(note, {});
    }
    for (HeldValue& value : timeline_.held)
        value.until = std::min(value.until, timeline_.moments.size());
    return std::move(timeline_);
}

void TimelineRecorder::begin(const std::string& name, Pass pass) {
    begin_call(name, pass == Pass::forward ? Part::forward : Part::backward);
}

void TimelineRecorder::end(const std::string& /*name*/, Pass /*pass*/) { end_call(); }

void TimelineRecorder::kept(const KeptAs& as, const Packed& payload) {
    const Note note(*this);
    Kept kept{as.slot};
    if (const auto* tensor = dynamic_cast<const PackedTensor*>(&payload))
        kept.shape = to_string(tensor->shape());
    moment(note, kept);
}

void TimelineRecorder::differentiated(const Differentiated& /*call*/) {
    const Note note(*this);
    moment(note, {});
}

void TimelineRecorder::begin_call(const std::string& name, Part part) {
    const Note note(*this);
    moment(note, {});
    settle_flops();
    open_.push_back(timeline_.calls.size());
    timeline_.calls.push_back({name, part, timeline_.moments.size() - 1});
}

void TimelineRecorder::end_call() {
    const Note note(*this);
    moment(note, {});
    settle_flops();
    timeline_.calls.at(open_.back()).end = timeline_.moments.size() - 1;
    open_.pop_back();
}

// What is kept, parameters and gradients change at moments alone: in between only temporary values
// come and go. So a peak that is over by now was made of these.
void TimelineRecorder::moment(const Note& note, const Kept& kept) {
    Moment now{.seconds = note.seconds(), .live = live_bytes()};
    now.peak = now.live;
    const std::int64_t peak = ledger().total().peak;
    ledger().reset_peaks();
    if (peak > total(now.live) && !timeline_.moments.empty()) {
        now.peak_now = false;
        now.peak = timeline_.moments.back().live;
        now.peak.at(at(Category::workspace)) += peak - total(now.peak);
    }
    settle_held(kept);
    settle_gradients();
    timeline_.moments.push_back(now);
}

void TimelineRecorder::settle_gradients() {
    const std::size_t now = timeline_.moments.size();
    for (Trained& of : trained_) {
        const Tensor& gradient = of.parameter->grad.value;
        const std::int64_t bytes = bytes_of(gradient);
        const std::int64_t before = of.gradient == never ? 0 : timeline_.held.at(of.gradient).bytes;
        if (bytes == before) continue;
        if (of.gradient != never) timeline_.held.at(of.gradient).until = now;
        of.gradient = bytes > 0 ? timeline_.held.size() : never;
        if (bytes > 0)
            timeline_.held.push_back({Category::gradients, of.layer, of.name + ".grad",
                                      to_string(gradient.shape()), bytes, now, never});
    }
}

/// Follows the ledger's account of what each layer keeps. Bytes that have come belong to the slot
/// that was just kept; of a layer's, those that came last go first, as backward frees them.
void TimelineRecorder::settle_held(const Kept& kept) {
    std::map<std::string, std::int64_t> now = ledger().saved_by_layer();
    for (const auto& [layer, before] : saved_)
        if (const auto found = now.find(layer); found == now.end())
            release(layer, before);
        else if (found->second < before)
            release(layer, before - found->second);
    for (const auto& [layer, bytes] : now) {
        const auto before = saved_.find(layer);
        const std::int64_t more = bytes - (before == saved_.end() ? 0 : before->second);
        if (more <= 0) continue;
        holding_[layer].push_back(timeline_.held.size());
        timeline_.held.push_back(
            {Category::saved, layer, kept.slot, kept.shape, more, timeline_.moments.size(), never});
    }
    saved_ = std::move(now);
}

void TimelineRecorder::release(const std::string& layer, std::int64_t bytes) {
    std::vector<std::size_t>& live = holding_[layer];
    while (bytes > 0 && !live.empty()) {
        HeldValue& last = timeline_.held.at(live.back());
        if (last.bytes > bytes) {  // of several buffers one has gone
            HeldValue part = last;
            part.bytes = bytes;
            part.until = timeline_.moments.size();
            last.bytes -= bytes;
            timeline_.held.push_back(std::move(part));
            return;
        }
        bytes -= last.bytes;
        last.until = timeline_.moments.size();
        live.pop_back();
    }
}

/// FLOPs since this was last called are those of the innermost call that is open.
void TimelineRecorder::settle_flops() {
    std::map<std::string, std::int64_t> now = flops_by_phase();
    if (!open_.empty())
        for (const auto& [phase, count] : now)
            if (const std::int64_t more = count - flops_[phase]; more > 0)
                timeline_.calls.at(open_.back()).flops[phase] += more;
    flops_ = std::move(now);
}

json to_json(const Timeline& timeline) {
    json seconds = json::array(), state = json::array(), live, peak;
    for (std::size_t k = 0; k < timeline.moments.size(); ++k) {
        const Moment& moment = timeline.moments[k];
        seconds.push_back(moment.seconds);
        state.push_back(timeline.state_of_peak(k));
        for (std::size_t c = 0; c < category_count; ++c) {
            const std::string category(name(static_cast<Category>(c)));
            live[category].push_back(moment.live.at(c));
            peak[category].push_back(moment.peak.at(c));
        }
    }
    json calls = json::array(), held = json::array();
    for (const TimelineCall& call : timeline.calls)
        calls.push_back({{"layer", call.layer},
                         {"part", to_string(call.part)},
                         {"begin", call.begin},
                         {"end", call.end},
                         {"seconds", timeline.moments.at(call.end).seconds -
                                         timeline.moments.at(call.begin).seconds},
                         {"flops", call.total_flops()},
                         {"phases", call.flops}});
    for (const HeldValue& value : timeline.held)
        held.push_back({{"category", name(value.category)},
                        {"layer", value.layer},
                        {"slot", value.slot},
                        {"shape", value.shape},
                        {"bytes", value.bytes},
                        {"from", value.from},
                        {"until", value.until}});
    return {{"moments", {{"seconds", seconds}, {"state", state}, {"live", live}, {"peak", peak}}},
            {"calls", calls},
            {"held", held},
            {"after_forward", timeline.after_forward}};
}

void add_chrome_events(json& events, const Timeline& timeline, const std::string& name,
                       int process) {
    constexpr double microseconds = 1e6;
    const auto describe = [&](const char* what, const std::string& text) {
        events.push_back({{"ph", "M"},
                          {"name", what},
                          {"pid", process},
                          {"tid", 1},
                          {"args", {{"name", text}}}});
    };
    describe("process_name", name);
    describe("thread_name", "calls");
    for (const TimelineCall& call : timeline.calls) {
        const double begin = timeline.moments.at(call.begin).seconds;
        json args = call.flops;
        args["flops"] = call.total_flops();
        events.push_back({{"ph", "X"},
                          {"name", call.layer},
                          {"cat", to_string(call.part)},
                          {"pid", process},
                          {"tid", 1},
                          {"ts", microseconds * begin},
                          {"dur", microseconds * (timeline.moments.at(call.end).seconds - begin)},
                          {"args", args}});
    }
    for (const Moment& moment : timeline.moments) {
        json bytes;
        for (std::size_t c = 0; c < category_count; ++c)
            bytes[std::string(slimgrad::name(static_cast<Category>(c)))] = moment.live.at(c);
        events.push_back({{"ph", "C"},
                          {"name", "live bytes"},
                          {"pid", process},
                          {"ts", microseconds * moment.seconds},
                          {"args", bytes}});
        events.push_back({{"ph", "C"},
                          {"name", "most bytes since the event before"},
                          {"pid", process},
                          {"ts", microseconds * moment.seconds},
                          {"args", {{"bytes", total(moment.peak)}}}});
    }
}

}  // namespace slimgrad
