#include "data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>

#include "data/prefetcher.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

/// n images whose pixels are drawn from a small formula; no byte is 0, so that padding shows.
std::shared_ptr<ImageData> images(std::int64_t n, std::int64_t channels = 3,
                                  std::int64_t side = 8) {
    auto data = std::make_shared<ImageData>();
    data->name = "made";
    data->channels = channels;
    data->height = data->width = side;
    data->classes = {"even", "odd"};
    for (std::int64_t i = 0; i < n; ++i) {
        data->labels.push_back(static_cast<std::int32_t>(i % 2));
        for (std::int64_t j = 0; j < data->image_bytes(); ++j)
            data->pixels.push_back(static_cast<std::uint8_t>(1 + (i * 31 + j * 17) % 255));
    }
    for (std::int64_t c = 0; c < channels; ++c) {
        data->mean.push_back(0.4 + 0.1 * static_cast<double>(c));
        data->std.push_back(0.2 + 0.05 * static_cast<double>(c));
    }
    return data;
}

LoaderOptions options(std::int64_t batch_size, bool augment = false, std::uint64_t seed = 1) {
    LoaderOptions made;
    made.batch_size = batch_size;
    made.augment = augment;
    made.seed = seed;
    return made;
}

void expect_equal(const Batch& a, const Batch& b) {
    EXPECT_TRUE(identical(a.x, b.x));
    EXPECT_EQ(a.labels, b.labels);
    EXPECT_EQ(a.indices, b.indices);
    EXPECT_EQ(a.step, b.step);
}

/// Element (c, y, x) of an image as the loader should give it, zero bytes outside.
real normalised(const ImageData& data, std::int64_t i, std::int64_t c, std::int64_t y,
                std::int64_t x) {
    const bool inside = y >= 0 && y < data.height && x >= 0 && x < data.width;
    const std::size_t place = static_cast<std::size_t>((c * data.height + y) * data.width + x);
    const double byte = inside ? data.image(i)[place] : 0;
    const std::size_t channel = static_cast<std::size_t>(c);
    return static_cast<real>((byte / 255 - data.mean[channel]) / data.std[channel]);
}

struct Window {
    std::int64_t top, left;
    bool mirror;
};

/// Finds the window that turns image i into sample b of the batch.
std::vector<Window> windows(const ImageData& data, const Batch& batch, std::int64_t b) {
    std::vector<Window> found;
    const std::int64_t i = batch.indices[static_cast<std::size_t>(b)];
    const std::int64_t pad = (data.height + 4) / 8;
    for (std::int64_t top = -pad; top <= pad; ++top)
        for (std::int64_t left = -pad; left <= pad; ++left)
            for (const bool mirror : {false, true}) {
                bool equal = true;
                for (std::int64_t c = 0; equal && c < data.channels; ++c)
                    for (std::int64_t y = 0; equal && y < data.height; ++y)
                        for (std::int64_t x = 0; equal && x < data.width; ++x) {
                            const std::int64_t from = mirror ? data.width - 1 - x : x;
                            equal = batch.x.at({b, c, y, x}) ==
                                    normalised(data, i, c, y + top, from + left);
                        }
                if (equal) found.push_back({top, left, mirror});
            }
    return found;
}

TEST(Loader, NormalisesAndLabels) {
    const auto data = images(10);
    LoaderOptions plain = options(4);
    plain.shuffle = false;
    plain.drop_last = false;
    const Loader loader(data, plain);
    ASSERT_EQ(loader.steps_per_epoch(), 3);
    for (std::int64_t step = 0; step < 6; ++step) {
        const Batch batch = loader.batch(step);
        ASSERT_EQ(batch.x.shape(), (Shape{step % 3 == 2 ? 2 : 4, 3, 8, 8}));
        for (std::int64_t b = 0; b < batch.size(); ++b) {
            const std::int64_t i = 4 * (step % 3) + b;
            EXPECT_EQ(batch.indices[static_cast<std::size_t>(b)], i);
            EXPECT_EQ(batch.labels[static_cast<std::size_t>(b)], i % 2);
            EXPECT_EQ(batch.x.at({b, 2, 3, 5}), normalised(*data, i, 2, 3, 5));
        }
    }
}

TEST(Loader, EverySampleOnceAnEpochInAnotherOrder) {
    const auto data = images(10);
    for (const bool drop_last : {false, true}) {
        LoaderOptions shuffled = options(3);
        shuffled.drop_last = drop_last;
        const Loader loader(data, shuffled);
        ASSERT_EQ(loader.steps_per_epoch(), drop_last ? 3 : 4);
        std::set<std::vector<std::int64_t>> orders;
        for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
            std::vector<std::int64_t> order;
            for (std::int64_t s = 0; s < loader.steps_per_epoch(); ++s) {
                const Batch batch = loader.batch(epoch * loader.steps_per_epoch() + s);
                order.insert(order.end(), batch.indices.begin(), batch.indices.end());
                for (std::int64_t b = 0; b < batch.size(); ++b) {
                    const std::size_t at = static_cast<std::size_t>(b);
                    EXPECT_EQ(batch.labels[at], batch.indices[at] % 2);
                }
            }
            EXPECT_EQ(order.size(), drop_last ? 9u : 10u);
            EXPECT_EQ(std::set(order.begin(), order.end()).size(), order.size());
            orders.insert(order);
        }
        EXPECT_EQ(orders.size(), 5u);
    }
}

