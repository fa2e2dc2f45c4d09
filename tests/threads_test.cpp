#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <functional>
#include <thread>

#include "autograd/ops.h"
#include "data/prefetcher.h"
#include "instant/calibration/calibrator.h"
#include "nn/linear.h"
#include "nn/linear_map.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "optim/optimizer.h"
#include "tensor/allocator.h"
#include "tensor/blas.h"
#include "tensor/linalg.h"
#include "tensor/meter.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

/// What a training leaves behind.
struct Trained {
    std::vector<Tensor> parameters;
    std::int64_t flops = 0;
    int threads = 0;  // of its kernels
};

/// Three steps of a small transformer by INSTANT, from one seed.
Trained train(std::uint64_t seed) {
    const ModelConfig config{.channels = 1, .height = 16, .width = 16, .classes = 3, .seed = seed};
    const std::unique_ptr<Module> model = make_model("vit-micro", config);
    const auto optimizer = make_optimizer(*model, {.lr = 0.01});
    MethodOptions options;
    options.method = "instant";
    options.rank_x = options.rank_g = 4;
    Calibrator calibrator(*model, options);
    Stream stream(seed, "images");
    const Tensor x = normal({6, 1, 16, 16}, 0, 1, stream);
    const std::vector<std::int32_t> labels{0, 1, 2, 2, 1, 0};
    Trained result;
    const auto run = [&] {
        Tape tape;
        result.threads = omp_get_max_threads();
        tape.backward(cross_entropy(model->forward(tape.constant(x)), labels));
    };
    meter().reset();
    calibrator.calibrate(run);
    for (int step = 0; step < 3; ++step) {
        run();
        optimizer->step();
        zero_grad(*model);
    }
    for (Parameter* p : parameters(*model)) result.parameters.push_back(p->value.clone());
    result.flops = meter().total();
    return result;
}

void expect_equal(const Trained& a, const Trained& b) {
    EXPECT_EQ(a.flops, b.flops);
    ASSERT_EQ(a.parameters.size(), b.parameters.size());
    for (std::size_t i = 0; i < a.parameters.size(); ++i)
        EXPECT_TRUE(identical(a.parameters[i], b.parameters[i])) << i;
}

// A process with threads of its own: models that train side by side neither see each other's
// counts nor change each other's bits, and the choice of threads holds in all of them.
TEST(Threads, TrainingsSideBySideAreAsTrainingsInTurn) {
    const int before = threads();
    for (const int count : {1, 2}) {
        set_threads(count);
        const Trained first = train(1), second = train(2);
        Trained beside_first, beside_second;
        std::thread one([&] { beside_first = train(1); });
        std::thread other([&] { beside_second = train(2); });
        one.join();
        other.join();
        expect_equal(first, beside_first);
        expect_equal(second, beside_second);
        EXPECT_EQ(beside_first.threads, count);
        EXPECT_EQ(beside_second.threads, count);
    }
    set_threads(before);
}

/// Runs work(0) … work(count - 1), each in a thread of its own.
void in_threads(int count, const std::function<void(int)>& work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
}

constexpr int rounds = 300;

// First of all in its process: OpenBLAS's kernels are chosen by whoever comes first.
TEST(Threads, TheFirstProductsMayRunAnywhere) {
    std::vector<double> sums(4);
    in_threads(4, [&](int i) {
        Stream stream(1, "test");
        const Tensor a = normal({65, 65}, 0, 1, stream);
        sums[static_cast<std::size_t>(i)] =
            sum(matmul(a, a)) + eigh(matmul(a, a, Op::none, Op::transpose)).sum;
    });
    for (const double value : sums) EXPECT_EQ(value, sums[0]);
}

TEST(Threads, TapesThatKeepOneTensorLeaveTheLedgerAsItWas) {
    const Tensor shared = Tensor::full({28}, 1);
    Parameter weight(Tensor::full({28}, 2));
    weight.requires_grad = false;
    const Held before = ledger()[Category::saved];
    const std::int64_t live = ledger().total().live;
    std::atomic<bool> bad = false, running = true;
    std::thread reader([&] {
        while (running) {
            bad = bad || ledger()[Category::saved].live < before.live;
            ledger().saved_by_layer();
        }
    });
    in_threads(4, [&](int) {
        for (int i = 0; i < rounds; ++i) {
            Tape tape;
            const Var x = tape.input(shared);
            const Var y = exp(x * tape.parameter(weight)) + log(x) * x;
            if (i % 2 == 0) tape.backward(sum(y));
        }
    });
    running = false;
    reader.join();
    EXPECT_FALSE(bad);
    EXPECT_EQ(ledger()[Category::saved].live, before.live);
    EXPECT_TRUE(ledger().saved_by_layer().empty());
    EXPECT_EQ(ledger().total().live, live);
}

TEST(Threads, ABufferMayMoveInTheLedgerWhileItIsKept) {
    const std::int64_t live = ledger().total().live;
    {
        Tensor shared = Tensor::full({64}, 1);
        in_threads(2, [&](int i) {
            Tensor mine = shared;
            for (int round = 0; round < rounds; ++round) {
                if (i == 0) {
                    mine.mark(round % 2 == 0 ? Category::gradients : Category::workspace);
                } else {
                    const Hold hold(mine.storage());
                    mine.storage()->changed();
                    EXPECT_GT(mine.storage()->version(), 0u);
                }
            }
        });
        shared.mark(Category::workspace);
    }
    EXPECT_EQ(ledger().total().live, live);
    EXPECT_EQ(ledger()[Category::saved].live, 0);
}

