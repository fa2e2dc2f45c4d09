#include "train/html.h"

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "tensor/error.h"

namespace slimgrad::html {

std::string escape(std::string_view text) {
    std::string out;
    for (const char c : text) switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    return out;
}

std::string inert(const nlohmann::json& json) {
    std::string out;
    for (const char c : json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
        if (c == '<') {
            out += "\\u003c";
        } else {
            out += c;
        }
    return out;
}

void require_replaceable(const std::filesystem::path& file) {
    std::error_code none;
    if (!std::filesystem::is_regular_file(file, none)) return;
    std::string begin(page_begin.size(), '\0');
    std::ifstream in(file, std::ios::binary);
    require(in.good(), "[report] cannot read '{}': {}", file.string(),
            std::generic_category().message(errno));
    in.read(begin.data(), std::ssize(begin));
    require((in.eof() && in.gcount() == 0) || begin == page_begin,
            "[report] '{}' is there and is no page of slimgrad. Hint: another --out, or remove it",
            file.string());
}

}  // namespace slimgrad::html
