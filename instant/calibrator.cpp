#include "instant/calibrator.h"

#include <algorithm>
#include <cmath>

#include "instant/gram.h"
#include "instant/trace.h"
#include "tensor/meter.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {
namespace {

std::shared_ptr<const Projector> decompose(const std::string& layer, const char* what,
                                           const Gram& gram, const Truncation& truncation) {
    const LayerScope scope(layer);
    require(
        std::ranges::all_of(gram.sum().values(), [](real v) { return std::isfinite(v); }),
        "[{}] calibration saw values of {} that are not finite. Hint: a lower learning rate, or "
        "gradient clipping",
        layer, what);
    return std::make_shared<const Projector>(
        make_projector(eigh(gram.sum()), gram.side(), truncation));
}

}  // namespace

Calibrator::Calibrator(Module& model, MethodOptions options)
    : model_(model), options_(std::move(options)), slots_(method_slots(options_.method)) {
    validate(options_);
    install();
}

bool Calibrator::needed() const { return slots_.x || slots_.g; }

void Calibrator::calibrate(const std::function<void()>& run_batches) {
    if (!needed()) return;
    const PhaseScope phase("calibrate", true);
    std::map<std::string, std::shared_ptr<Gram>> x_grams, g_grams;
    {
        const RuleSwap observing(model_, [&](LinearMap& layer) {
            std::shared_ptr<Gram> x, g;
            if (layer.compressible()) {
                // The first trained layer of a group observes the x that all of them share.
                const std::string group = layer.input_group();
                if (slots_.x && layer.weight().requires_grad && !x_grams.contains(group))
                    x = x_grams[group] = std::make_shared<Gram>(options_.side, options_.min_tokens);
                if (slots_.g)
                    g = g_grams[layer.path()] =
                        std::make_shared<Gram>(options_.side, options_.min_tokens);
            }
            return std::make_shared<ObservingRule>(x, g);
        });
        run_batches();
        zero_grad(model_);
    }

    Projectors p, q;
    const auto truncation = [&](const std::optional<std::int64_t>& rank) {
        return Truncation{options_.epsilon, options_.oversample, rank, options_.offset};
    };
    for (const auto& [group, gram] : x_grams)
        if (gram->observed()) p[group] = decompose(group, "x", *gram, truncation(options_.rank_x));
    for (const auto& [layer, gram] : g_grams)
        if (gram->observed())
            q[layer] = decompose(layer, "g_y", *gram, truncation(options_.rank_g));
    p_ = std::move(p);
    q_ = std::move(q);
    install();
}

void Calibrator::install() {
    const auto find = [](const Projectors& projectors, const std::string& name) {
        const auto found = projectors.find(name);
        return found == projectors.end() ? nullptr : found->second;
    };
    for (LinearMap* layer : linear_maps(model_)) {
        const auto p = layer->compressible() && layer->weight().requires_grad
                           ? find(p_, layer->input_group())
                           : nullptr;
        const auto q = find(q_, layer->path());
        layer->set_rule(p || q ? std::make_shared<const LowRankRule>(p, q) : ExactRule::instance());
    }
}

std::vector<LayerRanks> Calibrator::ranks() const {
    std::vector<LayerRanks> all;
    for (LinearMap* layer : linear_maps(model_)) {
        LayerRanks ranks{layer->path(), {}, {}, {}, {}, ""};
        if (const auto* rule = dynamic_cast<const LowRankRule*>(layer->rule().get())) {
            if (rule->p()) {
                ranks.side_x = rule->p()->side;
                ranks.rank_x = rule->p()->rank();
            }
            if (rule->q()) {
                ranks.side_g = rule->q()->side;
                ranks.rank_g = rule->q()->rank();
            }
        } else if (needed()) {
            ranks.note = layer->compressible() ? "not calibrated, or no token axis" : "excluded";
        }
        all.push_back(ranks);
    }
    return all;
}

Calibrator::State Calibrator::state() const {
    State state;
    const auto add = [&](const char* slot, const Projectors& projectors) {
        for (const auto& [name, projector] : projectors)
            state.emplace_back(fmt::format("{}.{}.{}", slot, to_string(projector->side), name),
                               projector->basis);
    };
    add("P", p_);
    add("Q", q_);
    return state;
}

void Calibrator::restore(const State& state) {
    Projectors p, q;
    for (const auto& [name, basis] : state) {
        const bool is_p = name.starts_with("P."), token = name.substr(1).starts_with(".token.");
        require((is_p || name.starts_with("Q.")) && basis.ndim() == 2 &&
                    (token || name.substr(1).starts_with(".channel.")),
                "[calibrator] '{}' of shape {} is not a projector", name, to_string(basis.shape()));
        const std::string owner = name.substr(name.find('.', 2) + 1);
        const auto layers = linear_maps(model_);
        require(std::ranges::any_of(layers,
                                    [&](LinearMap* layer) {
                                        return owner ==
                                               (is_p ? layer->input_group() : layer->path());
                                    }),
                "[calibrator] projector '{}' belongs to no layer of this model", name);
        auto projector = std::make_shared<Projector>();
        projector->side = token ? Side::token : Side::channel;
        projector->basis = basis.clone();
        projector->basis.mark(Category::projectors);
        (is_p ? p : q)[owner] = projector;
    }
    p_ = std::move(p);
    q_ = std::move(q);
    install();
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
