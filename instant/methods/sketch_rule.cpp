#include "instant/methods/sketch_rule.h"

#include <algorithm>
#include <utility>

#include "instant/codec/quantised.h"
#include "instant/methods/options.h"
#include "instant/methods/sketch_cost.h"
#include "nn/token_projection.h"
#include "tensor/kernels/skinny.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

SketchWork work_of(const LinearCall& call, const SketchRule::Options& options) {
    SketchWork work{.samples = call.op->batch(),
                    .gw = call.needs.gw && options.gw,
                    .gx = call.needs.gx && options.gx};
    work.shape.tokens = call.op->tokens();
    work.shape.out_channels = call.w.size(0);
    work.shape.in_channels = call.w.size(1);
    work.sketch = sketch_options(options, work.shape.tokens, work.shape.out_channels);
    if (options.x_slot) {
        const Projector& p = *options.x_slot->p();
        work.x_slot.rank_x = p.rank();
        work.x_slot.side_x = p.side;
    }
    return work;
}

constexpr std::uint64_t look_again = 50;  // steps

int bits_of(const std::string& keep_x) { return keep_x == "8" ? 8 : keep_x == "4" ? 4 : 0; }

/// Samples of x as matrices (count, L, Cx): of a convolution they are unfolded.
Tensor matrices(const Tensor& held, const LinearCall& call, std::int64_t first,
                std::int64_t count) {
    const Window2d* window = call.op->window();
    if (window) return im2col(held.rows(first, count), *window);
    return held.reshape({call.op->batch(), call.op->tokens(), -1}).rows(first, count);
}

/// Goes through the batch of a convolution in parts: no more is unfolded at once.
template <class F>
void for_each_part(const LinearCall& call, F f) {
    constexpr std::int64_t numbers = 1 << 22;
    const std::int64_t sample = std::max<std::int64_t>(1, call.op->tokens() * call.w.size(1));
    const std::int64_t most = std::max<std::int64_t>(1, numbers / sample);
    for (std::int64_t first = 0; first < call.op->batch(); first += most)
        f(first, std::min(most, call.op->batch() - first));
}

/// f_b x_b, or f_bᵀ x_b, of samples side by side: f: (B, R, L).
Tensor of_each(const Tensor& f, const Tensor& x, Op op) {
    const std::int64_t batch = f.size(0), rank = f.size(1), length = f.size(2),
                       channels = x.size(2);
    const bool down = op == Op::none;  // from L rows to R
    Tensor y({batch, down ? rank : length, channels});
    const bool past_caches = !down && past_the_caches(channels, y.numel(), y.data());
#pragma omp parallel for schedule(static) if (batch > 1 && f.numel() * channels > (1 << 16))
    for (std::int64_t b = 0; b < batch; ++b) {
        const real *of_f = f.data() + b * rank * length,
                   *of_x = x.data() + b * x.size(1) * channels;
        real* out = y.data() + b * y.size(1) * channels;
        if (down)
            project_sample(length, channels, rank, of_x, of_f, out);
        else
            expand_sample(rank, length, channels, of_f, of_x, out, past_caches);
    }
    meter().add(2 * f.numel() * channels);
    return y;
}

/// g_w = Σ_b A_bᵀ (F_b x_b)
Tensor sketched_gw(const Sketch& s, const Tensor& held, const LinearCall& call) {
    const std::int64_t batch = s.left.size(0);
    if (!call.op->window())
        return matmul_sum(s.right, of_each(s.left, matrices(held, call, 0, batch), Op::none));
    Tensor f_x({batch, s.left.size(1), call.w.size(1)});
    for_each_part(call, [&](std::int64_t first, std::int64_t count) {
        Tensor part = f_x.rows(first, count);
        part.copy_from(
            of_each(s.left.rows(first, count), matrices(held, call, first, count), Op::none));
    });
    return matmul_sum(s.right, f_x);  // (Cy,B·R)·(B·R,Cx)
}

/// g_w where x̂ was kept. On the token side what P takes from x, its dual takes from F.
Tensor sketched_gw(const Sketch& s, const SubspaceRule::KeptInput& x, const Subspace& dual,
                   const LinearCall& call) {
    if (x.p->side == Side::channel) {
        const Tensor f_x = of_each(s.left, call.op->y_matrix(x.x_hat), Op::none);
        return matmul(matmul_sum(s.right, f_x), x.p->basis);
    }
    const Tensor f_p = matmul(s.left, dual.basis, Op::none, Op::transpose);  // (B·R,L)·(L,Rx)
    return matmul_sum(s.right, of_each(f_p, x.x_hat, Op::none));
}

