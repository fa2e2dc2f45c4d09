#include "tensor/kernels/convolution_kernels.h"
#include "tensor/kernels/signals.h"

#ifdef SLIMGRAD_ONEDNN
#include <omp.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

// oneDNN writes a kernel for each shape when it first meets it, and a kernel wants images and
// weights in an order of its own, with channels inside pixels. Tensors stay in plain order here: a
// few samples at a time are reordered into buffers that fit the cache beside the processor, go
// through the kernel there, and are brought back. Each thread does that with its own samples, so
// that no kernel waits for another thread.

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

using dnnl::memory;

const dnnl::engine& engine() {
    static const auto& cpu = *new dnnl::engine(dnnl::engine::kind::cpu, 0);  // outlives all users
    return cpu;
}

const dnnl::stream& stream() {
    static thread_local const dnnl::stream mine(engine());
    return mine;
}

/// Memory that oneDNN reads or writes; its interface does not tell one from the other.
memory memory_at(const memory::desc& desc, const real* data) {
    return {desc, engine(), const_cast<real*>(data)};
}

Tensor buffer(const memory::desc& desc) {
    return Tensor({static_cast<std::int64_t>((desc.get_size() + sizeof(real) - 1) / sizeof(real))});
}

/// x, w or y of a product, in plain order and as the kernel wants it.
struct Operand {
    Operand(int argument, bool written, const memory::desc& plain, const memory::desc& packed)
        : argument(argument), written(written), plain(plain), packed(packed) {
        if (plain == packed) return;
        const memory::desc &from = written ? packed : plain, &to = written ? plain : packed;
        reorder = dnnl::reorder({engine(), from, engine(), to});
    }

    Tensor make_buffer() const { return reorder ? buffer(packed) : Tensor({0}); }
    /// Where the kernel finds or leaves the operand: `data` itself or the buffer.
    memory enter(const real* data, const Tensor& buffer) const {
        if (!reorder) return memory_at(plain, data);
        memory inside = memory_at(packed, buffer.data()), outside = memory_at(plain, data);
        if (!written) reorder.execute(stream(), outside, inside);
        return inside;
    }
    /// Brings what the kernel has written back to `data`.
    void leave(memory& inside, real* data) const {
        if (!reorder || !written) return;
        memory outside = memory_at(plain, data);
        reorder.execute(stream(), inside, outside);
    }

    int argument;
    bool written;
    memory::desc plain, packed;
    dnnl::reorder reorder;  // empty if both orders are the same
};

enum class Product { forward, gw, gx };

/// A product of `samples` samples as one kernel.
struct Plan {
    dnnl::primitive kernel;
    Operand x, w, y;
    memory::desc scratchpad;
    std::int64_t samples;
};

/// The buffers of one thread.
struct Workspace {
    explicit Workspace(const Plan& plan)
        : x(plan.x.make_buffer()), y(plan.y.make_buffer()), scratchpad(buffer(plan.scratchpad)) {}
    Tensor x, y, scratchpad;
};

