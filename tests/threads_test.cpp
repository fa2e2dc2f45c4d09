#include <gtest/gtest.h>
#include <omp.h>

#include <thread>

#include "instant/calibrator.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "optim/optimizer.h"
#include "tensor/blas.h"
#include "tensor/meter.h"
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

}  // namespace
}  // namespace slimgrad
