#include "train/json_file.h"

#include <cerrno>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "data/json.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

using nlohmann::json;

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

json read_json(const std::filesystem::path& file) {
    return parse_json(text_of(file), fmt::format("[run] '{}'", file.string()));
}

json json_or_nothing(const std::filesystem::path& file) {
    std::error_code none;
    if (!std::filesystem::is_regular_file(file, none)) return nullptr;
    try {
        return read_json(file);
    } catch (const Error&) {
        return nullptr;
    }
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