TEST(Loader, IsAPureFunctionOfTheStep) {
    const auto data = images(23);
    const Loader straight(data, options(5, true));
    std::vector<Batch> run;
    for (std::int64_t step = 0; step < 12; ++step) run.push_back(straight.batch(step));
    // Resumed in the middle of an epoch, in another process, and asked in any order.
    const Loader resumed(data, options(5, true));
    for (const std::int64_t step : {6, 7, 11, 0, 3, 8, 8})
        expect_equal(resumed.batch(step), run[static_cast<std::size_t>(step)]);
    const Loader other(data, options(5, true, 2));
    EXPECT_NE(other.batch(0).indices, run[0].indices);
}

TEST(Loader, ADigestTellsBatchesApart) {
    const Batch batch{Tensor::zeros({2, 1, 2, 2}), {0, 1}, {31, 17}, 4};
    Batch same{batch.x.clone(), {0, 1}, {5, 6}, 9};
    EXPECT_EQ(digest(batch), digest(same));
    same.labels[1] = 2;
    EXPECT_NE(digest(batch), digest(same));
    same.labels[1] = 1;
    same.x.data()[7] = std::numeric_limits<real>::min();
    EXPECT_NE(digest(batch), digest(same));
    same.x.data()[7] = 0;
    EXPECT_EQ(digest(batch), digest(same));
    EXPECT_EQ(digest(Batch{}), digest(Batch{})) << "an empty batch has one too";
}

TEST(Loader, AugmentationDoesNotDependOnTheBatch) {
    const auto data = images(24);
    LoaderOptions all = options(24, true), few = options(6, true);
    all.shuffle = few.shuffle = false;
    const Loader large(data, all), small(data, few);
    EXPECT_TRUE(identical(large.batch(1).x.rows(6, 6), small.batch(5).x));
}

TEST(Loader, AugmentationIsAUniformWindowAndAFairMirror) {
    const auto data = images(400, 1, 16);  // pads by 2: five by five windows
    const Loader loader(data, options(400, true));
    std::array<std::array<int, 5>, 5> counts{};
    int mirrored = 0, changed = 0;
    const Batch first = loader.batch(0), second = loader.batch(1);
    for (std::int64_t b = 0; b < 400; ++b) {
        const std::vector<Window> found = windows(*data, first, b);
        ASSERT_EQ(found.size(), 1u) << "sample " << b;
        ++counts[static_cast<std::size_t>(found[0].top + 2)]
                [static_cast<std::size_t>(found[0].left + 2)];
        mirrored += found[0].mirror;
    }
    // 16 a window and 200 mirrors expected: five standard deviations.
    for (const auto& row : counts)
        for (const int count : row) EXPECT_NEAR(count, 16, 20);
    EXPECT_NEAR(mirrored, 200, 50);
    // The second epoch draws anew for each sample.
    std::vector<std::int64_t> where(400);
    for (std::size_t b = 0; b < 400; ++b)
        where[static_cast<std::size_t>(second.indices[b])] = static_cast<std::int64_t>(b);
    for (std::int64_t b = 0; b < 400; ++b) {
        const std::int64_t i = first.indices[static_cast<std::size_t>(b)];
        changed +=
            !identical(first.x.rows(b, 1), second.x.rows(where[static_cast<std::size_t>(i)], 1));
    }
    EXPECT_GT(changed, 350);

    LoaderOptions straight = options(400, true);
    straight.flip = false;
    const Batch unflipped = Loader(data, straight).batch(0);
    for (std::int64_t b = 0; b < 20; ++b) {
        const std::vector<Window> found = windows(*data, unflipped, b);
        ASSERT_EQ(found.size(), 1u);
        EXPECT_FALSE(found[0].mirror);
    }
}

TEST(Loader, PartsSplitABatch) {
    const Loader loader(images(10), options(10, true));
    const Batch batch = loader.batch(3);
    const Batch part = batch.part(4, 3);
    EXPECT_TRUE(identical(part.x, batch.x.rows(4, 3)));
    EXPECT_EQ(part.x.storage(), batch.x.storage());
    EXPECT_EQ(part.indices, (std::vector(batch.indices.begin() + 4, batch.indices.begin() + 7)));
    EXPECT_EQ(part.labels, (std::vector(batch.labels.begin() + 4, batch.labels.begin() + 7)));
    EXPECT_EQ(part.step, 3);
    expect_error([&] { batch.part(8, 3); }, {"10 samples", "part of 3 from 8"});
    expect_error([&] { batch.part(-1, 3); }, {"from -1"});
}