/// g_x = F_bᵀ (A_b W)
Tensor sketched_gx(const Sketch& s, const LinearCall& call) {
    const Tensor a_w = matmul(s.right, call.w);  // (B·R,Cy)·(Cy,Cx)
    const Window2d* window = call.op->window();
    if (!window) return of_each(s.left, a_w, Op::transpose);
    Tensor gx(call.op->x_shape());
    for_each_part(call, [&](std::int64_t first, std::int64_t count) {
        Tensor part = gx.rows(first, count);
        const Tensor matrix =
            of_each(s.left.rows(first, count), a_w.rows(first, count), Op::transpose);
        const PhaseScope phase("fold");
        part.copy_from(col2im(matrix, *window));
    });
    return gx;
}

}  // namespace

const Option& tolerance_option() {
    static const Option option{
        "tolerance", Reals{0, 1, true},
        "share of the gradients' energy that sketches may lose; ranks follow"};
    return option;
}

const Option& power_option() {
    static const Option option{"power", Integers{0, 16}, "power steps of a sketch",
                               std::int64_t{1}};
    return option;
}

const Option& keep_x_option() {
    static const Option option{"keep_x", Words{{"exact", "8", "4", "p"}},
                               "x as it is, in so many bits an element, or P x",
                               std::string("exact")};
    return option;
}

const Option& products_option() {
    static const Option option{"products", Words{{"both", "g_w", "g_x"}},
                               "which gradients are made of the sketch; the other is exact",
                               std::string("both")};
    return option;
}

SketchRule::Options sketch_rule_options(const MethodOptions& o) {
    SketchRule::Options result;
    const OptionValue& rank = o.own.given(rank_option());
    if (const auto* given = std::get_if<std::int64_t>(&rank)) result.rank = *given;
    const OptionValue& tolerance = o.own.given(tolerance_option());
    if (const auto* given = std::get_if<double>(&tolerance)) result.tolerance = *given;
    result.power = o.own.get<std::int64_t>(power_option());
    result.complement = o.own.get<std::int64_t>(complement_option());
    result.bits = bits_of(o.own.get<std::string>(keep_x_option()));
    const auto products = o.own.get<std::string>(products_option());
    result.gw = products != "g_x";
    result.gx = products != "g_w";
    result.side = parse_side(o.side);
    result.exact_beyond_break_even = o.break_even == "vanilla";
    result.min_tokens = o.min_tokens;
    return result;
}

void SketchRecord::add(std::int64_t rank, double share) {
    ranks += rank;
    kept += share;
    least_kept = std::min(least_kept, share);
}

SketchRecord& SketchRecord::operator+=(const SketchRecord& other) {
    calls += other.calls;
    exact += other.exact;
    ranks += other.ranks;
    kept += other.kept;
    least_kept = std::min(least_kept, other.least_kept);
    return *this;
}

SketchRule::SketchRule(Options options) : options_(std::move(options)) {
    constexpr std::int64_t most = 1'000'000;  // a call is left exact beyond its own break-even
    if (options_.tolerance)
        controller_ = std::make_unique<RankController>(*options_.tolerance, options_.rank, most);
}

void SketchRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    if (!call.needs.gw) return;
    if (options_.bits == 0) return x_slot().save(x, saved, call);
    static constexpr char owner = 0;  // of all rules: those of one group quantise alike
    const Packer packer(&owner, fmt::format("{} {}", call.input_group, options_.bits));
    saved.keep_once("x", packer, x.held(), [&] {
        const PhaseScope phase("compress");
        return std::make_shared<const Quantised>(x.held(), options_.bits, [&](std::int64_t sample) {
            return Stream(call.seed, "sketch x " + call.input_group, call.step,
                          static_cast<std::uint32_t>(call.first_sample + sample));
        });
    });
}

Tensor SketchRule::omega(const LinearCall& call, std::int64_t rank) const {
    const SketchWork work = work_of(call, options_);
    const std::int64_t other = work.shape.tokens + work.shape.out_channels - work.axis();
    Stream stream(call.seed, "sketch " + call.layer, call.step);
    return normal({rank, other}, 0, 1, stream);
}

Sketch SketchRule::sketch_of(const Tensor& g, const LinearCall& call, std::int64_t rank) const {
    const SketchWork work = work_of(call, options_);
    if (options_.complement == 0) return sketch(g, work.sketch, omega(call, rank));
    const std::int64_t axis = work.axis();
    Stream beside(call.seed, "sketch complement " + call.layer, call.step);
    return sketch(g, work.sketch, omega(call, rank),
                  normal({std::min(options_.complement, axis), axis}, 0, 1, beside));
}

