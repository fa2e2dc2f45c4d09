#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tensor/allocator.h"
#include "tensor/blas.h"
#include "tensor/linalg.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

std::vector<real> list(const Tensor& t) { return {t.values().begin(), t.values().end()}; }
Tensor iota(Shape shape) {
    Tensor t(std::move(shape));
    for (std::int64_t i = 0; i < t.numel(); ++i) t.data()[i] = static_cast<real>(i);
    return t;
}

TEST(Tensor, ReshapeSharesAndCloneCopies) {
    Tensor x = iota({2, 3});
    Tensor view = x.reshape({3, -1});
    Tensor copy = x.clone();
    x.at({0, 0}) = 7;
    EXPECT_EQ(view.shape(), (Shape{3, 2}));
    EXPECT_EQ(view.at({0, 0}), 7);
    EXPECT_EQ(copy.at({0, 0}), 0);
    EXPECT_THROW(x.reshape({4, -1}), Error);
    EXPECT_THROW(x.at({2, 0}), Error);
    EXPECT_THROW(Tensor({2, -1}), Error);
}

TEST(Tensor, TransposeMatchesItsDefinition) {
    const Tensor x = iota({2, 3, 4});
    const Tensor y = transpose(x, {2, 0, 1});
    ASSERT_EQ(y.shape(), (Shape{4, 2, 3}));
    for (std::int64_t i = 0; i < 2; ++i)
        for (std::int64_t j = 0; j < 3; ++j)
            for (std::int64_t k = 0; k < 4; ++k) EXPECT_EQ(y.at({k, i, j}), x.at({i, j, k}));
    EXPECT_THROW(transpose(x, {0, 1}), Error);
    EXPECT_THROW(transpose(x, {0, 1, 1}), Error);
}

TEST(Tensor, MatmulAgainstTripleLoopInEveryOrientation) {
    Stream stream(1, "test");
    for (const Op op_a : {Op::none, Op::transpose})
        for (const Op op_b : {Op::none, Op::transpose})
            for (const bool shared : {false, true}) {
                const std::int64_t m = 5, k = 7, n = 3, batch = 4;
                Shape sa = op_a == Op::none ? Shape{batch, m, k} : Shape{batch, k, m};
                Shape sb = op_b == Op::none ? Shape{batch, k, n} : Shape{batch, n, k};
                if (shared) sb.erase(sb.begin());
                const Tensor a = normal(sa, 0, 1, stream), b = normal(sb, 0, 1, stream);
                const Tensor c = matmul(a, b, op_a, op_b);
                ASSERT_EQ(c.shape(), (Shape{batch, m, n}));
                for (std::int64_t s = 0; s < batch; ++s)
                    for (std::int64_t i = 0; i < m; ++i)
                        for (std::int64_t j = 0; j < n; ++j) {
                            real sum = 0;
                            for (std::int64_t l = 0; l < k; ++l) {
                                Shape ib = op_b == Op::none ? Shape{s, l, j} : Shape{s, j, l};
                                if (shared) ib.erase(ib.begin());
                                sum += a.at(op_a == Op::none ? Shape{s, i, l} : Shape{s, l, i}) *
                                       b.at(ib);
                            }
                            EXPECT_NEAR(c.at({s, i, j}), sum, 1e-5);
                        }
            }
    EXPECT_THROW(matmul(iota({2, 3}), iota({2, 3})), Error);
    EXPECT_THROW(matmul(iota({2, 2, 3}), iota({3, 3, 2})), Error);
}

TEST(Tensor, EmptyInnerDimensionGivesZeros) {
    const Tensor c = matmul(Tensor({2, 0}), Tensor({0, 3}));
    EXPECT_EQ(list(c), std::vector<real>(6, 0));
}

TEST(Tensor, BroadcastAndSumToAreAdjoint) {
    const Tensor x = iota({3, 1});
    EXPECT_EQ(list(broadcast_to(x, {2, 3, 2})),
              (std::vector<real>{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2}));
    EXPECT_EQ(list(sum_to(iota({2, 3, 2}), {3, 1})), (std::vector<real>{14, 22, 30}));
    EXPECT_EQ(list(iota({2, 2}) + iota({2})), (std::vector<real>{0, 2, 2, 4}));
    EXPECT_EQ(list(broadcast_to(iota({1, 2}), {2, 2, 2})),
              (std::vector<real>{0, 1, 0, 1, 0, 1, 0, 1}));
    EXPECT_EQ(list(sum_to(iota({2, 2, 2}), {1, 2})), (std::vector<real>{12, 16}));
    EXPECT_EQ(list(sum_to(iota({2, 2}), {1, 1})), (std::vector<real>{6}));
    EXPECT_EQ(sum_to(iota({2, 2}), {}).shape(), Shape{});
    EXPECT_EQ(sum_to(Tensor({0, 2}), {2}).numel(), 2);
    EXPECT_THROW(iota({2, 2}) + iota({3}), Error);
}

