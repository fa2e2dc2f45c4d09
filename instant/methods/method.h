#pragma once

#include <concepts>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/tape.h"
#include "instant/calibration/truncation.h"
#include "instant/cost/linear_cost.h"
#include "nn/linear_map.h"
#include "optim/projection.h"
#include "tensor/option.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

struct Projector;

/// A backward method and its options, in the words of the command line.
struct MethodOptions {
    std::string method = "vanilla";
    double epsilon = 0.95;        // share of the energy Σ σᵢ² that the rank keeps
    std::int64_t oversample = 5;  // p: directions added to that
    std::optional<std::int64_t> rank_x{}, rank_g{};  // fix the rank of P and of Q instead
    std::string side = "auto", side_x{}, side_g{};   // of both slots, and of one
    std::string offset = "energy";                   // of the projections
    std::string break_even = "report";  // what to do with a rank beyond it (break_even.h)
    std::int64_t min_tokens = 2;        // layers that see fewer stay exact: they have no token axis
    std::int64_t batch = 1;  // samples of a step: what is done once a batch is spread over them
    OptionValues own{};      // options that entries of the table bring

    /// The side of each slot; none is the shorter axis.
    std::optional<Side> side_of_x() const;
    std::optional<Side> side_of_g() const;
};

/// Which slots of a linear map are compressed.
struct Slots {
    bool x = false;
    bool g = false;

    bool any() const { return x || g; }
};

/// What a method makes the rule of a layer from.
struct RuleRequest {
    const LinearMap& layer;
    const MethodOptions& options;
    /// The subspaces that a calibration found, of the method's calibrated slots. Null before the
    /// first one, and for a slot that is left exact.
    std::shared_ptr<const Projector> p{}, q{};
};

/// An entry of the table of methods. It has a rule, or changes the model or the optimiser beside
/// one: names with "+" between them, lora+instant, are one method.
struct Method {
    std::string name;
    std::string help{};    // one line
    std::string x_slot{};  // what is kept of x
    std::string g_slot{};  // how g_x is made
    /// The slots whose subspaces are calibrated; ask calibrated_slots, since options may decide.
    Slots calibrated{};
    std::function<Slots(const MethodOptions&)> calibrated_by_options{};
    /// How many directions of a calibrated slot's spectrum it keeps, of an axis of this length, and
    /// how it scales them. Null: as the options of INSTANT say, `break_even` too.
    std::function<Truncation(const MethodOptions&, std::int64_t dim)> truncation{};
    /// The rule of a layer that the method may compress. Null, or one that is null: the layer stays
    /// exact.
    std::function<std::shared_ptr<const BackwardRule>(const RuleRequest&)> rule{};
    /// Whether it cuts the tokens of a layer, as an image of one size, into patches.
    bool cuts_patches = false;
    /// What it does with a layer that it compresses, for the closed forms of FLOPs and bytes. Null:
    /// it projects its calibrated slots; what a rule without any costs is not known in advance.
    std::function<Compression(const LinearShape&, const MethodOptions&)> closed_form{};
    /// What puts the gradients of a model on bases before the optimiser's step. Null: nothing does.
    std::function<std::unique_ptr<GradientProjection>(Module&, const MethodOptions&)> projection{};
    /// Changes a model whose blocks to train are chosen, before anything else is made for it. Null:
    /// the model stays as it is.
    std::function<void(Module&, const MethodOptions&, std::uint64_t seed)> adapt{};
    /// What that makes of a model's linear maps, for models that are known by their shapes.
    std::function<std::vector<LinearShape>(const std::vector<LinearShape>&, const MethodOptions&)>
        adapted_shapes{};
    /// How all layers keep what they keep: a codec, and what else tapes of training may be told.
    /// Null: as it is.
    std::function<void(TapeOptions&, const MethodOptions&)> tape{};
    /// Its own options that others of them leave without effect. Null: none do.
    std::function<std::vector<Idle>(const MethodOptions&)> idle{};
    /// The fields of MethodOptions that it heeds, by name.
    std::vector<std::string> heeds{};
    /// Its own options, with their initial values. Entries that share a name share all of it.
    std::vector<Option> options{};
};

