#include "bench/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/workload.h"
#include "tensor/blas.h"

namespace slimgrad::bench {
namespace {

/// The smallest vanilla figure on as many threads; 0 if there is none.
double best_vanilla(const std::vector<Measurement>& all, int threads,
                    double (*figure)(const Measurement&)) {
    double best = 0;
    for (const Measurement& m : all)
        if (m.variant.method == "vanilla" && m.threads == threads)
            best = best == 0 ? figure(m) : std::min(best, figure(m));
    return best;
}

nlohmann::json ratio(double vanilla, double own) {
    return vanilla > 0 && own > 0 ? nlohmann::json(vanilla / own) : nlohmann::json();
}

}  // namespace

double Measurement::median(const std::string& phase) const {
    const auto found = phases.find(phase);
    return found == phases.end() ? 0 : found->second.median;
}

std::vector<Variant> variants_of(const Case& which, const std::vector<std::string>& methods,
                                 const std::vector<Ranks>& ranks) {
    std::vector<Variant> all;
    const std::vector<Ranks> asked = which.ranks ? std::vector<Ranks>{*which.ranks} : ranks;
    for (const std::string& method : methods)
        for (const Ranks& r : asked) {
            Variant variant = variant_of(method);
            variant.ranks = r;
            const bool vanilla = variant.method == "vanilla";
            if (vanilla && (which.kind == Kind::calibration || &r != &asked.front())) continue;
            all.push_back(variant);
            variant.fused = false;
            if (which.kind == Kind::linears && !which.ranks) all.push_back(variant);
        }
    return all;
}

std::vector<Measurement> measure(const Case& which, const std::vector<Variant>& variants,
                                 const MeasureOptions& options) {
    std::vector<std::unique_ptr<Workload>> workloads;
    for (const Variant& variant : variants) {
        options.progress(fmt::format("{}: preparing {}", which.name, label(variant, which.kind)));
        if (options.verify) verify(which, variant);
        workloads.push_back(make_workload(which, variant));
        if (options.stop()) return {};
    }
    std::vector<Measurement> results;
    for (const int threads : options.threads) {
        set_threads(threads);
        std::vector<std::vector<Seconds>> times(variants.size());
        int complete = 0;
        for (int round = -options.warmup; round < options.rounds && !options.stop(); ++round) {
            options.progress(fmt::format("{}: {} threads, round {} of {}", which.name, threads,
                                         round + 1, options.rounds));
            std::size_t done = 0;
            for (; done < variants.size() && !options.stop(); ++done) {
                Seconds seconds = workloads[done]->run();
                if (round >= 0) times[done].push_back(std::move(seconds));
            }
            if (round >= 0 && done == variants.size()) ++complete;
        }
        for (std::size_t i = 0; i < variants.size() && complete > 0; ++i) {
            Measurement m{which, variants[i], threads, complete, {}, {}};
            std::vector<double> totals;
            std::map<std::string, std::vector<double>> phases;
            for (const Seconds& repetition : times[i]) {
                totals.push_back(total(repetition));
                for (const auto& [name, seconds] : repetition) phases[name].push_back(seconds);
            }
            m.total = spread(totals);
            for (const auto& [name, values] : phases) m.phases[name] = spread(values);
            results.push_back(std::move(m));
        }
    }
    return results;
}

nlohmann::json to_json(const std::vector<Measurement>& measurements) {
    nlohmann::json rows = nlohmann::json::array();
    for (const Measurement& m : measurements) {
        const auto whole = [](const Measurement& x) { return x.total.median; };
        const auto backward = [](const Measurement& x) { return x.backward(); };
        const nlohmann::json of_backward =
            ratio(best_vanilla(measurements, m.threads, backward), m.backward());
        const double flops = flop_ratio(m.which, m.variant);
        nlohmann::json phases;
        for (const auto& [name, s] : m.phases) phases[name] = s.median;
        rows.push_back(
            {{"case", m.which.name},
             {"label", label(m.variant, m.which.kind)},
             {"method", m.variant.method},
             {"rank_x", m.variant.ranks.x},
             {"rank_g", m.variant.ranks.g},
             {"fused_qkv", m.which.kind != Kind::linears || m.variant.fused},
             {"threads", m.threads},
             {"rounds", m.rounds},
             {"seconds", m.total.median},
             {"quartiles", {m.total.lower, m.total.upper}},
             {"phases", phases},
             {"speedup", ratio(best_vanilla(measurements, m.threads, whole), m.total.median)},
             {"speedup_backward", of_backward},
             {"flop_ratio", flops},
             {"realised", of_backward.is_null()
                              ? of_backward
                              : nlohmann::json(of_backward.get<double>() / flops)}});
    }
    return rows;
}

std::string label(const Variant& variant, Kind kind) {
    std::string text = variant.method;
    if (!variant.told.empty()) text += " " + variant.told;
    if (variant.method != "vanilla")
        text += variant.ranks.x == variant.ranks.g
                    ? fmt::format(" R{}", variant.ranks.x)
                    : fmt::format(" Rx{} Rg{}", variant.ranks.x, variant.ranks.g);
    if (kind == Kind::linears) text += variant.fused ? " qkv" : " q,k,v";
    return text;
}

}  // namespace slimgrad::bench