Plan make_plan(Product product, const ConvolutionSizes& s, std::int64_t samples) {
    const WindowAxis &rows = s.window.rows, &columns = s.window.columns;
    const memory::dims x{samples, s.channels_in, rows.length, columns.length},
        y{samples, s.channels_out, rows.positions(), columns.positions()},
        stride{rows.stride, columns.stride}, padding{rows.padding, columns.padding},
        dilation{rows.dilation - 1, columns.dilation - 1};
    memory::dims w{s.channels_out / s.groups, s.channels_in / s.groups, rows.kernel,
                   columns.kernel};
    if (s.groups > 1) w.insert(w.begin(), s.groups);
    using Tag = memory::format_tag;
    const auto desc = [](const memory::dims& dims, Tag tag) {
        return memory::desc(dims, memory::data_type::f32, tag);
    };
    const memory::desc px = desc(x, Tag::nchw), pw = desc(w, s.groups > 1 ? Tag::goihw : Tag::oihw),
                       py = desc(y, Tag::nchw);
    const memory::desc ax = desc(x, Tag::any), aw = desc(w, Tag::any), ay = desc(y, Tag::any);
    const auto direct = dnnl::algorithm::convolution_direct;
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);

    const dnnl::convolution_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, direct, ax, aw, ay, stride, dilation, padding, padding},
        attributes, engine());
    if (product == Product::forward)
        return {dnnl::convolution_forward(forward),
                {DNNL_ARG_SRC, false, px, forward.src_desc()},
                {DNNL_ARG_WEIGHTS, false, pw, forward.weights_desc()},
                {DNNL_ARG_DST, true, py, forward.dst_desc()},
                forward.scratchpad_desc(),
                samples};
    if (product == Product::gx) {
        const dnnl::convolution_backward_data::primitive_desc gx(
            {direct, ax, aw, ay, stride, dilation, padding, padding}, attributes, engine(),
            forward);
        return {dnnl::convolution_backward_data(gx),
                {DNNL_ARG_DIFF_SRC, true, px, gx.diff_src_desc()},
                {DNNL_ARG_WEIGHTS, false, pw, gx.weights_desc()},
                {DNNL_ARG_DIFF_DST, false, py, gx.diff_dst_desc()},
                gx.scratchpad_desc(),
                samples};
    }
    const dnnl::convolution_backward_weights::primitive_desc gw(
        {direct, ax, aw, ay, stride, dilation, padding, padding}, attributes, engine(), forward);
    return {dnnl::convolution_backward_weights(gw),
            {DNNL_ARG_SRC, false, px, gw.src_desc()},
            {DNNL_ARG_DIFF_WEIGHTS, true, pw, gw.diff_weights_desc()},
            {DNNL_ARG_DIFF_DST, false, py, gw.diff_dst_desc()},
            gw.scratchpad_desc(),
            samples};
}

/// A plan for kernels on `threads` threads, made once for each shape and then remembered.
std::shared_ptr<const Plan> plan_for(Product product, const ConvolutionSizes& s,
                                     std::int64_t samples, int threads) {
    const WindowAxis &r = s.window.rows, &c = s.window.columns;
    using Key = std::array<std::int64_t, 16>;
    const Key key{static_cast<std::int64_t>(product),
                  samples,
                  threads,
                  s.channels_in,
                  s.channels_out,
                  s.groups,
                  r.length,
                  r.kernel,
                  r.stride,
                  r.padding,
                  r.dilation,
                  c.length,
                  c.kernel,
                  c.stride,
                  c.padding,
                  c.dilation};
    constexpr std::size_t most = 512;  // then all are forgotten, and made again when needed
    static auto& plans = *new std::map<Key, std::shared_ptr<const Plan>>;
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    if (const auto known = plans.find(key); known != plans.end()) return known->second;
    if (plans.size() >= most) plans.clear();
    // A kernel is written for as many threads as OpenMP would use at this moment.
    struct Threads {
        explicit Threads(int n) { omp_set_num_threads(n); }
        ~Threads() { omp_set_num_threads(before); }
        int before = omp_get_max_threads();
    } const guard(threads);
    try {
        return plans[key] = std::make_shared<const Plan>(make_plan(product, s, samples));
    } catch (const dnnl::error& error) {
        plans.erase(key);
        fail("[convolution] oneDNN makes no kernel for this shape: {}", error.what());
    }
}

/// Consecutive samples, in `chunks` chunks of the plan's size.
struct Part {
    std::shared_ptr<const Plan> plan;
    std::int64_t first, chunks;
};

/// The batch as equally many chunks for each thread, and a rest for all of them together.
std::vector<Part> split(Product product, const ConvolutionSizes& s) {
    const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    // A chunk should fit the cache, and yet be large beside the weights, which each chunk reads.
    constexpr std::int64_t cache = 1 << 18;
    const std::int64_t fit = std::max(cache, 4 * s.weights()) / (s.x_sample() + s.y_sample());
    const std::int64_t share = s.batch / threads;
    const std::int64_t chunks =
        share / std::clamp<std::int64_t>(fit, 1, std::max<std::int64_t>(share, 1));
    std::vector<Part> parts;
    std::int64_t done = 0;
    if (chunks > 0) {
        const std::int64_t samples = share / chunks;
        parts.push_back({plan_for(product, s, samples, 1), 0, chunks * threads});
        done = samples * chunks * threads;
    }
    if (done < s.batch) parts.push_back({plan_for(product, s, s.batch - done, threads), done, 1});
    return parts;
}

