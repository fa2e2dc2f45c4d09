#include "tensor/kernels/convolution.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>

#include "tensor/kernels/convolution_kernels.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

struct Case {
    std::int64_t batch, in, out, groups;
    Window2d window;
};

Window2d square(std::int64_t length, std::int64_t kernel, std::int64_t stride = 1,
                std::int64_t padding = 0, std::int64_t dilation = 1) {
    const WindowAxis axis{length, kernel, stride, padding, dilation};
    return {axis, axis};
}

/// Numbers of channels that fill no vector, one vector, and one and a bit; batches that the threads
/// cannot share evenly; kernels, strides, paddings and dilations of each kind.
std::vector<Case> cases() {
    std::vector<Case> all;
    for (const std::int64_t in : {1, 3, 16, 33})
        for (const std::int64_t out : {1, 5, 32})
            for (const std::int64_t batch : {1, 3})
                all.push_back({batch, in, out, 1, square(7, 3, 1, 1)});
    for (const std::int64_t kernel : {1, 3, 5})
        for (const std::int64_t stride : {1, 2, 3})
            for (const std::int64_t padding : {0, 1, 2})
                for (const std::int64_t dilation : {1, 2})
                    all.push_back({2, 3, 4, 1, square(11, kernel, stride, padding, dilation)});
    for (const std::int64_t groups : {2, 3, 6})
        for (const std::int64_t kernel : {1, 3})
            all.push_back({3, 6, 12, groups, square(6, kernel, 1, kernel / 2)});
    all.push_back({2, 33, 33, 33, square(6, 3, 2, 1)});
    all.push_back({2, 2, 3, 1, {{6, 2, 3, 1, 1}, {8, 4, 1, 2, 2}}});  // axes that differ
    all.push_back({3, 2, 2, 1, square(3, 3)});                        // one position
    all.push_back({2, 2, 2, 1, square(2, 1, 1, 3)});                  // more padding than image
    all.push_back({35, 16, 16, 1, square(32, 3, 1, 1)});              // several chunks a thread
    all.push_back({9, 64, 64, 1, square(8, 3, 1, 1)});
    return all;
}

std::string describe(const Case& c) {
    const WindowAxis &r = c.window.rows, &k = c.window.columns;
    return fmt::format(
        "batch {}, {} -> {} channels, {} groups, {}x{}, kernel {}x{}, stride {}x{}, "
        "padding {}x{}, dilation {}x{}",
        c.batch, c.in, c.out, c.groups, r.length, k.length, r.kernel, k.kernel, r.stride, k.stride,
        r.padding, k.padding, r.dilation, k.dilation);
}

Tensor random(Shape shape, const char* what) {
    Stream stream(3, what);
    return normal(std::move(shape), 0, 1, stream);
}

/// What the three products take and give.
struct Operands {
    explicit Operands(const Case& c)
        : sizes{c.batch, c.in, c.out, c.groups, c.window},
          x(random({c.batch, c.in, c.window.rows.length, c.window.columns.length}, "x")),
          w(random({c.out, c.in / c.groups, c.window.rows.kernel, c.window.columns.kernel}, "w")),
          gy(random({c.batch, c.out, c.window.rows.positions(), c.window.columns.positions()},
                    "gy")) {}
    ConvolutionSizes sizes;
    Tensor x, w, gy;
};
struct Results {
    Tensor y, gw, gx;
};

Results run(const ConvolutionKernels& kernels, const Operands& o) {
    // What is not written to must show.
    Results r{Tensor::full(o.gy.shape(), 77), Tensor::full(o.w.shape(), 77),
              Tensor::full(o.x.shape(), 77)};
    kernels.forward(o.sizes, o.x.data(), o.w.data(), r.y.data());
    kernels.gw(o.sizes, o.gy.data(), o.x.data(), r.gw.data());
    kernels.gx(o.sizes, o.gy.data(), o.w.data(), r.gx.data());
    return r;
}

void expect_near(const Tensor& a, const Tensor& b, std::int64_t terms, const char* what) {
    ASSERT_EQ(a.shape(), b.shape());
    const double bound = 4e-7 * static_cast<double>(terms) + 1e-5;
    for (std::int64_t i = 0; i < a.numel(); ++i)
        ASSERT_NEAR(a.data()[i], b.data()[i], bound) << what;
}

TEST(Convolution, OneDnnGivesWhatTheUnfoldedProductGives) {
    if (!onednn_convolution()) GTEST_SKIP() << "this build has no oneDNN";
    for (const Case& c : cases()) {
        SCOPED_TRACE(describe(c));
        const Operands o(c);
        const Results plain = run(unfolded_convolution(), o), fast = run(*onednn_convolution(), o);
        const std::int64_t taps = c.window.taps();
        expect_near(fast.y, plain.y, c.in / c.groups * taps, "y");
        expect_near(fast.gw, plain.gw, c.batch * c.window.positions(), "gw");
        expect_near(fast.gx, plain.gx, c.out / c.groups * taps, "gx");
    }
}

TEST(Convolution, TheSameThreadsGiveTheSameBits) {
    for (const int threads : {1, 2, 5}) {
        const int before = omp_get_max_threads();
        omp_set_num_threads(threads);
        const Operands o({13, 16, 16, 1, square(32, 3, 1, 1)});
        for (const ConvolutionKernels* kernels : {&unfolded_convolution(), onednn_convolution()}) {
            if (!kernels) continue;
            SCOPED_TRACE(kernels->name);
            const Results first = run(*kernels, o), second = run(*kernels, o);
            EXPECT_TRUE(identical(first.y, second.y));
            EXPECT_TRUE(identical(first.gw, second.gw));
            EXPECT_TRUE(identical(first.gx, second.gx));
        }
        omp_set_num_threads(before);
    }
}

TEST(Convolution, WorksInsideAParallelRegionAndOnShapesWithoutEnd) {
    if (!onednn_convolution()) GTEST_SKIP() << "this build has no oneDNN";
    // More shapes than are remembered, met by several threads at once.
    std::vector<double> worst(300);
#pragma omp parallel for num_threads(3)
    for (std::int64_t i = 0; i < 300; ++i) {
        const Operands o({1, 1, 1 + i % 10, 1, square(2 + i / 10, 2)});
        const Results plain = run(unfolded_convolution(), o), fast = run(*onednn_convolution(), o);
        for (const auto& [a, b] : {std::pair{&plain.y, &fast.y}, {&plain.gx, &fast.gx}})
            for (std::int64_t k = 0; k < a->numel(); ++k)
                worst[static_cast<std::size_t>(i)] =
                    std::max(worst[static_cast<std::size_t>(i)],
                             std::abs(static_cast<double>(a->data()[k] - b->data()[k])));
    }
    for (const double difference : worst) EXPECT_LT(difference, 1e-4);
}

TEST(Convolution, AnEmptyBatchGivesEmptyImagesAndAZeroGradient) {
    const Window2d window = square(5, 3, 1, 1);
    const Tensor x({0, 2, 5, 5}), w = random({3, 2, 3, 3}, "w"), gy({0, 3, 5, 5});
    EXPECT_EQ(conv_forward(x, w, window, 1).shape(), (Shape{0, 3, 5, 5}));
    EXPECT_EQ(conv_gx(gy, w, window, 1).shape(), (Shape{0, 2, 5, 5}));
    EXPECT_TRUE(identical(conv_gw(gy, x, w.shape(), window, 1), Tensor::zeros(w.shape())));
}

}  // namespace
}  // namespace slimgrad
