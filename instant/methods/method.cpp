#include "instant/methods/method.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "instant/methods/options.h"
#include "instant/methods/table.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

bool same(const Option& a, const Option& b) {
    return a.help == b.help && a.initial == b.initial && describe(a.range) == describe(b.range);
}

std::optional<Side> side_of(const std::string& slots_own, const std::string& both) {
    return parse_side(slots_own.empty() ? both : slots_own);
}

bool has(const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
}

/// Whether there is something, and all of it is among these characters.
bool made_of(const std::string& text, std::initializer_list<std::string_view> characters) {
    return !text.empty() && std::ranges::all_of(text, [&](char c) {
        return std::ranges::any_of(
            characters, [&](std::string_view known) { return known.find(c) != known.npos; });
    });
}

const Method& entry(const std::string& name) {
    const auto found = std::ranges::find(method_table(), name, &Method::name);
    if (found == method_table().end())
        fail(
            "[method] unknown method {}; known: {}. Hint: a method of one's own is known only to "
            "the program that registers it",
            slimgrad::shown(name), fmt::join(method_names(), ", "));
    return *found;
}

std::vector<std::string> parts_of(const std::string& name) {
    std::vector<std::string> parts{""};
    for (const char c : name) c == '+' ? void(parts.emplace_back()) : parts.back().push_back(c);
    return parts;
}

/// What several entries are together: each may have what none before it has.
Method combined(const std::string& name) {
    Method all{.name = name};
    for (const std::string& word : parts_of(name)) {
        const Method& part = entry(word);
        const auto take = [&](auto Method::*member) {
            if (!(part.*member)) return;
            require(!(all.*member), "[method] '{}': {} does not go with what is named before it",
                    name, word);
            all.*member = part.*member;
        };
        take(&Method::rule);
        take(&Method::projection);
        take(&Method::adapt);
        take(&Method::adapted_shapes);
        take(&Method::tape);
        take(&Method::idle);
        if (part.rule || all.x_slot.empty()) {
            all.x_slot = part.x_slot;
            all.g_slot = part.g_slot;
            all.calibrated = part.calibrated;
            all.calibrated_by_options = part.calibrated_by_options;
            all.cuts_patches = part.cuts_patches;
            all.truncation = part.truncation;
            all.closed_form = part.closed_form;
        }
        all.help += (all.help.empty() ? "" : "; ") + part.help;
        all.heeds.insert(all.heeds.end(), part.heeds.begin(), part.heeds.end());
        all.options.insert(all.options.end(), part.options.begin(), part.options.end());
    }
    return all;
}

}  // namespace

const std::deque<Method>& methods() { return method_table(); }

const Method& find_method(const std::string& name) {
    if (name.find('+') == name.npos) return entry(name);
    static std::mutex mutex;  // trainings may run side by side
    static std::map<std::string, Method> combinations;
    const std::lock_guard lock(mutex);
    const auto found = combinations.find(name);
    return found != combinations.end() ? found->second
                                       : combinations.emplace(name, combined(name)).first->second;
}

Slots calibrated_slots(const MethodOptions& options) {
    const Method& method = find_method(options.method);
    return method.calibrated_by_options ? method.calibrated_by_options(options) : method.calibrated;
}

std::string why_one_length(const MethodOptions& o) {
    if (find_method(o.method).cuts_patches) return "cuts the tokens into patches of one grid";
    const Slots calibrated = calibrated_slots(o);
    // The shorter axis may be the tokens in one batch and the channels in the next.
    const bool x = calibrated.x && o.side_of_x() != Side::channel;
    const bool g = calibrated.g && o.side_of_g() != Side::channel;
    if (!x && !g) return "";
    return fmt::format("calibrates projectors along the tokens of {}", x && g ? "x and g_y"
                                                                       : x    ? "x"
                                                                              : "g_y");
}

void adapt(Module& model, const MethodOptions& options, std::uint64_t seed) {
    validate(options);
    if (const Method& method = find_method(options.method); method.adapt)
        method.adapt(model, options, seed);
}

void register_method(Method method) {
    require(
        !method.name.empty() && (method.rule || method.projection || method.adapt || method.tape),
        "[method] expected an entry with a name and a rule");
    require(std::ranges::find(method_table(), method.name, &Method::name) == method_table().end(),
            "[method] there is already a method '{}'", method.name);
    constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz", digits = "0123456789";
    constexpr std::string_view capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    require(made_of(method.name, {letters, capitals, digits, "-_."}) && method.name[0] != '.' &&
                method.name[0] != '-',
            "[method] expected a name of letters, digits, '-', '_' and '.', got {}",
            slimgrad::shown(method.name));
    for (const Option& option : method.options) {
        require(made_of(option.name, {letters, digits, "_"}),
                "[method] '{}': expected options of small letters, digits and '_', got {}",
                method.name, slimgrad::shown(option.name));
        check_option("[method]", option, option.initial);
        for (const Option& known : method_options())
            require(known.name != option.name || same(known, option),
                    "[method] '{}': there is already an option '{}', and it means something else",
                    method.name, option.name);
    }
    method_table().push_back(std::move(method));
}

std::unique_ptr<GradientProjection> make_projection(Module& model, const MethodOptions& options) {
    validate(options);
    const Method& method = find_method(options.method);
    return method.projection ? method.projection(model, options) : nullptr;
}

TapeOptions tape_options(const MethodOptions& options) {
    validate(options);
    TapeOptions result;
    if (const Method& method = find_method(options.method); method.tape)
        method.tape(result, options);
    return result;
}

