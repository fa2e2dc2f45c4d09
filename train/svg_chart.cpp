#include "train/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "train/html.h"

namespace slimgrad {
namespace {

constexpr double width = 760, left = 74, right = 20, top = 40;
constexpr std::array colors = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"};
constexpr std::array dashes = {"", "7 4", "2 3", "9 3 2 3", "12 5", "4 2"};

/// The range of one axis and its ticks.
struct Axis {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    bool log = false;
    std::vector<double> ticks{};

    void include(double value) {
        if (!std::isfinite(value) || (log && value <= 0)) return;
        low = std::min(low, value);
        high = std::max(high, value);
    }
    /// 0 at the low end, 1 at the high one.
    double share(double value) const {
        if (log) return std::log(value / low) / std::log(high / low);
        return (value - low) / (high - low);
    }
    bool drawable(double value) const { return std::isfinite(value) && (!log || value > 0); }
};

void choose_ticks(Axis& axis) {
    if (!(axis.low <= axis.high)) axis.low = axis.log ? 1 : 0, axis.high = axis.low + 1;
    if (axis.low == axis.high) {
        axis.low = axis.log ? axis.low / 2 : axis.low - 0.5;
        axis.high = axis.log ? axis.high * 2 : axis.high + 0.5;
    }
    if (axis.log) {
        axis.low /= 1.1;
        axis.high *= 1.1;
        const double decades = std::log10(axis.high / axis.low);
        for (double decade = std::pow(10, std::floor(std::log10(axis.low))); decade <= axis.high;
             decade *= 10)
            for (const double digit : {1.0, 2.0, 5.0})
                if ((digit == 1 || decades < 4) && digit * decade >= axis.low &&
                    digit * decade <= axis.high)
                    axis.ticks.push_back(digit * decade);
        return;
    }
    const double raw = (axis.high - axis.low) / 6,
                 power = std::pow(10, std::floor(std::log10(raw)));
    double step = 10 * power;
    for (const double digit : {5.0, 2.0, 1.0})
        if (digit * power >= raw * 0.999) step = digit * power;
    axis.low = std::floor(axis.low / step + 1e-9) * step;
    axis.high = std::ceil(axis.high / step - 1e-9) * step;
    const auto count = std::llround((axis.high - axis.low) / step);
    for (long i = 0; i <= count; ++i)
        axis.ticks.push_back(axis.low + static_cast<double>(i) * step);
}

std::string number(double value) {
    return fmt::format("{:.4g}", std::abs(value) < 1e-12 ? 0 : value);
}

std::string text(double x, double y, const std::string& words, const char* more) {
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, more,
                       html::escape(words));
}

std::string marker(std::size_t form, double x, double y, const char* color,
                   const std::string& hint) {
    std::string shape;
    if (form % 3 == 0)
        shape = fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"", x, y);
    else if (form % 3 == 1)
        shape =
            fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"6\" height=\"6\"", x - 3, y - 3);
    else
        shape = fmt::format("<path d=\"M{:.1f} {:.1f}l4 7h-8z\"", x, y - 4);
    return fmt::format("{} fill=\"{}\"><title>{}</title></{}>\n", shape, color, html::escape(hint),
                       form % 3 == 0   ? "circle"
                       : form % 3 == 1 ? "rect"
                                       : "path");
}

/// The line of the legend, three entries to a line.
std::size_t row_of(std::size_t entry) { return entry / 3; }

class Drawing {
  public:
    explicit Drawing(const LineChart& chart) : chart_(chart) {
        y_.log = chart.log_y;
        for (const Series& s : chart.series) {
            for (const double x : s.x) x_.include(x);
            for (const auto* values : {&s.y, &s.low, &s.high})
                for (const double y : *values) y_.include(y);
        }
        for (const auto& [x, word] : chart.marks) x_.include(x);
        for (std::size_t i = 0; i < chart.categories.size(); ++i)
            x_.include(static_cast<double>(i));
        choose_ticks(x_);
        choose_ticks(y_);
        if (!chart.categories.empty()) {
            x_.low = -0.5;
            x_.high = static_cast<double>(chart.categories.size()) - 0.5;
        }
        std::size_t longest = 0;
        for (const std::string& name : chart.categories) longest = std::max(longest, name.size());
        bottom_ = top + 300;
        // Names of layers stand upright below the axis.
        label_ =
            bottom_ + (chart.categories.empty() ? 42 : 30 + 6.2 * static_cast<double>(longest));
        height_ = label_ + 24 + 22 * static_cast<double>(row_of(chart.series.size() + 2));
    }

