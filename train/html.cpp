#include "train/html.h"

#include <nlohmann/json.hpp>

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

}  // namespace slimgrad::html
