#include "instant/calibration/statistics.h"

#include "instant/methods/options.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

bool keeps_x(const LinearMap& layer) {
    return layer.compressible() && layer.weight().requires_grad;
}

Statistics::Statistics(const MethodOptions& options)
    : options_(options),
      slots_(calibrated_slots(options)),
      weight_rows_(own_or<bool>(options, weight_rows_option(), false)),
      skip_padding_(own_or<bool>(options, skip_padding_option(), false)) {}

LayerStatistics Statistics::of(const LinearMap& layer) {
    LayerStatistics all;
    const auto enter = [&](Entries& entries, const std::string& name, const auto& side) {
        Entry& entry = entries[name];
        if (!entry.gram) entry = {layer.path(), std::make_shared<Gram>(side, options_.min_tokens)};
        return entry.layer == layer.path() ? entry.gram : nullptr;
    };
    all.skip_padding = skip_padding_;
    if (slots_.x && keeps_x(layer)) {
        all.x = enter(x_, layer.input_group(), options_.side_of_x());
        Entry& entry = x_[layer.input_group()];
        if (weight_rows_ && !entry.rows) entry.rows = std::make_shared<RowEnergies>();
        all.rows = entry.rows;
    }
    if (slots_.g && layer.compressible()) all.g = enter(g_, layer.path(), options_.side_of_g());
    return all;
}

const Statistics::Entry* Statistics::find(const Entries& entries, const std::string& name) {
    const auto found = entries.find(name);
    return found == entries.end() || !found->second.gram->observed() ? nullptr : &found->second;
}

/// What is not finite spreads: in forward from the first layer that sees it to all above, in
/// backward to all below. So the layers are asked in the order in which values pass them.
void Statistics::require_finite(Module& model) const {
    const auto check = [](const Entry* seen, const char* what) {
        if (!seen) return;
        require(all_finite(seen->gram->sum()),
                "[{}] calibration saw values of {} that are not finite. Hint: a lower learning "
                "rate, or gradient clipping",
                seen->layer, what);
    };
    const auto layers = linear_maps(model);
    for (LinearMap* layer : layers) check(x(layer->input_group()), "x");
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
        check(g((*layer)->path()), "g_y");
}

void Statistics::fade(double factor) {
    for (Entries* entries : {&x_, &g_})
        for (auto& [name, entry] : *entries) {
            const LayerScope scope(entry.layer);
            entry.gram->fade(factor);
            if (entry.rows) entry.rows->fade(factor);
        }
}

Statistics::State Statistics::state() const {
    State state;
    const auto add = [&](const char* prefix, const Entries& entries) {
        for (const auto& [name, entry] : entries) {
            if (!entry.gram->observed()) continue;
            state.push_back(entry.gram->state());
            state.back().name = prefix + name;
            if (!entry.rows || !entry.rows->observed()) continue;
            state.push_back(entry.rows->state());
            state.back().name = "D." + name;
        }
    };
    add("X.", x_);
    add("G.", g_);
    return state;
}

void Statistics::restore(Module& model, const State& state) {
    x_.clear();
    g_.clear();
    for (const LinearMap* layer : linear_maps(model)) of(*layer);
    for (const RunningSum& saved : state) {
        const bool rows = saved.name.starts_with("D.");
        Entries& entries = saved.name.starts_with("G.") ? g_ : x_;
        const bool known = rows || saved.name.starts_with("X.") || saved.name.starts_with("G.");
        const auto found = known ? entries.find(saved.name.substr(2)) : entries.end();
        require(found != entries.end() && (!rows || found->second.rows),
                "[calibrator] statistics '{}' belong to no layer", saved.name);
        require(saved.sum.defined() && saved.sum.ndim() == (rows ? 1 : 2) &&
                    saved.sum.size(0) == saved.sum.size(-1),
                "[calibrator] statistics '{}' are no {}", saved.name,
                rows ? "vector" : "square matrix");
        if (rows)
            found->second.rows->restore(saved);
        else
            found->second.gram->restore(saved);
    }
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
