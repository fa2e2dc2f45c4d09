#include "instant/calibration/calibrator.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "instant/calibration/budget.h"
#include "instant/cost/break_even.h"
#include "instant/methods/options.h"
#include "nn/linear_map.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::int64_t out_channels(LinearMap& layer) { return layer.weight().value.size(0); }
std::int64_t in_channels(LinearMap& layer) {  // C·kh·kw of a convolution
    return layer.weight().value.numel() / out_channels(layer);
}

template <class Map>
const typename Map::mapped_type* find(const Map& map, const std::string& name) {
    const auto found = map.find(name);
    return found == map.end() ? nullptr : &found->second;
}

std::string left_vanilla(const char* slot, const CalibratedSlot& found) {
    return fmt::format("{} left vanilla: rank {} costs more than it saves above {:.1f}", slot,
                       found.rank, found.break_even);
}

}  // namespace

Calibrator::Calibrator(Module& model, MethodOptions options)
    : model_(model),
      options_(std::move(options)),
      method_(find_method(options_.method)),
      slots_(calibrated_slots(options_)),
      watched_(options_) {
    validate(options_);
    std::set<std::string> names;
    for (LinearMap* layer : linear_maps(model_))
        require(
            layer->path().empty() || names.insert(layer->path()).second,
            "[calibrator] two linear maps are called '{}'. Hint: name_modules() on the finished "
            "model",
            layer->path());
    install();
}

bool Calibrator::needed() const { return slots_.x || slots_.g; }

void Calibrator::calibrate(const std::function<void()>& run_batches) {
    if (!needed()) return;
    const PhaseScope phase("calibrate", true);
    Statistics seen(options_);
    {
        const RuleSwap observing(model_, [&](LinearMap& layer) {
            return std::make_shared<ObservingRule>(seen.of(layer));
        });
        run_batches();
        zero_grad(model_);
    }
    take_up(seen);
    install();
}

void Calibrator::watch(Watch how, ObservedShare share) {
    if (!needed() || (how == watch_ && share == share_)) return;
    watch_ = how;
    share_ = share;
    install();
}

void Calibrator::renew(double keep) {
    if (!needed()) return;
    const PhaseScope phase("calibrate", true);
    take_up(watched_);
    if (keep > 0)
        watched_.fade(keep);
    else
        watched_ = Statistics(options_);
    install();
}

void Calibrator::take_up(const Statistics& seen) {
    seen.require_finite(model_);
    const auto layers = linear_maps(model_);
    std::map<std::string, std::int64_t> group_out;  // output channels that share one x
    for (LinearMap* layer : layers)
        if (keeps_x(*layer)) group_out[layer->input_group()] += out_channels(*layer);
    SlotMap x, g;
    const auto budget = own_or<double>(options_, budget_option(), 0);
    std::vector<Decomposed>
        all;  // of a budget: else no spectrum is kept longer than its slot needs
    const auto decompose_to = [&](Slot& slot, const Statistics::Entry& entry, const Slot* before,
                                  const std::optional<std::int64_t>& rank, LinearMap& layer,
                                  std::int64_t out) {
        Decomposed one = decompose(entry, before, rank, in_channels(layer), out);
        one.slot = &slot;
        if (budget > 0)
            all.push_back(std::move(one));
        else
            slot = truncated(one);
    };
    for (LinearMap* layer : layers) {
        const std::string group = layer->input_group(), path = layer->path();
        const Statistics::Entry* entry = seen.x(group);
        if (entry && entry->layer == path && group_out.contains(group))
            decompose_to(x[group], *entry, find(x_, group), options_.rank_x, *layer,
                         group_out.at(group));
        if ((entry = seen.g(path)))
            decompose_to(g[path], *entry, find(g_, path), options_.rank_g, *layer,
                         out_channels(*layer));
    }
    if (budget > 0) spend(budget, all);
    for (const Decomposed& one : all) *one.slot = truncated(one);
    x_ = std::move(x);
    g_ = std::move(g);
}

