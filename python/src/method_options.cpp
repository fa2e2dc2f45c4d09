#include "method_options.h"

#include <functional>

namespace slimgrad::inline SLIMGRAD_PRECISION::python {
namespace {

using Read = std::function<void(MethodOptions&, nb::handle)>;

std::string word(nb::handle value) { return nb::cast<std::string>(value); }

const std::vector<std::pair<std::string, Read>>& readers() {
    using Options = MethodOptions;
    static const std::vector<std::pair<std::string, Read>> all{
        {"epsilon", [](Options& o, nb::handle v) { o.epsilon = nb::cast<double>(v); }},
        {"oversample",
         [](Options& o, nb::handle v) { o.oversample = std::int64_t{nb::cast<Int>(v)}; }},
        {"rank_x", [](Options& o, nb::handle v) { o.rank_x = std::int64_t{nb::cast<Int>(v)}; }},
        {"rank_g", [](Options& o, nb::handle v) { o.rank_g = std::int64_t{nb::cast<Int>(v)}; }},
        {"side", [](Options& o, nb::handle v) { o.side = parse_side(word(v)); }},
        {"side_x", [](Options& o, nb::handle v) { o.side_x = parse_side(word(v)); }},
        {"side_g", [](Options& o, nb::handle v) { o.side_g = parse_side(word(v)); }},
        {"offset", [](Options& o, nb::handle v) { o.offset = parse_offset(word(v)); }},
        {"min_tokens",
         [](Options& o, nb::handle v) { o.min_tokens = std::int64_t{nb::cast<Int>(v)}; }},
        {"break_even", [](Options& o, nb::handle v) { o.break_even = parse_break_even(word(v)); }},
        {"batch", [](Options& o, nb::handle v) { o.batch = std::int64_t{nb::cast<Int>(v)}; }},
    };
    return all;
}

}  // namespace

MethodOptions to_method_options(const std::string& where, const std::string& method,
                                const nb::dict& options) {
    MethodOptions result;
    result.method = method;
    for (const auto [key, value] : options) {
        const std::string name = nb::cast<std::string>(key);
        std::string known;
        const Read* read = nullptr;
        for (const auto& [option, reader] : readers()) {
            if (option == name) read = &reader;
            known += (known.empty() ? "" : ", ") + option;
        }
        require(read != nullptr, "[{}] unknown option '{}'; known: {}", where, name, known);
        if (value.is_none()) continue;
        try {
            (*read)(result, value);
        } catch (const nb::cast_error&) {
            fail("[{}] {} cannot be {}", where, name, text(nb::steal(PyObject_Repr(value.ptr()))));
        }
    }
    return result;
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION::python
