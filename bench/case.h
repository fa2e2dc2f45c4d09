#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "instant/methods/method.h"

namespace slimgrad::bench {

/// What a case times.
enum class Kind {
    linears,     // the linear maps of transformer blocks, without what stands between them
    blocks,      // a training step of encoder blocks: forward, backward, AdamW
    images,      // a training step of a model of images
    calibration  // what a calibration of encoder blocks costs
};

/// The size of transformer blocks; `blocks` of them stand one after the other.
struct Size {
    std::int64_t batch = 32, tokens = 128, width = 768, heads = 12, blocks = 1;
    std::int64_t extra = 0;  // a class token
    std::int64_t hidden() const { return 4 * width; }
};

/// The tokens as an image behind the class token, as near to a square as goes.
TokenLayout layout_of(const Size& size);

/// Ranks of the projectors. Q, K and V as one product may have a rank of their own on the g slot.
struct Ranks {
    std::int64_t x = 16, g = 16;
    std::optional<std::int64_t> g_qkv{};
};

/// A model by its name, at its usual size.
struct ImageModel {
    std::string name;
    std::string train_blocks;
    std::int64_t longest_rank;  // the shorter axis of the linear map that has the longest one
};

/// One thing that can be timed, by name.
struct Case {
    std::string name;
    std::string what;
    Kind kind;
    Size size;
    std::optional<Ranks> ranks{};  // fixed by a published table, whatever the user asks for
    ImageModel model{};            // of `images`
};

/// One way to do it.
struct Variant {
    std::string method = "vanilla";
    Ranks ranks{};
    OptionValues own{};  // options of the method beside its rank
    std::string told{};  // these as they were given, for a label: "keep-x=8"
    bool fused = true;   // `linears`: Q, K and V as one product
    bool plain = false;  // by the dense formulas instead of the rules' own kernels
    std::uint64_t seed = 0;
};

/// The variant that a spec asks for, a method and options of its own: "sketch:keep-x=8". Throws
/// Error for what slimgrad train would not take, for a rank, which a case gives, and for options
/// that are not the method's own.
Variant variant_of(const std::string& spec);

/// Every case, in the order in which they are listed.
const std::vector<Case>& cases();
/// The cases that a word names: one by its name, or all whose names begin with "word/". Throws
/// Error for an unknown word and lists the known ones.
std::vector<Case> find_cases(const std::string& word);

/// The one case of this name. Throws Error for a group.
Case find_case(const std::string& name);

/// The largest rank that some linear map of a case does not cut to its axis.
std::int64_t longest_rank(const Case& which);

/// The linear maps of a `linears` case, in order of execution.
std::vector<LinearShape> linear_shapes(const Case& which, bool fused);

/// What the variant's method is asked to do with one layer: the ranks of its slots, or the one rank
/// of a method that has one.
MethodOptions options_of(const Variant& variant, const LinearShape& layer, std::int64_t batch);

/// FLOPs of vanilla's backward over those of a method (with its compression), over the linear maps
/// of the case: by INSTANT eq. 34 for `instant`. Q, K and V count as three layers even where they
/// run as one product, unless the case's ranks are those of a published table. 1 for vanilla.
double flop_ratio(const Case& which, const Variant& variant);

}  // namespace slimgrad::bench