TEST(Threads, BuffersComeAndGoInAllOfThem) {
    const std::int64_t live = allocator::live_bytes();
    std::atomic<bool> shared_memory = false;
    in_threads(4, [&](int i) {
        const auto mark = static_cast<real>(i + 1);
        for (int round = 0; round < rounds; ++round) {
            const Tensor large = Tensor::full({4096 + 64 * round}, mark);
            const Tensor small = Tensor::full({8}, mark);
            for (const Tensor& t : {large, small})
                for (const real value : t.values()) shared_memory = shared_memory || value != mark;
            if (round % 64 == 0) allocator::trim();
        }
        EXPECT_GE(allocator::reserved_bytes(), allocator::live_bytes() - 64);
    });
    EXPECT_FALSE(shared_memory);
    EXPECT_EQ(allocator::live_bytes(), live);
}

// The number of threads may be changed by anyone at any time, whatever is being multiplied.
TEST(Threads, TheirNumberMayChangeDuringProducts) {
    const int before = threads();
    Stream stream(1, "test");
    const Tensor a = normal({129, 130}, 0, 1, stream), b = normal({130, 131}, 0, 1, stream);
    set_threads(1);
    const Tensor expected = matmul(a, b);
    const double spectrum = eigh(matmul(a, a, Op::none, Op::transpose)).sum;
    std::atomic<bool> running = true;
    std::thread changing([&] {
        for (int count = 1; running; count = 3 - count) set_threads(count);
    });
    in_threads(3, [&](int) {
        for (int round = 0; round < 40; ++round) {
            const Tensor product = matmul(a, b);
            for (std::int64_t i = 0; i < product.numel(); ++i)
                ASSERT_NEAR(product.data()[i], expected.data()[i], 1e-4);
            ASSERT_NEAR(eigh(matmul(a, a, Op::none, Op::transpose)).sum, spectrum, 1e-4 * spectrum);
        }
    });
    running = false;
    changing.join();
    set_threads(before);
}

// Forward without running statistics, and walks, only read a model.
TEST(Threads, OneModelMayBeEvaluatedInAllOfThem) {
    const ModelConfig config{.channels = 1, .height = 16, .width = 16, .classes = 3};
    const std::unique_ptr<Module> model = make_model("vit-micro", config);
    Stream stream(1, "images");
    const Tensor x = normal({2, 1, 16, 16}, 0, 1, stream);
    const auto logits = [&] {
        Tape tape({.training = false, .recording = false});
        return model->forward(tape.constant(x)).value();
    };
    const Tensor expected = logits();
    const std::size_t layers = linear_maps(*model).size();
    in_threads(4, [&](int) {
        for (int round = 0; round < 5; ++round) {
            EXPECT_TRUE(identical(logits(), expected));
            EXPECT_EQ(linear_maps(*model).size(), layers);
            for (const LinearMap* layer : linear_maps(*model))
                EXPECT_FALSE(layer->input_group().empty());
        }
    });
}

// With inputs in the place of parameters two backwards may share a layer's rule and its tensors.
TEST(Threads, OneRuleMayServeTapesInAllOfThem) {
    Stream stream(1, "test");
    const Tensor w = normal({6, 5}, 0, 1, stream), x = normal({2, 4, 5}, 0, 1, stream);
    const auto rule = ExactRule::instance();
    const Tensor expected = linear_gx(linear_forward(x, w), w);
    in_threads(4, [&](int) {
        for (int round = 0; round < rounds / 10; ++round) {
            Saved saved({true, true});
            const auto op = std::make_shared<TokenOperator>(x.shape());
            const LinearCall call{op, w, {true, true, false}};
            const Tensor y = rule->forward({op, x}, saved, call);
            EXPECT_TRUE(identical(rule->backward({op, y}, saved, call).gx, expected));
        }
    });
}

TEST(Threads, BatchesAreReadAheadBesideTraining) {
    const auto source = [](std::int64_t step) {
        Batch batch;
        batch.x = Tensor::full({4, 8}, static_cast<real>(step));
        batch.labels = {0, 1, 0, 1};
        batch.step = step;
        return batch;
    };
    Prefetcher first(source, 0, 40), second(source, 5, 45);
    in_threads(2, [&](int i) {
        Prefetcher& mine = i == 0 ? first : second;
        Stream stream(1, "test");
        Linear layer(8, 2, stream);
        for (int step = 0; step < 40; ++step) {
            const Batch batch = mine.next();
            EXPECT_EQ(batch.x.at({0, 0}), static_cast<real>(step + 5 * i));
            Tape tape;
            tape.backward(cross_entropy(layer.forward(tape.constant(batch.x)), batch.labels));
        }
    });
    EXPECT_EQ(ledger()[Category::saved].live, 0);
}

}  // namespace
}  // namespace slimgrad