/// `before`: the same slot in the calibration before this one, or null.
Calibrator::Decomposed Calibrator::decompose(const Statistics::Entry& seen, const Slot* before,
                                             const std::optional<std::int64_t>& rank,
                                             std::int64_t in_channels,
                                             std::int64_t out_channels) const {
    const LayerScope scope(seen.layer);
    const Gram& gram = *seen.gram;
    Decomposed result{.layer = seen.layer};
    Tensor sum = gram.sum();
    const std::int64_t dim = sum.size(0);
    const bool weighted = seen.rows && seen.rows->observed() && gram.side() == Side::token;
    if (weighted) {
        result.weights = seen.rows->weights();
        sum = weighted_rows(sum, result.weights);
    }
    Truncation& truncation = result.truncation;
    truncation = method_.truncation ? method_.truncation(options_, dim)
                                    : Truncation{options_.epsilon, options_.oversample, rank,
                                                 parse_offset(options_.offset)};
    if (complement() > 0 && !method_.truncation) truncation.offset = Offset::none;
    if (own_or<double>(options_, budget_option(), 0) > 0) truncation.epsilon = 1;  // all of it
    const bool warm = before && before->projector && before->projector->dim() == dim;
    result.spectrum = leading_spectrum(sum, truncation, warm ? before->projector->basis : Tensor());
    result.side = gram.side();
    result.most = dim;
    if (weighted) result.most -= std::ranges::count(result.weights.values(), real(0));
    result.break_even =
        break_even_rank(gram.tokens(), in_channels, out_channels, result.side, options_.batch);
    result.exact_flops = 2.0 * static_cast<double>(gram.tokens()) *
                         static_cast<double>(in_channels) * static_cast<double>(out_channels);
    return result;
}

/// Chooses the ranks of all slots that have none yet.
void Calibrator::spend(double budget, std::vector<Decomposed>& all) const {
    double exact = 0;
    std::vector<SlotChoice> choices;
    for (const Decomposed& one : all) {
        exact += one.exact_flops;
        SlotChoice choice{.flops_of_rank = one.exact_flops / one.break_even, .most = one.most};
        if (one.truncation.rank)
            choice.least = choice.most = std::min(*one.truncation.rank, one.most);
        for (const double value : one.spectrum.values)
            choice.shares.push_back(one.spectrum.sum > 0 ? value / one.spectrum.sum : 0);
        choices.push_back(std::move(choice));
    }
    double random = 0;  // what the directions beside them cost
    for (const SlotChoice& choice : choices)
        random += static_cast<double>(complement()) * choice.flops_of_rank;
    double least = random;
    for (const SlotChoice& choice : choices)
        least += static_cast<double>(choice.least) * choice.flops_of_rank;
    require(least <= budget * exact,
            "[calibrator] a budget of {:.3g} is not enough: fixed ranks, one direction for every "
            "other slot and the random ones beside them cost {:.3g} of the exact products",
            budget, least / exact);
    const std::vector<std::int64_t> ranks = ranks_within(budget * exact - random, choices);
    for (std::size_t i = 0; i < all.size(); ++i) all[i].truncation.rank = ranks[i];
}

Calibrator::Slot Calibrator::truncated(const Decomposed& one) const {
    const LayerScope scope(one.layer);
    CalibratedSlot found;
    Truncation truncation = one.truncation;
    found.side = one.side;
    found.dim = one.spectrum.vectors.size(1);
    truncation.rank = found.rank = std::min(truncated_rank(one.spectrum, truncation), one.most);
    found.energy = kept_share(one.spectrum, found.rank, 2);
    found.signal = kept_share(one.spectrum, found.rank, 1);
    found.break_even = one.break_even;
    // A method that chooses its ranks itself keeps them.
    const std::int64_t rows = std::min(found.rank + complement(), found.dim);
    found.vanilla = !method_.truncation && options_.break_even == "vanilla" &&
                    static_cast<double>(rows) > found.break_even;
    if (found.vanilla) return {found, nullptr};
    return {found, std::make_shared<const Projector>(
                       make_projector(one.spectrum, found.side, truncation, one.weights))};
}

std::int64_t Calibrator::complement() const {
    return own_or<std::int64_t>(options_, complement_option(), 0);
}

void Calibrator::install() {
    const auto projector = [](const Slot* slot) { return slot ? slot->projector : nullptr; };
    for (LinearMap* layer : linear_maps(model_)) {
        const auto p = keeps_x(*layer) ? projector(find(x_, layer->input_group())) : nullptr;
        const auto q = projector(find(g_, layer->path()));
        const bool compress = layer->compressible() && method_.rule;
        auto rule = compress ? method_.rule({*layer, options_, p, q}) : nullptr;
        if (auto sketches = std::dynamic_pointer_cast<const SketchRule>(rule)) {
            auto& before = sketches_[layer->path()];
            if (const auto rank = before ? before->next_rank() : std::nullopt)
                sketches->set_rank(*rank);
            before = std::move(sketches);
        }
        if (!rule || watch_ == Watch::exactly) rule = ExactRule::instance();
        if (watch_ != Watch::nothing)
            if (const LayerStatistics seen = watched_.of(*layer); seen) {
                if (watch_ == Watch::exactly) rule = std::make_shared<ObservingRule>(seen);
                if (watch_ == Watch::share)
                    rule = std::make_shared<WatchedRule>(rule, seen, share_);
            }
        layer->set_rule(std::move(rule));
    }
}