/// One chunk. `w` is in the kernel's order; of the others, one is written.
void run(const Plan& plan, const Workspace& space, real* x, memory w, real* y) {
    memory inside_x = plan.x.enter(x, space.x), inside_y = plan.y.enter(y, space.y);
    plan.kernel.execute(
        stream(), {{plan.x.argument, inside_x},
                   {plan.w.argument, w},
                   {plan.y.argument, inside_y},
                   {DNNL_ARG_SCRATCHPAD, memory_at(plan.scratchpad, space.scratchpad.data())}});
    plan.x.leave(inside_x, x);
    plan.y.leave(inside_y, y);
}

// For forward and g_x every chunk writes samples of its own.
void over_samples(Product product, const ConvolutionSizes& s, real* x, const real* w, real* y) {
    const SignalsHeld held;
    for (const Part& part : split(product, s)) {
        const Plan& plan = *part.plan;
        const Tensor packed = plan.w.make_buffer();
        const memory inside_w = plan.w.enter(w, packed);
#pragma omp parallel if (part.chunks > 1)
        {
            const Workspace space(plan);
#pragma omp for schedule(static)
            for (std::int64_t chunk = 0; chunk < part.chunks; ++chunk) {
                const std::int64_t b = part.first + chunk * plan.samples;
                run(plan, space, x + b * s.x_sample(), inside_w, y + b * s.y_sample());
            }
        }
    }
}

void forward(const ConvolutionSizes& s, const real* x, const real* w, real* y) {
    over_samples(Product::forward, s, const_cast<real*>(x), w, y);
}

void gx(const ConvolutionSizes& s, const real* gy, const real* w, real* gx) {
    over_samples(Product::gx, s, gx, w, const_cast<real*>(gy));
}

/// sum += g, or sum = g for the first.
void accumulate(Tensor& sum, Tensor& g) {
    if (!sum.defined()) return std::swap(sum, g);
    real* to = sum.data();
    const real* from = g.data();
#pragma omp simd
    for (std::int64_t i = 0; i < sum.numel(); ++i) to[i] += from[i];
}

// For g_w each thread sums over its own chunks; the sums are added in the order of threads.
void gw(const ConvolutionSizes& s, const real* gy, const real* x, real* gw) {
    const SignalsHeld held;
    std::fill_n(gw, s.weights(), real(0));
    for (const Part& part : split(Product::gw, s)) {
        const Plan& plan = *part.plan;
        std::vector<Tensor> partial(static_cast<std::size_t>(omp_get_max_threads()));
#pragma omp parallel if (part.chunks > 1)
        {
            const Workspace space(plan);
            Tensor& sum = partial[static_cast<std::size_t>(omp_get_thread_num())];
            Tensor g;
#pragma omp for schedule(static)
            for (std::int64_t chunk = 0; chunk < part.chunks; ++chunk) {
                const std::int64_t b = part.first + chunk * plan.samples;
                if (!g.defined()) g = buffer(plan.w.packed);
                run(plan, space, const_cast<real*>(x) + b * s.x_sample(),
                    memory_at(plan.w.packed, g.data()), const_cast<real*>(gy) + b * s.y_sample());
                accumulate(sum, g);
            }
        }
        for (std::size_t thread = 1; thread < partial.size(); ++thread)
            if (partial[thread].defined()) accumulate(partial.front(), partial[thread]);
        Tensor total = partial.front();
        memory inside = memory_at(plan.w.packed, total.data());
        if (plan.w.reorder) total = Tensor({s.weights()});
        plan.w.leave(inside, total.data());
        for (std::int64_t i = 0; i < s.weights(); ++i) gw[i] += total.data()[i];
    }
}

}  // namespace

const ConvolutionKernels* onednn_convolution() {
    static constexpr ConvolutionKernels kernels{"oneDNN", forward, gw, gx};
    return &kernels;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad

#else

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
const ConvolutionKernels* onednn_convolution() { return nullptr; }
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
#endif