std::int64_t SketchRule::rank(const LinearCall& call) const {
    return std::min(controller_ ? controller_->rank(call.step) : options_.rank,
                    work_of(call, options_).axis());
}

void SketchRule::settle(const Tensor& g, const LinearCall& call) const {
    if (!controller_) return;
    for (std::uint64_t pass = 0; pass < 200; ++pass) {
        const std::int64_t before = controller_->next_rank();
        const std::int64_t rank = std::min(before, work_of(call, options_).axis());
        const Sketch s = sketch_of(g, call, rank);
        controller_->observe(call.step, s.energies, s.total);
        if (rank < before || controller_->next_rank() == before) return;
    }
}

std::optional<Sketch> SketchRule::worthwhile_sketch(const Tensor& g, const LinearCall& call) const {
    const PhaseScope phase(call.needs.gw ? "g_w" : "g_x");  // what both need counts once
    const std::int64_t rank = this->rank(call);
    const std::int64_t most = work_of(call, options_).break_even();
    std::optional<Sketch> result;
    // A layer that asks for more than it may have is looked at again now and then.
    const bool beyond = rank > most && (controller_ || options_.exact_beyond_break_even);
    const bool look = !beyond || (controller_ && most > 0 && call.step % look_again == 0);
    if (look) {
        Sketch s = sketch_of(g, call, beyond ? most : rank);
        const double kept = s.kept();
        if (controller_) controller_->observe(call.step, s.energies, s.total);
        const bool good = !controller_ || kept >= 1 - 2 * *options_.tolerance;
        const std::lock_guard lock(mutex_);
        if (good) record_.add(s.principal, kept);
        if (good) result = std::move(s);
    }
    const std::lock_guard lock(mutex_);
    ++record_.calls;
    record_.exact += int{!result};
    return result;
}

const BackwardRule& SketchRule::x_slot() const {
    if (options_.x_slot) return *options_.x_slot;
    return *ExactRule::instance();
}

LinearGrads SketchRule::backward(const LinearGradient& gy, const Saved& saved,
                                 const LinearCall& call) const {
    const bool gw = call.needs.gw && options_.gw, gx = call.needs.gx && options_.gx;
    const std::optional<Sketch> s =
        gw || gx ? worthwhile_sketch(gy.matrix(), call) : std::optional<Sketch>();
    if (!s) return x_slot().backward(gy, saved, call);
    LinearCall rest = call;
    rest.needs.gw = call.needs.gw && !gw;
    rest.needs.gx = call.needs.gx && !gx;
    LinearGrads grads;
    if (rest.needs.gw || rest.needs.gx) grads = x_slot().backward(gy, saved, rest);
    if (call.needs.gb && s->sums.defined() && !call.op->window())
        grads.gb = sum_samples(s->sums, call.op->tokens());
    if (gw) {
        const PhaseScope phase("g_w");
        const auto& slot = options_.x_slot;
        const auto kept = slot ? slot->kept(saved, call) : SubspaceRule::KeptInput{};
        grads.gw = kept.p ? sketched_gw(*s, kept, slot->of_g(*kept.p), call)
                          : sketched_gw(*s, saved.tensor("x"), call);
    }
    if (gx) {
        const PhaseScope phase("g_x");
        grads.gx = sketched_gx(*s, call);
    }
    return grads;
}

SketchRecord SketchRule::take_record() const {
    const std::lock_guard lock(mutex_);
    return std::exchange(record_, {});
}

std::optional<std::int64_t> SketchRule::next_rank() const {
    return controller_ ? std::optional(controller_->next_rank()) : std::nullopt;
}

void SketchRule::set_rank(std::int64_t rank) const {
    if (controller_) controller_->set_rank(rank);
}

std::shared_ptr<const BackwardRule> sketch_rule(const RuleRequest& request) {
    SketchRule::Options options = sketch_rule_options(request.options);
    if (request.p) options.x_slot = std::make_shared<const LowRankRule>(request.p, nullptr);
    return std::make_shared<const SketchRule>(std::move(options));
}

Slots sketch_slots(const MethodOptions& options) {
    return {options.own.get<std::string>(keep_x_option()) == "p", false};
}

Truncation sketch_truncation(const MethodOptions& options, std::int64_t) {
    return {options.epsilon, options.oversample, options.rank_x, parse_offset(options.offset)};
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
