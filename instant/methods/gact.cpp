#include "instant/methods/gact.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "instant/codec/gact.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

struct Level {
    const char* name;
    int bits;        // of every value, or of the first steps
    double average;  // of all values together, where their bits are automatic; else 0
};
constexpr std::array levels{Level{"L1", 4, 0}, Level{"L1.1", 8, 0}, Level{"L1.2", 2, 0},
                            Level{"L2", 4, 4}, Level{"L2.1", 4, 3}, Level{"L2.2", 2, 2}};

std::vector<std::string> level_names() {
    std::vector<std::string> names;
    for (const Level& level : levels) names.emplace_back(level.name);
    return names;
}

const Level* level_of(const MethodOptions& options) {
    const auto* name = std::get_if<std::string>(&options.own.given(level_option()));
    if (!name) return nullptr;
    return &*std::ranges::find_if(levels, [&](const Level& l) { return *name == l.name; });
}

}  // namespace

const Option& level_option() {
    static const Option option{
        "level", Words{level_names()},
        "L1, L1.1, L1.2: 4, 8, 2 bits; L2, L2.1, L2.2: by sensitivity, 4, 3, 2 on average"};
    return option;
}

const Option& bits_option() {
    static const Option option{"bits", Words{{"1", "2", "4", "8", "32"}},
                               "without a level: of each element that is kept (32: as it is)",
                               std::string("4")};
    return option;
}

const Option& scales_option() {
    static const Option option{"scales", Words{{"group", "token", "channel"}},
                               "elements that share least value and step", std::string("group")};
    return option;
}

const Option& group_size_option() {
    static const Option option{"group_size", Integers{8, 1 << 20},
                               "scales group: so many elements, a multiple of 8",
                               std::int64_t{256}};
    return option;
}

const Option& adapt_every_option() {
    static const Option option{"adapt_every", Integers{0, 1'000'000'000},
                               "levels L2: steps between choices of bits (0: before the first)",
                               std::int64_t{1000}};
    return option;
}

const Option& sensitivity_option() {
    static const Option option{"sensitivity", Words{{"passes", "calls"}},
                               "levels L2: by three passes for each value, as in the paper, or by "
                               "one step that runs each call's backward again",
                               std::string("passes")};
    return option;
}

const Option& gelu_bits_option() {
    static const Option option{"gelu_bits", Words{{"0", "2", "3"}},
                               "GELU and SiLU keep their derivative in so many bits (0: their "
                               "input)",
                               std::string("0")};
    return option;
}

const Option& norm_keeps_option() {
    static const Option option{"norm_keeps", Words{{"input", "output"}},
                               "of LayerNorm, which a linear layer after it may share",
                               std::string("input")};
    return option;
}

std::optional<double> automatic_bits(const MethodOptions& options) {
    const auto& known = find_method(options.method).options;
    if (std::ranges::find(known, level_option().name, &Option::name) == known.end()) return {};
    const Level* level = level_of(options);
    return level && level->average > 0 ? std::optional(level->average) : std::nullopt;
}

std::shared_ptr<GactCodec> gact_codec(const MethodOptions& options) {
    const OptionValues& own = options.own;
    const Level* level = level_of(options);
    const auto scales = own.get<std::string>(scales_option());
    QuantisedForm form;
    form.bits = level ? level->bits : std::stoi(own.get<std::string>(bits_option()));
    form.scales = scales == "token"     ? Scales::token
                  : scales == "channel" ? Scales::channel
                                        : Scales::group;
    form.group = own.get<std::int64_t>(group_size_option());
    require(form.group % 8 == 0, "[method] expected a group_size that is a multiple of 8, got {}",
            form.group);
    return std::make_shared<GactCodec>(form);
}

std::vector<Idle> idle_codec_options(const MethodOptions& options) {
    const auto scales = options.own.get<std::string>(scales_option());
    return {{level_of(options) != nullptr, {"bits"}, "the level decides"},
            {!automatic_bits(options), {"adapt_every", "sensitivity"}, "bits are fixed"},
            {scales != "group", {"group_size"}, "scales are of each " + scales}};
}

void keep_in_few_bits(TapeOptions& tape, const MethodOptions& options) {
    tape.codec = gact_codec(options);
    tape.derivative_bits = std::stoi(options.own.get<std::string>(gelu_bits_option()));
    tape.norm_keeps_output = options.own.get<std::string>(norm_keeps_option()) == "output";
}

Option codec_option() {
    std::vector<std::string> words{"gact"};
    for (const std::string& level : level_names()) words.push_back("gact:" + level);
    return {"codec", AnyText{words}, "pack what layers keep; gact is METHOD+gact"};
}

void add_codec(MethodOptions& options, const std::string& codec, const std::string& where) {
    const std::size_t colon = codec.find(':');
    const bool has_level = colon != std::string::npos;
    require(codec.substr(0, colon) == "gact",
            "{} expected codec gact, or gact:LEVEL with a level of {}, got {}", where,
            fmt::join(level_names(), ", "), slimgrad::shown(codec));
    require(!find_method(options.method).tape, "{} method '{}' has a codec already, got codec {}",
            where, options.method, slimgrad::shown(codec));
    if (const Level* level = level_of(options); level && has_level)
        fail("{} expected one level, got codec {} and level {}", where, slimgrad::shown(codec),
             level->name);
    if (has_level) options.own.set(where, level_option(), codec.substr(colon + 1));
    options.method = options.method == "vanilla" ? "gact" : options.method + "+gact";
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