std::vector<std::string> method_names() {
    std::vector<std::string> names;
    for (const Method& method : method_table()) names.push_back(method.name);
    return names;
}

std::vector<std::string> instant_modes() {
    return {"vanilla", "compress-x", "compress-gy", "instant"};
}

Option name_option() { return {"method", AnyText{method_names()}, "backward method"}; }

std::vector<Option> own_method_options() {
    std::vector<Option> all;
    for (const Method& method : method_table())
        for (const Option& option : method.options)
            if (std::ranges::find(all, option.name, &Option::name) == all.end())
                all.push_back(option);
    return all;
}

std::vector<Option> method_options() {
    std::vector<Option> all;
    const MethodOptions defaults;
    for_each_method_option(defaults,
                           [&](const Option& option, const auto&) { all.push_back(option); });
    return all;
}

Option method_option(std::string_view name) {
    const std::vector<Option> all = method_options();
    const auto found = std::ranges::find(all, name, &Option::name);
    require(found != all.end(), "[method] methods have no option {}", slimgrad::shown(name));
    return *found;
}

void validate(const MethodOptions& o) {
    find_method(o.method);
    for_each_method_option(o, [](const Option& option, const auto& value) {
        check_option("[method]", option, value);
    });
    check_option("[method]", batch_option(), o.batch);
    check_option("[method]", {"min_tokens", batch_option().range}, o.min_tokens);
}

bool set_rank(MethodOptions& options, std::int64_t rank) {
    const Method& method = find_method(options.method);
    for (const Option& option : method.options)
        if (option.name == "rank") {
            options.own.set("[method]", option, rank);
            return true;
        }
    const bool slots = calibrated_slots(options).any();
    if (slots) options.rank_x = options.rank_g = rank;
    return slots;
}

std::vector<Idle> idle_method_options(const MethodOptions& o) {
    const Method& method = find_method(o.method);
    std::vector<std::string> unheeded;
    for (const Option& option : method_options())
        if (!has(method.heeds, option.name) &&
            std::ranges::find(method.options, option.name, &Option::name) == method.options.end())
            unheeded.push_back(option.name);
    // What is said of one slot stands before what is said of both.
    const auto each_has_its_own = [&](const char* of_x, bool x, const char* of_g, bool g) {
        const bool heeds_x = has(method.heeds, of_x), heeds_g = has(method.heeds, of_g);
        return (heeds_x || heeds_g) && (x || !heeds_x) && (g || !heeds_g);
    };
    const bool ranks_fixed =
        each_has_its_own("rank_x", o.rank_x.has_value(), "rank_g", o.rank_g.has_value());
    const bool sides_fixed =
        each_has_its_own("side_x", !o.side_x.empty(), "side_g", !o.side_g.empty());
    const bool rank_given = !std::holds_alternative<std::monostate>(o.own.given(rank_option()));
    const bool budget_given = !std::holds_alternative<std::monostate>(o.own.given(budget_option()));
    // Adapters and projections of gradients have a rank of their own.
    std::vector<std::string> of_ranks{"epsilon", "oversample"};
    if (!method.projection) of_ranks.push_back("ratio");
    if (!method.projection && !method.adapt) of_ranks.push_back("rank");
    const auto complement = o.own.get<std::int64_t>(complement_option());
    std::vector<Idle> idle{{true, unheeded, "the method is " + o.method}};
    const auto and_these = [&](const std::vector<Idle>& more) {
        idle.insert(idle.end(), more.begin(), more.end());
        return idle;
    };
    if (method.idle) and_these(method.idle(o));
    if (method.calibrated_by_options) {  // its other slot has words of its own
        const bool kept_as_it_is = !calibrated_slots(o).any();
        return and_these(
            {{kept_as_it_is,
              {"epsilon", "oversample", "rank_x", "side_x", "offset"},
              "nothing is calibrated"},
             {o.rank_x.has_value(), {"epsilon", "oversample"}, "the rank of x is fixed"}});
    }
    return and_these(
        {{complement > 0, {"offset"}, "the complement makes up for what is dropped"},
         {complement == 0, {"complement_scale"}, "there is no complement"},
         {budget_given, {"epsilon", "oversample"}, "the budget decides"},
         {ranks_fixed, {"budget"}, "the ranks are fixed"},
         {o.side_of_x() == Side::channel, {"weight_rows"}, "x is projected along its channels"},
         {ranks_fixed, of_ranks, "the ranks are fixed"},
         {rank_given, {"ratio"}, "the rank is fixed"},
         {sides_fixed, {"side"}, "each slot has its own"}});
}

std::optional<Side> MethodOptions::side_of_x() const { return side_of(side_x, side); }
std::optional<Side> MethodOptions::side_of_g() const { return side_of(side_g, side); }

std::string to_string(Side side) { return side == Side::token ? "token" : "channel"; }

std::string to_string(const std::optional<Side>& side) { return side ? to_string(*side) : "auto"; }

std::string to_string(Offset offset) {
    return offset == Offset::none ? "none" : offset == Offset::energy ? "energy" : "signal";
}

std::optional<Side> parse_side(const std::string& word) {
    check_option("[method]", method_option("side"), word);
    if (word == "auto") return std::nullopt;
    return word == "token" ? Side::token : Side::channel;
}

Offset parse_offset(const std::string& word) {
    check_option("[method]", method_option("offset"), word);
    return word == "none" ? Offset::none : word == "energy" ? Offset::energy : Offset::signal;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
