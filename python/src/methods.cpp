// Methods of one's own, written in Python.

#include "bind.h"
#include "function_adapter.h"
#include "instant/methods/method.h"
#include "method_options.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// (name, default, low, high, words, help): low and high of numbers, words of a text.
using OptionArguments = std::tuple<std::string, nb::object, nb::object, nb::object,
                                   std::vector<std::string>, std::string>;

template <class T>
T bound(const nb::object& given, T otherwise) {
    return given.is_none() ? otherwise : nb::cast<T>(given);
}

Option to_option(const OptionArguments& arguments) {
    const auto& [name, initial, low, high, words, help] = arguments;
    constexpr std::int64_t most = 1'000'000'000;
    constexpr double largest = 1e38;
    if (nb::isinstance<nb::bool_>(initial)) return {name, YesNo{}, help, nb::cast<bool>(initial)};
    if (nb::isinstance<nb::int_>(initial))
        return {name, Integers{bound(low, -most), bound(high, most)}, help,
                nb::cast<std::int64_t>(initial)};
    if (nb::isinstance<nb::float_>(initial))
        return {name, Reals{bound(low, -largest), bound(high, largest)}, help,
                nb::cast<double>(initial)};
    require(nb::isinstance<nb::str>(initial),
            "[method] expected a number, a text, True or False as the default of '{}', got {}",
            name, text(nb::repr(initial)));
    const Range range = words.empty() ? Range(AnyText{}) : Range(Words{words});
    return {name, range, help, nb::cast<std::string>(initial)};
}

nb::object to_python(const OptionValues& values, const Option& option) {
    const OptionValue& given = values.given(option);
    const bool none = std::holds_alternative<std::monostate>(given);
    return std::visit(
        [](const auto& value) -> nb::object {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::monostate>)
                return nb::none();
            else
                return nb::cast(value);
        },
        none ? option.initial : given);
}

void add_method(const std::string& name, const nb::callable& rule, const std::string& help,
                const std::string& x_slot, const std::string& g_slot,
                const std::vector<OptionArguments>& arguments) {
    std::vector<Option> options;
    for (const OptionArguments& one : arguments) options.push_back(to_option(one));
    const auto factory = std::make_shared<PythonObject>(rule);
    const auto make = [factory, options](const RuleRequest& request) {
        const nb::gil_scoped_acquire gil;
        nb::dict words;
        for (const Option& option : options)
            words[option.name.c_str()] = to_python(request.options.own, option);
        return adapt_rule(factory->get()(request.layer.path(), **words));
    };
    register_method({.name = name,
                     .help = help,
                     .x_slot = x_slot,
                     .g_slot = g_slot,
                     .rule = make,
                     .options = std::move(options)});
}

void adapt_model(nb::handle_t<Module> model, const std::string& method, const Natural& seed,
                 const nb::kwargs& options) {
    Module& module = to_module(model);
    name_if_unnamed(module);
    adapt(module, to_method_options("adapt", method, options), seed);
}

}  // namespace

void bind_methods(nb::module_& core, nb::module_& here) {
    here.def("add_method", &add_method, "name"_a, "rule"_a, "help"_a, "x_slot"_a, "g_slot"_a,
             "options"_a, "Adds a method to the table of this precision; see sg.register_method.");
    core.def("adapt", &adapt_model, "model"_a, "method"_a, "seed"_a = 0, "options"_a,
             nb::sig("def adapt(model: Module, method: str, seed: int = 0, **options: object) -> "
                     "None"),
             "Changes a model as a method wants it to be trained: method='lora' freezes it and "
             "gives its linear layers adapters of rank= (8) and alpha= (1). Methods that change "
             "nothing leave it as it is. Choose first what trains, and make optimiser and "
             "Calibrator afterwards; sg.train does it by itself.");
    if (sizeof(real) == 4) {
        core.def("method_names", &method_names, "The methods, by name.");
        core.def(
            "own_options",
            [] {
                std::vector<std::string> names;
                for (const Option& option : own_method_options()) names.push_back(option.name);
                return names;
            },
            "The options that entries of the table bring, by name.");
    }
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
