#include "train/json_file.h"

#include <cerrno>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <vector>

#include "tensor/error.h"

namespace slimgrad {
namespace {

using nlohmann::json;

/// Looks through a text and throws Error at what is wrong with it. (A filter on json::parse would
/// do the same, in a time that grows with the square of the number of keys.)
class Inspector final : public nlohmann::json_sax<json> {
  public:
    explicit Inspector(const std::string& where) : where_(where) {}

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return start(); }
    bool start_array(std::size_t) override { return start(); }
    bool end_object() override { return end(); }
    bool end_array() override { return end(); }

    bool key(string_t& key) override {
        require(keys_.back().insert(key).second, "{} has the key {} twice", where_, shown(key));
        return true;
    }
    bool parse_error(std::size_t position, const std::string& token,
                     const json::exception& error) override {
        const bool number = dynamic_cast<const json::out_of_range*>(&error) != nullptr;
        require(!number, "{} has a number that is too large: {}", where_, shown(token));
        fail("{} is not valid JSON: mistake at byte {}", where_, position);
    }

  private:
    bool start() {
        constexpr std::size_t deepest = 64;
        require(keys_.size() < deepest, "{} is nested more than {} levels deep", where_, deepest);
        keys_.emplace_back();
        return true;
    }
    bool end() {
        keys_.pop_back();
        return true;
    }

    const std::string& where_;
    std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

/// The whole file, which may be a pipe.
std::string text_of(const std::filesystem::path& file) {
    constexpr std::streamsize most = 64 << 20;
    std::error_code none;
    require(!std::filesystem::is_directory(file, none),
            "[run] cannot read '{}': expected a file, got a directory", file.string());
    std::ifstream in(file, std::ios::binary);
    require(in.good(), "[run] cannot read '{}': {}", file.string(),
            std::generic_category().message(errno));
    std::string text(1 << 16, '\0');
    std::streamsize size = 0;
    while (in.read(text.data() + size, std::ssize(text) - size)) {
        size = std::ssize(text);
        require(size < most, "[run] cannot read '{}': expected at most {} MiB", file.string(),
                most >> 20);
        text.resize(2 * text.size());
    }
    require(in.eof(), "[run] cannot read '{}': {}", file.string(),
            std::generic_category().message(errno));
    text.resize(static_cast<std::size_t>(size + in.gcount()));
    return text;
}

}  // namespace

json parse_json(std::string_view text, const std::string& where) {
    Inspector inspector(where);
    json::sax_parse(text, &inspector);
    return json::parse(text);
}

json read_json(const std::filesystem::path& file) {
    return parse_json(text_of(file), fmt::format("[run] '{}'", file.string()));
}

void refuse_json(const std::string& where, const Option& option, const json& got) {
    if (got.is_number_float() && !std::isfinite(got.get<double>()))  // JSON has no word for it
        refuse(where, option, fmt::format("{}", got.get<double>()));
    if (got.is_number()) refuse(where, option, got.dump());
    refuse(where, option, shown(got.is_string() ? got.get<std::string>() : got.dump()));
}

std::int64_t read_integer(const std::string& where, const Option& option, const json& value) {
    if (!value.is_number_integer()) refuse_json(where, option, value);
    if (value.is_number_unsigned())
        check_option(where, option, value.get<std::uint64_t>());
    else
        check_option(where, option, value.get<std::int64_t>());
    return value.get<std::int64_t>();
}

}  // namespace slimgrad
