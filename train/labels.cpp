#include "train/labels.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>

#include "data/safetensors_header.h"

namespace slimgrad {
namespace {

std::string list(const std::vector<std::string>& names) {
    constexpr std::size_t shown = 5;
    std::vector<std::string> quoted;
    for (std::size_t i = 0; i < std::min(shown, names.size()); ++i)
        quoted.push_back(in_quotes(names[i]));
    return fmt::format("{}{}", fmt::join(quoted, ", "), names.size() > shown ? ", …" : "");
}

/// Where each key of ours stands in theirs; empty unless both hold the same keys, each once.
template <class Key>
std::vector<std::int64_t> places(const std::vector<Key>& ours, const std::vector<Key>& theirs) {
    std::map<Key, std::int64_t> where;
    for (std::size_t i = 0; i < theirs.size(); ++i) where[theirs[i]] = static_cast<std::int64_t>(i);
    std::vector<std::int64_t> order;
    if (where.size() != theirs.size()) return order;
    for (const Key& key : ours)
        if (const auto found = where.find(key); found != where.end())
            order.push_back(found->second);
    if (order.size() != theirs.size()) order.clear();
    return order;
}

}  // namespace

std::int64_t label_number(const std::string& name) {
    constexpr std::string_view prefix = "LABEL_";
    std::string_view digits = name;
    if (digits.starts_with(prefix)) digits.remove_prefix(prefix.size());
    std::int64_t number = -1;
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, number);
    return error == std::errc() && rest == end && !digits.empty() ? number : -1;
}

std::string plain_label(const std::string& name) {
    std::string plain;
    for (const char c : name) {
        if (c == '-' || c == '_' || c == ' ') continue;
        plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return plain;
}

LabelMatch match_labels(const std::vector<std::string>& theirs,
                        const std::vector<std::string>& ours) {
    std::vector<std::int64_t> counted(ours.size());
    std::iota(counted.begin(), counted.end(), 0);
    if (theirs.empty()) return {counted, ""};
    if (theirs.size() != ours.size())
        return {{},
                fmt::format("the checkpoint has {} classes ({}), the data set {} ({})",
                            theirs.size(), list(theirs), ours.size(), list(ours))};
    std::vector<std::int64_t> numbers;
    std::vector<std::string> names, known;
    for (const std::string& name : theirs) {
        numbers.push_back(label_number(name));
        names.push_back(plain_label(name));
    }
    for (const std::string& name : ours) known.push_back(plain_label(name));
    for (const std::vector<std::int64_t>& order : {places(known, names), places(counted, numbers)})
        if (!order.empty()) return {order, ""};
    return {{},
            fmt::format("the checkpoint's classes are {}, those of the data set {}", list(theirs),
                        list(ours))};
}

}  // namespace slimgrad