TEST(Loader, BadInput) {
    expect_error([] { Loader(nullptr, options(1)); }, {"got none"});
    expect_error([] { Loader(images(5), options(0)); }, {"at least 1, got 0"});
    expect_error([] { Loader(images(5), options(6)); }, {"batch of 6", "5 samples", "Hint"});
    expect_error([] { Loader(images(5), options(5)).batch(-1); }, {"got -1"});
    auto data = images(5);
    data->labels[3] = 2;
    expect_error([&] { Loader(data, options(1)); }, {"image 3", "0 to 1, got 2"});
    data = images(5);
    data->pixels.pop_back();
    expect_error([&] { Loader(data, options(1)); }, {"960 bytes", "959"});
    data = images(5);
    data->mean.clear();
    expect_error([&] { Loader(data, options(1)); }, {"each of 3 channels", "got 0 and 3"});
    data = images(5);
    data->std[1] = 0;
    expect_error([&] { Loader(data, options(1)); }, {"above 0"});
}

TEST(Prefetcher, GivesWhatTheLoaderGives) {
    const Loader loader(images(23), options(5, true));
    Prefetcher prefetcher(loader, 3, 15, 3);
    for (std::int64_t step = 3; step < 15; ++step) {
        // The trainer reads ahead on its own thread at the same time.
        expect_equal(loader.batch(step + 2), Loader(loader).batch(step + 2));
        expect_equal(prefetcher.next(), loader.batch(step));
    }
    expect_error([&] { prefetcher.next(); }, {"before 15"});
    expect_error([&] { prefetcher.next(); }, {"before 15"});
    Prefetcher none(loader, 4, 4);
    expect_error([&] { none.next(); }, {"before 4"});
}

TEST(Prefetcher, StopsWithBatchesLeftAndHoldsNoMoreThanItsDepth) {
    std::atomic<int> made{0};
    {
        Prefetcher prefetcher(
            [&](std::int64_t step) {
                ++made;
                Batch batch;
                batch.step = step;
                return batch;
            },
            0, 1'000'000'000, 4);
        EXPECT_EQ(prefetcher.next().step, 0);
        EXPECT_EQ(prefetcher.next().step, 1);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        EXPECT_LE(made, 6);
    }
    const Loader loader(images(23), options(5));
    for (int i = 0; i < 50; ++i) Prefetcher(loader, 0, 1000);  // at once, before any batch
}

TEST(Prefetcher, SeveralWorkersGiveTheSameInOrder) {
    const Loader loader(images(23), options(5, true));
    Prefetcher prefetcher(loader, 0, 40, 5, 3);
    for (std::int64_t step = 0; step < 40; ++step)
        expect_equal(prefetcher.next(), loader.batch(step));
    expect_error([&] { prefetcher.next(); }, {"before 40"});

    std::atomic<int> at_once{0}, most{0};
    Prefetcher busy(
        [&](std::int64_t step) {
            const int now = ++at_once;
            for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
            }
            // The later a step is, the sooner it is made: they finish in another order.
            std::this_thread::sleep_for(std::chrono::milliseconds(4 - step % 4));
            --at_once;
            require(step != 9, "[test] no step {}", step);
            Batch batch;
            batch.step = step;
            return batch;
        },
        0, 100, 4, 4);
    for (std::int64_t step = 0; step < 9; ++step) EXPECT_EQ(busy.next().step, step);
    expect_error([&] { busy.next(); }, {"no step 9"});
    expect_error([&] { busy.next(); }, {"no step 9"});
    EXPECT_GT(most, 1);
    EXPECT_LE(most, 4);
    expect_error([&] { Prefetcher(Prefetcher::Source{}, 0, 1, 2, 0); }, {"at least one worker"});
}

TEST(Prefetcher, PassesExceptionsOnAtTheirStep) {
    Prefetcher prefetcher(
        [](std::int64_t step) {
            require(step < 2, "[test] no step {}", step);
            Batch batch;
            batch.step = step;
            return batch;
        },
        0, 10, 3);
    EXPECT_EQ(prefetcher.next().step, 0);
    EXPECT_EQ(prefetcher.next().step, 1);
    expect_error([&] { prefetcher.next(); }, {"no step 2"});
    expect_error([&] { prefetcher.next(); }, {"no step 2"});
    expect_error([&] { Prefetcher(Prefetcher::Source{}, 0, 1, 0); }, {"at least one batch"});
    expect_error([&] { Prefetcher(Prefetcher::Source{}, 2, 1); }, {"2, 1"});
}

}  // namespace
}  // namespace slimgrad
