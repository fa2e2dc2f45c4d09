#include "instant/methods/lora.h"

#include <algorithm>

#include "instant/methods/options.h"
#include "nn/low_rank_adapter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// `rank`, or 8; no more than the layer's shorter side.
std::int64_t rank_of(const MethodOptions& options, std::int64_t in_channels,
                     std::int64_t out_channels, std::int64_t parts) {
    const OptionValue& given = options.own.given(rank_option());
    const std::int64_t rank =
        std::holds_alternative<std::monostate>(given) ? 8 : std::get<std::int64_t>(given);
    return std::min(rank, largest_adapter_rank(in_channels, out_channels, parts));
}

}  // namespace

const Option& alpha_option() {
    static const Option option{"alpha", Reals{0, 1000, true}, "scale of an adapter, over its rank",
                               1.0};
    return option;
}

void add_lora(Module& model, const MethodOptions& options, std::uint64_t seed) {
    require(!has_adapters(model), "[lora] the model has adapters already");
    std::vector<Linear*> adapted;
    std::vector<Parameter*> heads;
    for (LinearMap* map : linear_maps(model)) {
        auto* layer = dynamic_cast<Linear*>(map);
        if (!layer) continue;
        if (layer->compressible() && layer->weight().requires_grad)
            adapted.push_back(layer);
        else if (!layer->compressible())
            for (Parameter* parameter : parameters(*layer))
                if (parameter->requires_grad) heads.push_back(parameter);
    }
    require(!adapted.empty() || !heads.empty(),
            "[lora] the model has no linear layer that trains: nothing to adapt");
    set_requires_grad(model, false);
    for (Parameter* parameter : heads) parameter->requires_grad = true;
    for (Linear* layer : adapted) {
        const Shape& w = layer->weight().value.shape();
        layer->add_adapter(rank_of(options, w[1], w[0], layer->parts()),
                           options.own.get<double>(alpha_option()), seed);
    }
    name_modules(model);
}

std::vector<LinearShape> lora_shapes(const std::vector<LinearShape>& layers,
                                     const MethodOptions& options) {
    std::vector<LinearShape> all;
    std::string first;  // the input of the lowest layer that trains: nothing asks for its gradient
    for (LinearShape layer : layers) {
        const bool trained = layer.needs_gw, linear = !layer.window;
        if (trained && linear && first.empty()) first = layer.input_group;
        layer.needs_gx = layer.needs_gx && !first.empty() && layer.input_group != first;
        layer.needs_gw = trained && linear && !layer.compressible;
        layer.adapted = trained && linear && layer.compressible;
        all.push_back(layer);
        if (!layer.adapted) continue;

        const std::int64_t rows =
            layer.parts * rank_of(options, layer.in_channels, layer.out_channels, layer.parts);
        LinearShape a = layer, b = layer;
        a.adapted = b.adapted = false;
        a.needs_gw = b.needs_gw = b.needs_gx = true;
        a.parts = b.parts = 1;
        a.attention_output = b.attention_output = false;
        a.name += ".lora_A";
        a.out_channels = rows;
        b.name += ".lora_B";
        b.in_channels = rows;
        b.held_elements = Checked(layer.tokens) * rows;
        b.input_group = b.name;
        b.held_group.clear();
        all.insert(all.end(), {a, b});
    }
    return all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