TEST(Tensor, SlicePadConcatSum) {
    const Tensor x = iota({2, 4});
    EXPECT_EQ(list(slice(x, 1, 1, 2)), (std::vector<real>{1, 2, 5, 6}));
    EXPECT_EQ(list(pad(slice(x, 1, 1, 2), 1, 1, 4)), (std::vector<real>{0, 1, 2, 0, 0, 5, 6, 0}));
    EXPECT_TRUE(identical(concat({slice(x, 1, 0, 1), slice(x, -1, 1, 3)}, 1), x));
    EXPECT_EQ(list(sum(x, 0)), (std::vector<real>{4, 6, 8, 10}));
    EXPECT_EQ(list(sum(x, 1)), (std::vector<real>{6, 22}));
    EXPECT_EQ(list(sum_rows(x)), (std::vector<real>{4, 6, 8, 10}));
    EXPECT_THROW(slice(x, 1, 3, 2), Error);
    EXPECT_THROW(concat({x, iota({3, 3})}, 1), Error);
}

TEST(Tensor, SoftmaxRowsSumToOneAndSurviveLargeValues) {
    const Tensor y = softmax(Tensor::from({2, 3}, std::vector<real>{1000, 1000, 1000, 0, 1, 2}));
    EXPECT_NEAR(y.at({0, 0}), 1.0 / 3, 1e-6);
    EXPECT_NEAR(y.at({1, 2}), 0.66524096, 1e-6);
}

TEST(Random, FillGivesWhatSingleCallsGive) {
    Stream one(7, "test", 3, 4), many(7, "test", 3, 4);
    one();
    many();  // so that the first block is begun
    std::vector<std::uint32_t> numbers(331);
    many.fill(numbers);
    for (const std::uint32_t number : numbers) ASSERT_EQ(number, one());
    EXPECT_EQ(many(), one());
}