std::vector<LayerRanks> Calibrator::ranks() const {
    const auto layers = linear_maps(model_);
    const auto is_exact = [](LinearMap* layer) { return layer->rule() == ExactRule::instance(); };
    const bool compresses = !std::ranges::all_of(layers, is_exact);
    std::vector<LayerRanks> all;
    for (LinearMap* layer : layers) {
        LayerRanks ranks;
        ranks.name = layer->path();
        if (const Slot* slot = find(x_, layer->input_group()); slot && keeps_x(*layer)) {
            ranks.x = slot->found;
            if (slot->projector) ranks.side_x = slot->found.side, ranks.rank_x = slot->found.rank;
        }
        if (const Slot* slot = find(g_, layer->path())) {
            ranks.g = slot->found;
            if (slot->projector) ranks.side_g = slot->found.side, ranks.rank_g = slot->found.rank;
        }
        if (ranks.x && ranks.x->vanilla) ranks.note = left_vanilla("x", *ranks.x);
        if (ranks.g && ranks.g->vanilla)
            ranks.note += (ranks.note.empty() ? "" : "; ") + left_vanilla("g", *ranks.g);
        if (needed() && !ranks.x && !ranks.g)
            ranks.note = layer->compressible() ? "not calibrated, or no token axis" : "excluded";
        if (!needed() && compresses && is_exact(layer))
            ranks.note = layer->compressible() ? "left exact by the method" : "excluded";
        all.push_back(ranks);
    }
    return all;
}

Calibrator::State Calibrator::state() const {
    State state;
    const auto add = [&](const char* prefix, const SlotMap& slots) {
        for (const auto& [name, slot] : slots)
            state.push_back({prefix + name, slot.found,
                             slot.projector ? slot.projector->basis : Tensor(),
                             slot.projector ? slot.projector->weights : Tensor()});
    };
    add("P.", x_);
    add("Q.", g_);
    return state;
}

void Calibrator::restore(const State& state) {
    SlotMap x, g;
    const auto layers = linear_maps(model_);
    for (const auto& [name, found, basis, weights] : state) {
        const bool is_p = name.starts_with("P.");
        require(is_p || name.starts_with("Q."), "[calibrator] '{}' is not a projector", name);
        const std::string owner = name.substr(2);
        require(std::ranges::any_of(layers,
                                    [&](LinearMap* layer) {
                                        return owner ==
                                               (is_p ? layer->input_group() : layer->path());
                                    }),
                "[calibrator] projector '{}' belongs to no layer of this model", name);
        Slot slot{found, nullptr};
        if (!found.vanilla) {
            require(basis.defined() && basis.shape() == Shape{found.rank, found.dim},
                    "[calibrator] projector '{}' does not have the shape {}", name,
                    to_string({found.rank, found.dim}));
            require(!weights.defined() || weights.shape() == Shape{found.dim},
                    "[calibrator] projector '{}' does not have {} weights", name, found.dim);
            slot.projector = std::make_shared<const Projector>(
                Projector{{found.side, basis.clone()}, found.energy, found.signal}.with(
                    weights.defined() ? weights.clone() : Tensor()));
        }
        (is_p ? x : g)[owner] = slot;
    }
    x_ = std::move(x);
    g_ = std::move(g);
    install();
}

std::map<std::string, std::int64_t> Calibrator::sketch_ranks() const {
    std::map<std::string, std::int64_t> all;
    for (const auto& [layer, rule] : sketches_)
        if (const auto rank = rule->next_rank()) all[layer] = *rank;
    return all;
}

void Calibrator::set_sketch_ranks(const std::map<std::string, std::int64_t>& ranks) {
    for (const auto& [layer, rank] : ranks) {
        const auto* rule = find(sketches_, layer);
        require(rule && (*rule)->next_rank(), "[calibrator] '{}' has no sketch whose rank follows",
                layer);
        (*rule)->set_rank(rank);
    }
}

std::map<std::string, SketchRecord> Calibrator::take_sketch_records() const {
    std::map<std::string, SketchRecord> all;
    for (const auto& [layer, rule] : sketches_)
        if (const SketchRecord record = rule->take_record(); record.calls > 0) all[layer] = record;
    return all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
