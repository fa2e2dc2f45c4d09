#include "instant/methods/table.h"

#include "instant/methods/compact_rule.h"
#include "instant/methods/espace_rule.h"
#include "instant/methods/gact.h"
#include "instant/methods/galore.h"
#include "instant/methods/gradient_filter.h"
#include "instant/methods/lbp_wht.h"
#include "instant/methods/lora.h"
#include "instant/methods/low_rank_rule.h"
#include "instant/methods/options.h"
#include "instant/methods/patch_rule.h"
#include "instant/methods/random_rule.h"
#include "instant/methods/sketch_cost.h"
#include "instant/methods/sketch_rule.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::shared_ptr<const BackwardRule> espace(const RuleRequest& r) {
    if (!r.p) return nullptr;
    return std::make_shared<const EspaceRule>(r.p);
}

/// No slot is compressed. The sides are those whose break-even ranks are shown.
Compression exact_compression(const LinearShape& layer, const MethodOptions& options) {
    Compression none;
    none.side_x = chosen_side(options.side_of_x(), layer.tokens, layer.in_channels);
    none.side_g = chosen_side(options.side_of_g(), layer.tokens, layer.out_channels);
    return none;
}

const std::vector<std::string> ranks{"epsilon", "oversample", "side", "offset", "break_even"};

std::vector<std::string> and_ranks(std::vector<std::string> names) {
    names.insert(names.end(), ranks.begin(), ranks.end());
    return names;
}

const std::vector<Option> of_x{weight_rows_option(), skip_padding_option(), complement_option(),
                               complement_scale_option(), budget_option()};
const std::vector<Option> on_a_basis{rank_option(), ratio_option(), redraw_option(), scale_option(),
                                     moments_option()};

}  // namespace

std::deque<Method>& method_table() {
    static std::deque<Method> all{
        {.name = "vanilla",
         .help = "the exact backward",
         .x_slot = "x",
         .g_slot = "g W",
         .rule = [](const RuleRequest&) { return nullptr; },
         .closed_form = exact_compression},
        {.name = "compress-x",
         .help = "INSTANT's x slot alone",
         .x_slot = "P x",
         .g_slot = "g W",
         .calibrated = {true, false},
         .rule = low_rank_rule,
         .heeds = and_ranks({"rank_x", "side_x"}),
         .options = of_x},
        {.name = "compress-gy",
         .help = "INSTANT's g slot alone",
         .x_slot = "x",
         .g_slot = "Qᵀ((Q g) W)",
         .calibrated = {false, true},
         .rule = low_rank_rule,
         .heeds = and_ranks({"rank_g", "side_g"}),
         .options = {complement_option(), complement_scale_option(), budget_option()}},
        {.name = "instant",
         .help = "both slots in calibrated subspaces (INSTANT)",
         .x_slot = "P x",
         .g_slot = "Qᵀ((Q g) W)",
         .calibrated = {true, true},
         .rule = low_rank_rule,
         .heeds = and_ranks({"rank_x", "rank_g", "side_x", "side_g"}),
         .options = of_x},
        {.name = "random",
         .help = "INSTANT in random subspaces, drawn instead of calibrated",
         .x_slot = "P x",
         .g_slot = "Qᵀ((Q g) W)",
         .rule = [](const RuleRequest& r) { return std::make_shared<const RandomRule>(r.options); },
         .closed_form = random_compression,
         .heeds = {"rank_x", "rank_g", "side_x", "side_g", "side"},
         .options = {rank_option(), ratio_option(), redraw_option()}},
        {.name = "sketch",
         .help = "a fresh sketch of each sample's own g, for both products",
         .x_slot = "x",
         .g_slot = "Fᵀ (A W) of g ≈ Fᵀ A",
         .calibrated_by_options = sketch_slots,
         .truncation = sketch_truncation,
         .rule = sketch_rule,
         .closed_form = sketch_compression,
         .heeds = {"side", "break_even", "epsilon", "oversample", "rank_x", "side_x", "offset"},
         .options = {rank_option(), tolerance_option(), power_option(), complement_option(),
                     keep_x_option(), products_option()}},
        {.name = "espace",
         .help = "forward too in a calibrated subspace of x, while training (ESPACE)",
         .x_slot = "P x",
         .g_slot = "Pᵀ((P g) W)",
         .calibrated = {true, false},
         .truncation = espace_truncation,
         .rule = espace,
         .closed_form = espace_compression,
         .heeds = {"side_x", "side"},
         .options = {rank_option(), ratio_option()}},
        {.name = "lbp-wht",
         .help = "low-order Walsh-Hadamard coefficients of 8x8 patches of tokens",
         .x_slot = "H x",
         .g_slot = "Hᵀ((H g) W) / 64",
         .rule = lbp_wht_rule,
         .cuts_patches = true,
         .closed_form = lbp_wht_compression,
         .options = {order_option(), grid_option()}},
        {.name = "gradient-filter",
         .help = "one value for each patch of tokens",
         .x_slot = "sums of patches of x",
         .g_slot = "(means of patches of g) W, copied to the patches",
         .rule = gradient_filter_rule,
         .cuts_patches = true,
         .closed_form = gradient_filter_compression,
         .options = {patch_option(), grid_option()}},
        {.name = "compact",
         .help = "a random sketch of x's channels; g_w stays a sketch until the update (CompAct)",
         .x_slot = "x Pᵀ",
         .g_slot = "g W",
         .rule = compact_rule,
         .closed_form = compact_compression,
         .options = on_a_basis},
        {.name = "galore",
         .help = "the exact backward; the optimiser works in a subspace of g_w (GaLore)",
         .x_slot = "x",
         .g_slot = "g W",
         .projection = galore_projection,
         .options = on_a_basis},
        {.name = "lora",
         .help = "W frozen, (α/r) B A trained beside it (LoRA)",
         .x_slot = "x of A, x Aᵀ of B",
         .g_slot = "g W + (α/r) (g B) A",
         .adapt = add_lora,
         .adapted_shapes = lora_shapes,
         .options = {rank_option(), alpha_option()}},
        {.name = "gact",
         .help = "all that layers keep in few bits, rounded at random (GACT)",
         .x_slot = "x in few bits",
         .g_slot = "g W",
         .tape = keep_in_few_bits,
         .idle = idle_codec_options,
         .options = {level_option(), bits_option(), scales_option(), group_size_option(),
                     adapt_every_option(), sensitivity_option(), gelu_bits_option(),
                     norm_keeps_option()}},
    };
    return all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