TEST(Random, PhiloxKnownAnswers) {
    // Known answers published with the Random123 library, philox4x32-10.
    EXPECT_EQ(Stream::philox({0, 0, 0, 0}, {0, 0}),
              (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(
        Stream::philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
        (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(
        Stream::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
        (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, StreamsRepeatAndDiffer) {
    EXPECT_EQ(Stream(1, "a")(), Stream(1, "a")());
    EXPECT_NE(Stream(1, "a")(), Stream(2, "a")());
    EXPECT_NE(Stream(1, "a")(), Stream(1, "b")());
    EXPECT_NE(Stream(1, "a", 1)(), Stream(1, "a", 2)());
    EXPECT_NE(Stream(1, "a", 1, 0)(), Stream(1, "a", 1, 1)());
}

TEST(Random, MomentsOfUniformAndNormal) {
    Stream stream(3, "moments");
    const std::int64_t n = 100000;
    const Tensor u = uniform({n}, -1, 3, stream), z = normal({n}, 2, 3, stream);
    EXPECT_NEAR(sum(u) / n, 1, 0.02);
    EXPECT_NEAR(sum(z) / n, 2, 0.05);
    EXPECT_NEAR(sum_squares(z) / n - 4, 9, 0.2);
    std::vector<std::int64_t> order = stream.permutation(1000);
    EXPECT_NE(order[0] + order[1] + order[2], 3);
    std::ranges::sort(order);
    for (std::int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(Linalg, EighRebuildsTheMatrix) {
    Stream stream(5, "eigh");
    const Tensor a = normal({6, 6}, 0, 1, stream);
    const Tensor c = matmul(a, a, Op::none, Op::transpose);
    const EigenDecomposition e = eigh(c);
    EXPECT_TRUE(std::ranges::is_sorted(e.values, std::greater<>()));
    Tensor scaled = e.vectors.clone();
    for (std::int64_t i = 0; i < 6; ++i) {
        for (std::int64_t j = 0; j < 6; ++j)
            scaled.at({i, j}) *= static_cast<real>(e.values[static_cast<std::size_t>(i)]);
    }
    const Tensor rebuilt = matmul(e.vectors, scaled, Op::transpose, Op::none);
    for (std::int64_t i = 0; i < 36; ++i) EXPECT_NEAR(rebuilt.data()[i], c.data()[i], 1e-4);
    Tensor bad = c.clone();
    bad.at({2, 3}) = std::numeric_limits<real>::quiet_NaN();
    EXPECT_THROW(eigh(bad), Error);
    EXPECT_THROW(eigh(a.reshape({4, 9})), Error);
}

/// A positive semi-definite matrix with the given eigenvalues.
Tensor with_spectrum(const std::vector<double>& values) {
    const auto n = static_cast<std::int64_t>(values.size());
    Stream stream(6, "spectrum");
    const Tensor a = normal({n, n}, 0, 1, stream);
    const Tensor v = eigh(a + transpose(a, {1, 0})).vectors;
    Tensor scaled = v.clone();
    for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t j = 0; j < n; ++j)
            scaled.at({i, j}) *= static_cast<real>(values[static_cast<std::size_t>(i)]);
    return matmul(v, scaled, Op::transpose, Op::none);
}

/// Σ u_i C u_iᵀ over the rows of u: what a subspace holds of C.
double held(const Tensor& u, const Tensor& c) {
    const Tensor held = matmul(u, c) * u;
    return sum(held);
}

TEST(Linalg, LeadingPairsAreThoseOfTheFullDecomposition) {
    std::vector<double> values;
    for (int i = 0; i < 200; ++i) values.push_back(100 * std::pow(0.9, i));
    const Tensor c = with_spectrum(values);
    const EigenDecomposition full = eigh(c);
    meter().reset();
    const EigenDecomposition cold = eigh_leading(c, 12);
    const std::int64_t cold_flops = meter().total();
    ASSERT_EQ(cold.values.size(), 12u);
    EXPECT_EQ(cold.vectors.shape(), (Shape{12, 200}));
    const double precise = sizeof(real) == 8 ? 1e-8 : 1e-4;
    for (std::size_t i = 0; i < 12; ++i)
        EXPECT_NEAR(cold.values[i], full.values[i], 1e-6 * full.values[0]);
    EXPECT_NEAR(held(cold.vectors, c), held(full.vectors.rows(0, 12), c), precise * full.sum);
    EXPECT_NEAR(cold.sum, full.sum, 1e-5 * full.sum);
    EXPECT_NEAR(cold.sum_squares, full.sum_squares, 1e-5 * full.sum_squares);

    // A start near the answer, whatever its scale, takes fewer passes; the same call, the same
    // bits.
    meter().reset();
    const EigenDecomposition warm = eigh_leading(c, 12, cold.vectors * real(3));
    EXPECT_LT(meter().total(), cold_flops);
    EXPECT_NEAR(held(warm.vectors, c), held(cold.vectors, c), precise * full.sum);
    EXPECT_TRUE(identical(eigh_leading(c, 12).vectors, cold.vectors));
}

TEST(Linalg, WhatSubspaceIterationCannotSeparateIsDecomposedInFull) {
    // Flat, without a gap anywhere; and a count beyond a quarter.
    std::vector<double> flat;
    for (int i = 0; i < 120; ++i) flat.push_back(1 + 0.001 * (120 - i));
    const Tensor c = with_spectrum(flat);
    const EigenDecomposition full = eigh(c);
    for (const std::int64_t count : {std::int64_t{5}, std::int64_t{60}}) {
        const EigenDecomposition leading = eigh_leading(c, count);
        ASSERT_EQ(std::ssize(leading.values), count);
        EXPECT_NEAR(held(leading.vectors, c), held(full.vectors.rows(0, count), c), 1e-4);
    }
    EXPECT_EQ(eigh_leading(Tensor::zeros({100, 100}), 3).values, std::vector<double>(3, 0.0));
    EXPECT_THROW(eigh_leading(c, 0), Error);
    EXPECT_THROW(eigh_leading(c, 5, Tensor({2, 7})), Error);
}

TEST(Meter, CountsUnderTheInnermostScopeUnlessPinned) {
    meter().reset();
    {
        const LayerScope layer("fc1");
        const PhaseScope forward("forward");
        matmul(iota({2, 3}), iota({3, 4}));
        {
            const PhaseScope gw("g_w");
            matmul(iota({2, 3}), iota({3, 4}));
        }
        const PhaseScope calibrate("calibrate", true);
        const PhaseScope inner("forward");
        matmul(iota({2, 3}), iota({3, 5}));
    }
    EXPECT_EQ(meter().count("fc1", "forward"), 2 * 2 * 3 * 4);
    EXPECT_EQ(meter().count("fc1", "g_w"), 2 * 2 * 3 * 4);
    EXPECT_EQ(meter().count("fc1", "calibrate"), 2 * 2 * 3 * 5);
    EXPECT_EQ(meter().total(), 2 * 2 * 3 * (4 + 4 + 5));
    EXPECT_EQ(current_layer(), "");
}

TEST(Ledger, EqualsTheAllocatorAndCountsSharedStorageOnce) {
    const std::int64_t workspace = ledger()[Category::workspace].live;
    const std::int64_t allocated = allocator::live_bytes();
    {
        const Tensor x({4, 16});
        const Tensor view = x.reshape({64});
        EXPECT_EQ(ledger()[Category::workspace].live - workspace, x.bytes());
        EXPECT_EQ(allocator::live_bytes() - allocated, x.bytes());
        const LayerScope layer("fc1");
        const Hold first(x.storage());
        const Hold second(view.storage());
        EXPECT_EQ(ledger()[Category::workspace].live, workspace);
        EXPECT_EQ(ledger().saved_by_layer().at("fc1"), x.bytes());
        Tensor p({8});
        p.mark(Category::parameters);
        EXPECT_EQ(ledger()[Category::workspace].live, workspace);
    }
    EXPECT_EQ(ledger()[Category::workspace].live, workspace);
    EXPECT_EQ(ledger()[Category::saved].live, 0);
    EXPECT_TRUE(ledger().saved_by_layer().empty());
    EXPECT_EQ(allocator::live_bytes(), allocated);
}

TEST(Ops, SumsOfManyRows) {
    for (const std::int64_t rows : {0, 1, 127, 128, 129, 1000})
        for (const std::int64_t n : {1, 7, 33}) {
            meter().reset();
            const Tensor y = sum_rows(Tensor::full({rows, n}, 2));
            EXPECT_EQ(y.shape(), (Shape{n}));
            for (const real value : y.values()) EXPECT_EQ(value, static_cast<real>(2 * rows));
            EXPECT_EQ(meter().total(), rows * n);
        }
}

TEST(Allocator, ReusesMemoryFromManyThreads) {
    {  // more, of either size, than the threads will hold at once
        const Tensor large({1 << 20});
        std::vector<Tensor> small;
        for (int i = 0; i < 32; ++i) small.push_back(Tensor::zeros({1000}));
    }
    const std::int64_t requests = allocator::system_requests();
    const std::int64_t live = allocator::live_bytes();
    std::vector<std::thread> workers;
    for (int t = 0; t < 4; ++t)
        workers.emplace_back([t] {
            for (int i = 1; i < 500; ++i) {
                Tensor x = Tensor::full({(i * 37 + t) % 1000 + 1}, static_cast<real>(t));
                const Tensor y = x.clone();
                ASSERT_EQ(sum(y), static_cast<double>(t) * static_cast<double>(x.numel()));
            }
        });
    for (std::thread& worker : workers) worker.join();
    EXPECT_EQ(allocator::system_requests(), requests);
    EXPECT_EQ(allocator::live_bytes(), live);
}

TEST(Storage, MayBelongToSomeoneElse) {
    auto values = std::make_shared<std::vector<real>>(std::vector<real>{1, 2, 3, 4});
    const std::weak_ptr<std::vector<real>> alive = values;
    const std::int64_t workspace = ledger()[Category::workspace].live;
    const std::int64_t allocated = allocator::live_bytes();
    real* const data = values->data();
    Tensor x =
        Tensor::view({2, 2}, std::make_shared<Storage>(data, 4 * sizeof(real), values), data);
    values.reset();
    EXPECT_EQ(x.at({1, 0}), 3);
    EXPECT_EQ(x.rows(1, 1).at({0, 1}), 4);
    EXPECT_EQ(ledger()[Category::workspace].live - workspace, x.bytes());
    EXPECT_EQ(allocator::live_bytes(), allocated);
    EXPECT_FALSE(alive.expired());
    x = {};
    EXPECT_TRUE(alive.expired());
    EXPECT_EQ(ledger()[Category::workspace].live, workspace);
}

TEST(Error, HasOneLineOfUtf8) {
    const auto said = [](const std::string& name) {
        return message([&] { fail("[test] '{}' is bad", name); });
    };
    EXPECT_EQ(said("größe €😀"), "[test] 'größe €😀' is bad");
    EXPECT_EQ(said("a\nb\r\t\x7f"), "[test] 'a\\nb\\x0d\\x09\\x7f' is bad");
    // A lone byte, an overlong form, half of a pair, beyond the last character, cut off.
    EXPECT_EQ(said("\xff|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xe2\x82"),
              "[test] '\\xff|\\xc0\\xaf|\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80|\\xe2\\x82' is bad");
}

TEST(Blas, UsesTheKernelsThatTheProcessorOffers) {
    const BlasInfo& info = blas();
    EXPECT_TRUE(info.openmp) << info.config;
#if defined(__x86_64__)
    if (info.chosen_by_user) GTEST_SKIP() << "the user chose the kernels";
    if (__builtin_cpu_supports("avx2")) {
        EXPECT_NE(info.kernels, "Prescott");
    }
    if (__builtin_cpu_supports("avx512bw")) {
        EXPECT_TRUE(info.kernels == "SkylakeX" || info.kernels == "SapphireRapids") << info.kernels;
    }
#endif
}

}  // namespace
}  // namespace slimgrad
