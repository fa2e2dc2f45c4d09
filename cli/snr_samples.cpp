#include <fmt/format.h>

#include "cli/snr_output.h"
#include "cli/snr_sources.h"
#include "data/npy.h"
#include "tensor/error.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

Side fixed_side(const SnrRequest& o) {
    const auto side = parse_side(o.side.empty() ? "token" : o.side);
    require(side.has_value(), "[snr] --side auto is for runs; here choose token or channel");
    return *side;
}

}  // namespace

void snr_of_synthetic(SnrRequest o, SnrFindings& found) {
    if (o.epsilon.empty() && o.sweep.empty()) o.epsilon = {0.8, 0.9, 0.95, 0.99, 0.999};
    if (o.epsilon.empty()) o.epsilon = {0.95};
    if (o.oversample.empty()) o.oversample = {0};
    const Side side = fixed_side(o);
    SnrSourceOptions shape = o.synthetic;
    shape.separable = o.covariance == "separable";
    shape.seed = o.seed;
    found.document["covariance"] = o.covariance;
    if (!o.sweep.empty())
        return add_sweep(o, snr_subject(SnrSource(shape), side, o.samples, 0), found);
    json rows = json::array();
    for (std::int64_t s = 0; s < o.seeds; ++s) {
        shape.seed = o.seed + static_cast<std::uint64_t>(s);
        const SnrSource source(shape);
        std::uint64_t draw = 0;  // every comparison has samples of its own
        for (const double epsilon : o.epsilon)
            for (const std::int64_t oversample : o.oversample)
                rows.push_back(to_json(snr_row(snr_subject(source, side, o.samples, draw++),
                                               snr_choice(o, epsilon, oversample, side))));
    }
    found.document["rows"] = rows;
    found.add({.id = "ratios",
               .title = fmt::format("Synthetic gradients, {} covariance", o.covariance),
               .caption = fmt::format("{} fresh samples a comparison, intervals of {} %. Predicted "
                                      "and exact are of the population.",
                                      o.samples, 100 * o.confidence),
               .table = o.seeds > 1 ? seeds_table(rows) : ratio_table(rows)});
    add_summary(rows, found);
}

void snr_of_arrays(SnrRequest o, SnrFindings& found) {
    require(!o.weight.empty(),
            "[snr] expected --weight w.npy, (out_channels, in_channels), beside --source {}",
            o.source);
    if (o.epsilon.empty()) o.epsilon = {0.95};
    if (o.oversample.empty()) o.oversample = {0};
    const Side side = fixed_side(o);
    const Tensor g = load_npy(o.source), w = load_npy(o.weight);
    const SnrSubject subject = snr_subject(o.source, g, w, side);
    if (!o.sweep.empty()) return add_sweep(o, subject, found);
    json rows = json::array();
    for (const double epsilon : o.epsilon)
        for (const std::int64_t oversample : o.oversample)
            rows.push_back(
                to_json(snr_row(subject, snr_choice(o, epsilon, oversample, subject.modes.side))));
    found.document["rows"] = rows;
    found.add({.id = "ratios",
               .title = o.source,
               .caption = "All samples make the covariance, the exact ratio and the measured one, "
                          "so these two are equal to rounding; the interval says how far another "
                          "set of samples may lie.",
               .table = ratio_table(rows)});
}

}  // namespace slimgrad::cli
