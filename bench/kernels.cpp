// Micro-benchmarks of the kernels behind the layers (Google Benchmark). Inputs are made once and
// stay in the caches that they fit into; what a layer costs with cold values is `slimgrad bench`.
#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "instant/calibration/projector.h"
#include "instant/codec/quantised.h"
#include "nn/batch_norm.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/softmax.h"
#include "optim/optimizer.h"
#include "tensor/blas.h"
#include "tensor/kernels/convolution.h"
#include "tensor/kernels/skinny.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"

namespace slimgrad {
namespace {

using benchmark::State;

Tensor random(Shape shape) {
    Stream stream(0, "kernels");
    return normal(std::move(shape), 0, 1, stream);
}

/// FLOPs and bytes a second beside the time.
void rates(State& state, double flops, double bytes) {
    using benchmark::Counter;
    if (flops > 0) state.counters["FLOP"] = Counter(flops, Counter::kIsIterationInvariantRate);
    state.counters["bytes"] = Counter(bytes, Counter::kIsIterationInvariantRate);
}

// --- skinny products: batch, tokens, channels, rank of each projection ---------------------------

struct Tokens {
    explicit Tokens(const State& state)
        : batch(state.range(0)),
          length(state.range(1)),
          channels(state.range(2)),
          rank(state.range(3)),
          x(random({batch, length, channels})),
          basis(random({2 * rank, length})) {}
    std::int64_t batch, length, channels, rank;
    Tensor x, basis;
    double flops(int projections) const {
        return 2.0 * static_cast<double>(projections * rank * x.numel());
    }
};

/// P g and Q g in one pass over g.
void project_both(State& state) {
    Tokens t(state);
    Tensor p({t.batch, t.rank, t.channels}), q(p.shape());
    const Projection both[] = {{t.basis.data(), t.rank, p.data()},
                               {t.basis.data() + t.rank * t.length, t.rank, q.data()}};
    for (auto _ : state) project_tokens(t.batch, t.length, t.channels, t.x.data(), both);
    rates(state, t.flops(2), static_cast<double>(t.x.bytes()));
}

/// The same two products, each a general one.
void project_both_by_gemm(State& state) {
    Tokens t(state);
    const Tensor p = t.basis.rows(0, t.rank), q = t.basis.rows(t.rank, t.rank);
    for (auto _ : state) {
        benchmark::DoNotOptimize(matmul(p, t.x));
        benchmark::DoNotOptimize(matmul(q, t.x));
    }
    rates(state, t.flops(2), static_cast<double>(t.x.bytes()));
}

/// Qᵀ ĝ, the way back.
void expand(State& state) {
    Tokens t(state);
    const Tensor g = random({t.batch, t.rank, t.channels});
    for (auto _ : state)
        expand_tokens(t.batch, t.rank, t.length, t.channels, t.basis.data(), g.data(), t.x.data());
    rates(state, t.flops(1), static_cast<double>(t.x.bytes()));
}

void expand_by_gemm(State& state) {
    Tokens t(state);
    const Tensor g = random({t.batch, t.rank, t.channels}), q = t.basis.rows(0, t.rank);
    for (auto _ : state) benchmark::DoNotOptimize(matmul(q, g, Op::transpose));
    rates(state, t.flops(1), static_cast<double>(t.x.bytes()));
}

void token_shapes(benchmark::internal::Benchmark* b) {
    b->ArgNames({"B", "L", "C", "R"});
    for (const std::int64_t rank : {8, 16, 32})
        for (const auto& [batch, length, channels] : std::vector<std::array<std::int64_t, 3>>{
                 {8, 512, 768}, {8, 512, 3072}, {32, 128, 384}, {128, 64, 192}})
            b->Args({batch, length, channels, rank});
}
BENCHMARK(project_both)->Apply(token_shapes)->UseRealTime();
BENCHMARK(project_both_by_gemm)->Apply(token_shapes)->UseRealTime();
BENCHMARK(expand)->Apply(token_shapes)->UseRealTime();
BENCHMARK(expand_by_gemm)->Apply(token_shapes)->UseRealTime();

/// x̂ = P x and y = x Wᵀ, W: (C, C). The whole of x̂ first, or sample by sample, while x_b is in the
/// cache.
void project_then_multiply(State& state) {
    const Tokens t(state);
    const std::int64_t c = t.channels, step = t.length * c;
    const bool by_sample = state.range(4);
    const Tensor w = random({c, c});
    Tensor x_hat({t.batch, t.rank, c}), y(t.x.shape());
    const auto samples = [&](std::int64_t begin, std::int64_t count) {
        const Projection p[] = {{t.basis.data(), t.rank, x_hat.data() + begin * t.rank * c}};
        project_tokens(count, t.length, c, t.x.data() + begin * step, p);
        gemm(count * t.length, c, c, {t.x.data() + begin * step, c}, {w.data(), c, Op::transpose},
             y.data() + begin * step, c);
    };
    for (auto _ : state) {
        if (!by_sample) samples(0, t.batch);
        for (std::int64_t b = 0; by_sample && b < t.batch; ++b) samples(b, 1);
    }
    rates(state, 0, static_cast<double>(t.x.bytes()));
}
BENCHMARK(project_then_multiply)
    ->ArgNames({"B", "L", "C", "R", "by_sample"})
    ->ArgsProduct({{8}, {512}, {768}, {16}, {0, 1}})
    ->ArgsProduct({{32}, {128}, {384, 768}, {16}, {0, 1}})
    ->ArgsProduct({{128}, {64}, {192}, {16}, {0, 1}})
    ->UseRealTime();

// --- products of a linear layer: y = x Wᵀ, g_x = g W, g_w = gᵀ x
// ----------------------------------

enum class Which { y, gx, gw };
void linear_product(State& state, Which which) {
    const std::int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
    const Tensor x = random({1, rows, in}), w = random({out, in}), g = random({1, rows, out});
    for (auto _ : state) {
        Tensor result = which == Which::y    ? matmul(x, w, Op::none, Op::transpose)
                        : which == Which::gx ? matmul(g, w)
                                             : matmul_sum(g, x);
        benchmark::DoNotOptimize(result);
    }
    rates(state, 2.0 * static_cast<double>(rows * in * out),
          static_cast<double>(x.bytes() + w.bytes() + g.bytes()));
}
void linear_shapes(benchmark::internal::Benchmark* b) {
    b->ArgNames({"BL", "Cx", "Cy"});
    for (const auto& [rows, width] : std::vector<std::array<std::int64_t, 2>>{
             {4096, 768}, {3200, 768}, {4096, 384}, {8192, 192}}) {
        b->Args({rows, width, 3 * width});
        b->Args({rows, width, width});
        b->Args({rows, width, 4 * width});
        b->Args({rows, 4 * width, width});
    }
}
BENCHMARK_CAPTURE(linear_product, y, Which::y)->Apply(linear_shapes)->UseRealTime();
BENCHMARK_CAPTURE(linear_product, gx, Which::gx)->Apply(linear_shapes)->UseRealTime();
BENCHMARK_CAPTURE(linear_product, gw, Which::gw)->Apply(linear_shapes)->UseRealTime();

// --- layers: forward, and forward with backward
// ---------------------------------------------------

/// Bytes count what forward (x, y) and backward (x, gy, gx) must at least touch.
template <class Layer>
void layer(State& state, Layer& module, const Tensor& x, bool backward) {
    const Tensor gy = random(x.shape());
    for (auto _ : state) {
        Tape tape({.recording = backward});
        const Var in = backward ? tape.input(x) : tape.constant(x);
        const Var y = module.forward(in);
        if (backward) tape.backward(y, gy);
        benchmark::DoNotOptimize(y.value().data());
    }
    rates(state, 0, static_cast<double>((backward ? 5 : 2) * x.bytes()));
}

void gelu(State& state) {
    GELU module;
    layer(state, module, random({state.range(0), state.range(1)}), state.range(2) != 0);
}
void layer_norm(State& state) {
    LayerNorm module(state.range(1));
    layer(state, module, random({state.range(0), state.range(1)}), state.range(2) != 0);
}
void softmax_rows(State& state) {
    Softmax module;
    layer(state, module, random({state.range(0), state.range(1)}), state.range(2) != 0);
}
void batch_norm(State& state) {
    BatchNorm2d module(state.range(1));
    layer(state, module, random({state.range(0), state.range(1), 32, 32}), state.range(2) != 0);
}
BENCHMARK(gelu)
    ->ArgNames({"rows", "columns", "backward"})
    ->ArgsProduct({{4096}, {1536, 3072}, {0, 1}})
    ->UseRealTime();
BENCHMARK(layer_norm)
    ->ArgNames({"rows", "columns", "backward"})
    ->ArgsProduct({{4096}, {192, 384, 768}, {0, 1}})
    ->UseRealTime();
BENCHMARK(softmax_rows)
    ->ArgNames({"rows", "columns", "backward"})
    ->ArgsProduct({{49152}, {64, 128, 512}, {0, 1}})
    ->UseRealTime();
BENCHMARK(batch_norm)
    ->ArgNames({"B", "C", "backward"})
    ->ArgsProduct({{128}, {16}, {0, 1}})
    ->UseRealTime();

// --- values in few bits, beside a copy: batch, tokens, channels, bits
// --------------------------------

/// Bytes count the values alone, read or written once: a copy reads and writes.
void quantise(State& state) {
    const Tensor x = random({state.range(0), state.range(1), state.range(2)});
    const int bits = static_cast<int>(state.range(3));
    for (auto _ : state) {
        const Quantised q(x, bits, [](std::int64_t sample) {
            return Stream(0, "kernels", 0, static_cast<std::uint32_t>(sample));
        });
        benchmark::DoNotOptimize(q.held());
    }
    rates(state, 0, static_cast<double>(x.bytes()));
}
void dequantise(State& state) {
    const Tensor x = random({state.range(0), state.range(1), state.range(2)});
    const Quantised q(x, static_cast<int>(state.range(3)),
                      [](std::int64_t) { return Stream(0, "kernels"); });
    for (auto _ : state) benchmark::DoNotOptimize(q.unpack());
    rates(state, 0, static_cast<double>(x.bytes()));
}
void copy(State& state) {
    const Tensor x = random({state.range(0), state.range(1), state.range(2)});
    for (auto _ : state) benchmark::DoNotOptimize(x.clone());
    rates(state, 0, static_cast<double>(x.bytes()));
}
void kept_values(benchmark::internal::Benchmark* b) {
    b->ArgNames({"B", "L", "C", "bits"});
    for (const std::int64_t bits : {1, 2, 4, 8}) b->Args({32, 128, 1536, bits});
}
BENCHMARK(quantise)->Apply(kept_values)->UseRealTime();
BENCHMARK(dequantise)->Apply(kept_values)->UseRealTime();
BENCHMARK(copy)->ArgNames({"B", "L", "C"})->Args({32, 128, 1536})->UseRealTime();

// --- AdamW, convolutions, eigendecompositions
// -----------------------------------------------------

void adamw(State& state) {
    Stream stream(0, "kernels");
    Linear module(state.range(0), state.range(1), stream, false);
    const auto optimizer = make_optimizer(module, {.name = "adamw", .lr = 1e-5});
    module.weight().grad = Grad(random(module.weight().value.shape()));
    for (auto _ : state) optimizer->step();
    rates(state, 0, 7.0 * static_cast<double>(module.weight().value.bytes()));
}
BENCHMARK(adamw)->ArgNames({"Cx", "Cy"})->Args({384, 1536})->Args({768, 3072})->UseRealTime();

void convolution(State& state, Which which) {
    const std::int64_t batch = state.range(0), in = state.range(1), side = state.range(2);
    const std::int64_t out = state.range(3), stride = state.range(4);
    const WindowAxis axis{side, 3, stride, 1};
    const Window2d window{axis, axis};
    const Tensor x = random({batch, in, side, side}), w = random({out, in, 3, 3});
    const Tensor gy = random({batch, out, axis.positions(), axis.positions()});
    for (auto _ : state) {
        Tensor result = which == Which::y    ? conv_forward(x, w, window, 1)
                        : which == Which::gx ? conv_gx(gy, w, window, 1)
                                             : conv_gw(gy, x, w.shape(), window, 1);
        benchmark::DoNotOptimize(result);
    }
    rates(state, 2.0 * static_cast<double>(gy.numel() * in * 9),
          static_cast<double>(x.bytes() + gy.bytes()));
}
void images(benchmark::internal::Benchmark* b) {
    b->ArgNames({"B", "C", "HW", "Cy", "stride"});
    for (const auto& args : std::vector<std::vector<std::int64_t>>{{128, 3, 32, 16, 1},
                                                                   {128, 16, 32, 16, 1},
                                                                   {128, 16, 32, 32, 2},
                                                                   {128, 32, 16, 32, 1},
                                                                   {128, 64, 8, 64, 1}})
        b->Args(args);
}
BENCHMARK_CAPTURE(convolution, y, Which::y)->Apply(images)->UseRealTime();
BENCHMARK_CAPTURE(convolution, gx, Which::gx)->Apply(images)->UseRealTime();
BENCHMARK_CAPTURE(convolution, gw, Which::gw)->Apply(images)->UseRealTime();

/// An autocorrelation with eigenvalues that fall as 1 / i².
Tensor autocorrelation(std::int64_t n) {
    Tensor x = random({1, n, n});
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t k = 0; k < n; ++k) x.data()[i * n + k] /= static_cast<real>(i + 1);
    return matmul_sum(x, x);
}
void eigen_all(State& state) {
    const Tensor c = autocorrelation(state.range(0));
    for (auto _ : state) benchmark::DoNotOptimize(eigh(c));
}
/// From nothing, and from the directions of a calibration before.
void eigen_leading(State& state) {
    const Tensor c = autocorrelation(state.range(0));
    const Tensor start = state.range(2) ? eigh_leading(c, state.range(1)).vectors : Tensor();
    for (auto _ : state) benchmark::DoNotOptimize(eigh_leading(c, state.range(1), start));
}
BENCHMARK(eigen_all)->ArgName("n")->Arg(64)->Arg(128)->Arg(512)->Arg(1024)->UseRealTime();
BENCHMARK(eigen_leading)
    ->ArgNames({"n", "R", "warm"})
    ->ArgsProduct({{512, 1024}, {16}, {0, 1}})
    ->UseRealTime();

}  // namespace
}  // namespace slimgrad

int main(int argc, char** argv) {
    slimgrad::set_threads(slimgrad::threads());
    benchmark::AddCustomContext("slimgrad_threads", std::to_string(slimgrad::threads()));
    benchmark::AddCustomContext("skinny_kernels", slimgrad::skinny_target());
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
}