/// The table, in the order in which help lists it.
const std::deque<Method>& methods();
/// An entry of it, or what several make together ("lora+instant"). Throws Error for an unknown
/// name, and lists the known ones, and for entries that do not go together.
const Method& find_method(const std::string& name);
/// Why a method, so set, needs the same number of tokens in every batch, after its name: "cuts the
/// tokens into patches of one grid". Empty if it takes any.
std::string why_one_length(const MethodOptions& options);
/// The slots that a method calibrates with these options.
Slots calibrated_slots(const MethodOptions& options);
/// Changes a named model as the method wants it to be trained, if it wants that.
void adapt(Module& model, const MethodOptions& options, std::uint64_t seed);
/// Adds a method of one's own, before anything asks for the table: in the first lines of main().
/// Throws Error for a name that is taken, an entry with neither rule, projection, adapt nor tape,
/// or an option that stands elsewhere with another meaning.
void register_method(Method method);

/// For Optimizer::set_projection: what a method's entry makes, or null.
std::unique_ptr<GradientProjection> make_projection(Module& model, const MethodOptions& options);

/// For tapes of training: what a method's entry sets, all else as usual.
TapeOptions tape_options(const MethodOptions& options);

std::vector<std::string> method_names();
/// The four backward modes of INSTANT, which are compared where nothing else is asked for.
std::vector<std::string> instant_modes();
/// How `method` is given: by name, also several with "+".
Option name_option();

/// Calls f(option, member) for every option of every method, in the order in which help lists them.
/// A member is a field of MethodOptions or an OptionValue, which is none where nothing was given.
template <class Options, class F>
requires std::same_as<std::remove_const_t<Options>, MethodOptions>
void for_each_method_option(Options& o, F f);

/// All of them, and one of them. Throws Error for a name that is none.
std::vector<Option> method_options();
Option method_option(std::string_view name);

/// Throws Error for an unknown method or an option out of its range.
void validate(const MethodOptions& options);
/// Gives a method this rank, in both slots if it has two. False of a method without ranks.
bool set_rank(MethodOptions& options, std::int64_t rank);
/// Options that do nothing with this method, and why.
std::vector<Idle> idle_method_options(const MethodOptions& options);

// Words of the command line and of JSON. The parsers throw Error and list the known words.
std::string to_string(Side side);
std::string to_string(const std::optional<Side>& side);  // "auto" if there is none
std::string to_string(Offset offset);
std::optional<Side> parse_side(const std::string& word);  // "auto" gives no side
Offset parse_offset(const std::string& word);

/// The options that entries of the table bring, each once.
std::vector<Option> own_method_options();

/// What of a struct that is more than these is a method's.
inline MethodOptions& method_part(MethodOptions& options) { return options; }
inline const MethodOptions& method_part(const MethodOptions& options) { return options; }

inline Option batch_option() { return {"batch", Integers{1, 1'000'000}, "samples of a step"}; }

template <class Options, class F>
requires std::same_as<std::remove_const_t<Options>, MethodOptions>
void for_each_method_option(Options& o, F f) {
    constexpr std::int64_t most = 1'000'000;  // no axis is longer
    const Words side{{"token", "channel", "auto"}}, side_of_slot{side.known, true};
    f(Option{"epsilon", Reals{0, 1, true}, "share of the energy that the ranks keep"}, o.epsilon);
    f(Option{"oversample", Integers{0, most}, "directions added to the rank that epsilon asks for"},
      o.oversample);
    f(Option{"rank_x", Integers{1, most}, "fix the rank of the x slot instead"}, o.rank_x);
    f(Option{"rank_g", Integers{1, most}, "fix the rank of the g slot instead"}, o.rank_g);
    f(Option{"side", side, "axis to compress (auto: the shorter one)"}, o.side);
    f(Option{"side_x", side_of_slot, "that of the x slot, if it is another"}, o.side_x);
    f(Option{"side_g", side_of_slot, "that of the g slot, if it is another"}, o.side_g);
    f(Option{"offset", Words{{"none", "energy", "signal"}}, "scale of the projection"}, o.offset);
    f(Option{"break_even", Words{{"report", "vanilla"}},
             "slots whose rank costs more FLOPs than it saves (vanilla: leave them exact)"},
      o.break_even);
    for (const Option& option : own_method_options()) f(option, o.own.given(option));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