    std::string draw() {
        out_ = fmt::format(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
            "width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\" aria-label=\"{2}\" "
            "font-family=\"system-ui, DejaVu Sans, sans-serif\" font-size=\"12\" fill=\"#333\">\n"
            "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            width, height_, html::escape(chart_.title));
        out_ += text(left, 22, chart_.title, "font-size=\"15\" font-weight=\"600\"");
        axes();
        for (std::size_t i = 0; i < chart_.series.size(); ++i) band(i);
        for (std::size_t i = 0; i < chart_.series.size(); ++i) curve(i);
        legend();
        return out_ + "</svg>\n";
    }

  private:
    double px(double x) const { return left + x_.share(x) * (width - right - left); }
    double py(double y) const { return bottom_ - y_.share(y) * (bottom_ - top); }

    void axes() {
        const auto line = [&](double x1, double y1, double x2, double y2, const char* style) {
            out_ +=
                fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n",
                            x1, y1, x2, y2, style);
        };
        for (const double y : y_.ticks) {
            line(left, py(y), width - right, py(y), "stroke=\"#e3e3e3\"");
            out_ += text(left - 8, py(y) + 4, number(y), "text-anchor=\"end\"");
        }
        if (chart_.categories.empty())
            for (const double x : x_.ticks) {
                line(px(x), top, px(x), bottom_, "stroke=\"#f0f0f0\"");
                out_ += text(px(x), bottom_ + 18, number(x), "text-anchor=\"middle\"");
            }
        for (std::size_t i = 0; i < chart_.categories.size(); ++i) {
            const double x = px(static_cast<double>(i)) + 4, y = bottom_ + 10;
            out_ += text(x, y, chart_.categories[i],
                         fmt::format("font-size=\"11\" text-anchor=\"end\" "
                                     "transform=\"rotate(-90 {:.1f} {:.1f})\"",
                                     x, y)
                             .c_str());
        }
        line(left, bottom_, width - right, bottom_, "stroke=\"#555\"");
        line(left, top, left, bottom_, "stroke=\"#555\"");
        for (const auto& [x, word] : chart_.marks) {
            line(px(x), top, px(x), bottom_, "stroke=\"#777\" stroke-dasharray=\"3 3\"");
            out_ += text(px(x) + 4, top + 12, word, "font-size=\"11\"");
        }
        out_ += text((left + width - right) / 2, label_, chart_.x_label, "text-anchor=\"middle\"");
        out_ += text(16, (top + bottom_) / 2, chart_.y_label,
                     fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 16 {:.1f})\"",
                                 (top + bottom_) / 2)
                         .c_str());
    }

    void band(std::size_t index) {
        const Series& s = chart_.series[index];
        const char* color = colors[index % colors.size()];
        if (s.low.empty()) return;
        if (!s.line) {  // bars of error around single points
            for (std::size_t i = 0; i < s.x.size(); ++i)
                if (y_.drawable(s.low[i]) && y_.drawable(s.high[i]))
                    out_ += fmt::format(
                        "<path d=\"M{:.1f} {:.1f}V{:.1f}\" stroke=\"{}\" "
                        "stroke-width=\"1.5\"/>\n",
                        px(s.x[i]), py(s.low[i]), py(s.high[i]), color);
            return;
        }
        std::string up, down;
        for (std::size_t i = 0; i < s.x.size(); ++i) {
            if (!y_.drawable(s.low[i]) || !y_.drawable(s.high[i])) continue;
            up += fmt::format("{:.1f},{:.1f} ", px(s.x[i]), py(s.high[i]));
            down.insert(0, fmt::format("{:.1f},{:.1f} ", px(s.x[i]), py(s.low[i])));
        }
        out_ += fmt::format("<polygon points=\"{}{}\" fill=\"{}\" opacity=\"0.2\"/>\n", up, down,
                            color);
    }

    void curve(std::size_t index) {
        const Series& s = chart_.series[index];
        const char* color = colors[index % colors.size()];
        std::string path, points;
        bool gap = true;
        for (std::size_t i = 0; i < s.x.size(); ++i) {
            if (!y_.drawable(s.y[i])) {
                gap = true;
                continue;
            }
            path += fmt::format("{}{:.1f} {:.1f}", gap ? "M" : "L", px(s.x[i]), py(s.y[i]));
            gap = false;
            if (!s.line || s.x.size() <= 40)
                points += marker(index, px(s.x[i]), py(s.y[i]), color,
                                 fmt::format("{}: {}", s.label, number(s.y[i])));
        }
        if (s.line && !path.empty())
            out_ += fmt::format(
                "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" "
                "stroke-dasharray=\"{}\"/>\n",
                path, color, dashes[index % dashes.size()]);
        out_ += points;
    }

    void legend() {
        constexpr double column = (width - left - right) / 3;
        for (std::size_t i = 0; i < chart_.series.size(); ++i) {
            const double x = left + column * static_cast<double>(i % 3);
            const double y = label_ + 24 + 22 * static_cast<double>(row_of(i));
            const Series& s = chart_.series[i];
            const char* color = colors[i % colors.size()];
            if (s.line)
                out_ += fmt::format(
                    "<path d=\"M{:.1f} {:.1f}h34\" stroke=\"{}\" stroke-width=\"1.8\" "
                    "stroke-dasharray=\"{}\"/>\n",
                    x, y - 4, color, dashes[i % dashes.size()]);
            if (!s.line || s.x.size() <= 40) out_ += marker(i, x + 17, y - 4, color, s.label);
            out_ += text(x + 42, y, s.label, "");
        }
    }

    const LineChart& chart_;
    Axis x_, y_;
    double bottom_ = 0, label_ = 0, height_ = 0;
    std::string out_;
};

}  // namespace

std::string svg(const LineChart& chart) { return Drawing(chart).draw(); }

}  // namespace slimgrad
