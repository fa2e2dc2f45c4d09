#include "instant/lab/lab.h"

#include "instant/calibration/calibrator.h"
#include "instant/methods/sketch_rule.h"
#include "instant/methods/subspace_rule.h"
#include "nn/linear.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr const char* where = "lab.linear";

/// A model of one linear layer, with the weights that it is given.
class Bench final : public Module {
  public:
    Bench(const Tensor& w, const Tensor& bias)
        : layer_(w.size(1), w.size(0), stream_, bias.defined()) {
        layer_.weight().value = w.clone().mark(Category::parameters);
        if (bias.defined()) layer_.bias()->value = bias.clone().mark(Category::parameters);
        name_modules(*this);
    }
    Var forward(const Var& x) override { return layer_.forward(x); }
    void visit(Visitor& visitor) override { visitor.module(where, layer_); }
    std::string kind() const override { return "bench"; }
    Linear& layer() { return layer_; }

  private:
    Stream stream_{0, "lab"};
    Linear layer_;
};

/// What the meter has counted for the layer so far; two of them give what ran in between.
LabFlops counted() {
    const auto phase = [](const char* name) { return meter().count(where, name); };
    return {phase("forward"), phase("compress"), phase("g_w"), phase("g_x"),
            meter().phase("calibrate")};
}

LabFlops operator-(const LabFlops& a, const LabFlops& b) {
    return {a.forward - b.forward, a.compress - b.compress, a.g_w - b.g_w, a.g_x - b.g_x,
            a.calibrate - b.calibrate};
}

void check_finite(const Tensor& tensor, const std::string& name) {
    require(all_finite(tensor), "[{}] {} has values that are not finite", where, name);
}

/// x: (B, L, Cx) and gy: (B, L, Cy) of one batch, for W: (Cy, Cx).
void check_batch(const Tensor& x, const Tensor& gy, const Tensor& w, const std::string& x_name,
                 const std::string& gy_name) {
    require(x.defined() && x.ndim() == 3 && x.size(2) == w.size(1) && x.numel() > 0,
            "[{}] expected {} of shape (B, L, {}), got {}. Hint: w is (Cy, Cx)", where, x_name,
            w.size(1), shown(x));
    const Shape expected{x.size(0), x.size(1), w.size(0)};
    require(gy.defined() && gy.shape() == expected, "[{}] expected {} of shape {}, got {}", where,
            gy_name, shown(expected), shown(gy));
    check_finite(x, x_name);
    check_finite(gy, gy_name);
}

void check(const Tensor& x, const Tensor& w, const Tensor& gy, const LabOptions& options) {
    require(w.defined() && w.ndim() == 2 && w.numel() > 0,
            "[{}] expected w of shape (Cy, Cx), got {}", where, shown(w));
    check_finite(w, "w");
    check_batch(x, gy, w, "x", "gy");
    if (options.bias.defined()) {
        const Shape expected{w.size(0)};
        require(options.bias.shape() == expected, "[{}] expected bias of shape {}, got {}", where,
                shown(expected), shown(options.bias.shape()));
        check_finite(options.bias, "bias");
    }
    if (!options.calibration) return;
    require(!options.calibration->empty(),
            "[{}] the calibration has no pairs. Hint: leave it out to calibrate on (x, gy) itself",
            where);
    for (std::size_t i = 0; i < options.calibration->size(); ++i) {
        const auto& [x0, gy0] = (*options.calibration)[i];
        check_batch(x0, gy0, w, fmt::format("calibration[{}] x", i),
                    fmt::format("calibration[{}] gy", i));
    }
}

/// The call of the layer that the bench will make.
LinearCall call_of(const LinearMap& layer, const Tensor& x, std::uint64_t seed) {
    return {.op = std::make_shared<TokenOperator>(x.shape()),
            .w = layer.weight().value,
            .needs = {true, true, true},
            .layer = layer.path(),
            .input_group = layer.input_group(),
            .seed = seed};
}

/// Reports the subspaces of a rule that has any, as it uses them in this call.
void report_subspaces(const LinearMap& layer, const LinearCall& call, LabResult& result) {
    const auto* rule = dynamic_cast<const SubspaceRule*>(layer.rule().get());
    if (rule == nullptr) return;
    const auto report = [&](const std::shared_ptr<const Subspace>& subspace, Tensor& basis,
                            auto& side, auto& rank) {
        if (!subspace) return;
        basis = subspace->basis.clone();
        side = subspace->side;
        rank = subspace->rank();
    };
    report(rule->p(call), result.p, result.side_x, result.rank_x);
    report(rule->q(call), result.q, result.side_g, result.rank_g);
}

/// Reports the sketch that a rule makes of g_y, as it makes it in this call.
void report_sketch(const LinearMap& layer, const LinearCall& call, const Tensor& gy,
                   LabResult& result) {
    const auto* rule = dynamic_cast<const SketchRule*>(layer.rule().get());
    if (rule == nullptr) return;
    rule->settle(gy, call);
    const Sketch s = rule->sketch_of(gy, call, rule->rank(call));
    result.u = transpose(slice(s.left, 1, 0, s.principal), {0, 2, 1});
    result.side_g = s.side;
    result.rank_g = s.principal;
    result.kept = s.kept();
}

}  // namespace

LabResult lab_linear(const Tensor& x, const Tensor& w, const Tensor& gy, LabOptions options) {
    check(x, w, gy, options);
    require(!find_method(options.method.method).adapt,
            "[{}] '{}' trains other maps in the place of W: there is no g_w to show", where,
            options.method.method);
    options.method.min_tokens = 1;
    TokenLayout& grid = options.layout;
    if (grid.rows > 0) grid.extra = x.size(1) - Checked(grid.rows) * grid.columns;
    require(grid.extra >= 0, "[{}] expected a grid of at most {} tokens, got {}x{}", where,
            x.size(1), grid.rows, grid.columns);
    options.method.break_even = "report";

    TapeOptions tape_of = tape_options(options.method);
    tape_of.seed = options.seed;
    Bench bench(w, options.bias);
    const LabFlops before = counted();
    Calibrator calibrator(bench, options.method);
    calibrator.calibrate([&] {
        const auto pairs = options.calibration.value_or(std::vector{CalibrationPair{x, gy}});
        for (const auto& [x0, gy0] : pairs) {
            Tape tape(tape_of);
            const TokenScope tokens(tape, options.layout);
            tape.backward(bench.forward(tape.input(x0)), gy0);
        }
    });

    LabResult result;
    const LinearCall call = call_of(bench.layer(), x, options.seed);
    report_subspaces(bench.layer(), call, result);
    for (const auto& [name, found, basis, weights] : calibrator.state())
        result.projector_bytes +=
            weights.defined() ? 2 * basis.bytes() + weights.bytes() : basis.bytes();
    report_sketch(bench.layer(), call, gy, result);
    {
        const std::int64_t held_before = ledger()[Category::saved].live;
        Tape tape(tape_of);
        const TokenScope tokens(tape, options.layout);
        // A copy of x: the ledger would not count again what another tape already keeps.
        const Var input = tape.input(x.clone());
        const Var y = bench.forward(input);
        result.saved_bytes = ledger()[Category::saved].live - held_before;
        result.y = y.value();
        tape.backward(y, gy);
        result.gx = tape.gradient(input);
    }
    result.gw = bench.layer().weight().grad.dense();
    if (options.bias.defined()) result.gb = bench.layer().bias()->grad.dense();
    result.flops = counted() - before;
    return result;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
