#include "cli/options.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "data/unicode.h"
#include "tensor/error.h"
#include "train/json_file.h"
#include "train/progress.h"
#include "train/recipes.h"

namespace slimgrad::cli {
namespace {

/// What may be given, in a word for help.
const char* type_name(const Range& range) {
    if (std::holds_alternative<Integers>(range)) return "N";
    if (std::holds_alternative<Reals>(range)) return "X";
    return std::holds_alternative<Words>(range) ? "WORD" : "TEXT";
}

/// What the option means and what it may be.
std::string help_of(const Option& option) {
    const auto* words = std::get_if<Words>(&option.range);
    const auto* text = std::get_if<AnyText>(&option.range);
    if (words) return fmt::format("{}: {}", option.help, fmt::join(words->known, ", "));
    if (text && text->known.empty()) return option.help;
    if (text) return fmt::format("{}: {}", option.help, fmt::join(text->known, ", "));
    std::string range = describe(option.range);
    if (const auto number = range.find("number "); number != std::string::npos)
        range.erase(0, number + 7);  // which the name of the type says
    return fmt::format("{}; {}", option.help, range);
}

/// Adds an option or an argument, told apart by its names.
CLI::Option* add(CLI::App& command, const std::string& names, const Option& option, Take take) {
    const auto see = [&command, option, take = std::move(take)](const CLI::results_t& words) {
        const std::string where = fmt::format("[{}]", command.get_name());
        for (const std::string& word : words) {
            require(find_invalid_utf8(word) == std::string::npos,
                    "{} expected UTF-8 as {}, got other bytes", where, option.name);
            // `--out $RUN --json` where the variable is not set.
            require(!word.starts_with("--") || !command.get_option_no_throw(word),
                    "{} expected {} as {}, got the option {}", where, describe(option.range),
                    option.name, word);
            take(where, option, word);
        }
        return true;
    };
    return command.add_option(names, see, help_of(option))->type_name(type_name(option.range));
}

}  // namespace

std::string flag(const std::string& name) {
    std::string flag = "--" + name;
    std::ranges::replace(flag, '_', '-');
    return flag;
}

CLI::Option* add_option(CLI::App& command, Option option, const std::string& initial, Take take) {
    option.name = flag(option.name);
    return add(command, option.name, option, std::move(take))->default_str(initial);
}

CLI::Option* add_option(CLI::App& command, const Option& option, OptionValue& value) {
    const auto text = [](const auto& v) -> std::string {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(v)>, std::monostate>)
            return "";
        else
            return fmt::format("{}", v);
    };
    return add_option(command, option, std::visit(text, option.initial),
                      [&value](const auto& where, const Option& how, const std::string& word) {
                          parse_option(where, how, word, value);
                      });
}

CLI::Option* add_argument(CLI::App& command, const Option& option, std::string& value) {
    return add(command, option.name, option,
               [&value](const auto& where, const Option& how, const std::string& word) {
                   parse_option(where, how, word, value);
               });
}

CLI::Option* add_argument(CLI::App& command, const Option& option,
                          std::vector<std::string>& values) {
    const auto take = [&values, first = true](const auto& where, const Option& how,
                                              const std::string& word) mutable {
        if (std::exchange(first, false)) values.clear();  // what is given replaces the default
        parse_option(where, how, word, values.emplace_back());
    };
    return add(command, option.name, option, take)
        ->expected(1, CLI::detail::expected_max_vector_size)
        ->allow_extra_args()
        ->default_str(fmt::format("{}", fmt::join(values, " ")));
}

std::string initial_text(const std::string& value) { return value; }

std::vector<std::string> split_list(const std::string& where, const Option& option,
                                    const std::string& list) {
    std::vector<std::string> parts(1);
    for (const char c : list)
        if (c == ',')
            parts.emplace_back();
        else
            parts.back() += c;
    if (list.empty()) return parts;  // what a part may not be, its range says
    for (auto part = parts.begin(); part != parts.end(); ++part) {
        require(!part->empty(), "{} expected words with commas between them as {}, got {}", where,
                option.name, shown(list));
        require(std::find(parts.begin(), part, *part) == part, "{} {} has {} twice", where,
                option.name, shown(*part));
    }
    return parts;
}

std::vector<std::string> given(const CLI::App& command) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options()) {
        if (option->count() == 0) continue;
        names.push_back(option->get_single_name());
        std::ranges::replace(names.back(), '-', '_');
    }
    return names;
}

RunOptions::RunOptions(CLI::App& command, const std::set<std::string>& names, Pick pick) {
    add_option(command, {"config", AnyText{}, "JSON file of options; those given here come first"},
               file_);
    if (pick == Pick::all_but) add_option(command, recipe_option(), recipe_);
    for_each_option(parsed_, [&](const Option& option, auto& value) {
        if (names.contains(option.name) == (pick == Pick::all_but)) return;
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, bool>)
            options_[option.name] = command.add_flag(flag(option.name), value, option.help);
        else
            options_[option.name] = add_option(command, option, value);
    });
}

TrainConfig RunOptions::config_over(const std::string& base) const {
    if (base.empty() && file_.empty() && recipe_.empty()) return spelled_out(parsed_, "[config]");
    nlohmann::json json = nlohmann::json::object();
    std::string last = base;
    for (const std::string& file : {base, file_})
        if (!file.empty()) {
            const nlohmann::json options = read_json(file);
            config_from_json(options, file);  // a mistake is named with its file
            json.update(options);
            last = file;
        }
    if (!recipe_.empty()) json[recipe_option().name] = recipe_;
    const nlohmann::json overrides = to_json(parsed_);
    for (const std::string& name : given()) json[name] = overrides.at(name);
    return config_from_json(json, last);
}

std::vector<std::string> RunOptions::given() const {
    std::vector<std::string> given;
    for (const auto& [name, option] : options_)
        if (option->count() > 0) given.push_back(name);
    return given;
}

std::vector<std::string> arguments(const TrainConfig& config) {
    std::vector<std::string> result;
    const nlohmann::json json = to_json(config);
    const std::vector<Option> own = own_method_options();  // those take a value, also true or false
    for (const auto& [name, value] : json.items()) {
        if (value.is_boolean() && std::ranges::find(own, name, &Option::name) == own.end()) {
            if (value.get<bool>()) result.push_back(flag(name));
        } else if (!value.is_string() || !value.get<std::string>().empty()) {
            result.push_back(flag(name));
            result.push_back(value.is_string() ? value.get<std::string>() : value.dump());
        }
    }
    return result;
}

void print_notes(const std::vector<std::string>& notes) {
    for (const std::string& note : notes) say(fmt::format("note: {}\n", note));
}

}  // namespace slimgrad::cli
