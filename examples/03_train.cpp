// 03: training, with nothing hidden. A two-layer perceptron learns the images that ship with
// slimgrad; the loop is the one that every framework runs: forward, loss, backward, update.

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "slimgrad.h"

using namespace slimgrad;

/// The share of images whose largest logit is the right one.
double accuracy(Module& model, const Loader& loader) {
    TapeOptions evaluation;
    evaluation.training = evaluation.recording = false;  // nothing is saved
    std::int64_t right = 0, seen = 0;
    for (std::int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
        const Batch batch = loader.batch(step);
        Tape tape(evaluation);
        const Var y = model.forward(tape.constant(batch.x));
        for (std::int64_t b = 0; b < batch.size(); ++b) {
            const auto logits = y.value().rows(b, 1).values();
            right += std::ranges::max_element(logits) - logits.begin() == batch.labels[b];
        }
        seen += batch.size();
    }
    return static_cast<double>(right) / static_cast<double>(seen);
}

int main() {
    const ImageSplits splits = load_images("embedded-images", "");
    LoaderOptions options;
    options.batch_size = 100;
    const Loader train(std::make_shared<ImageData>(splits.train), options);
    options.shuffle = false;
    const Loader test(std::make_shared<ImageData>(splits.test), options);

    Stream stream(0, "weights");
    Sequential model;
    model.add<Flatten>();
    model.add<Linear>(28 * 28, 64, stream);
    model.add<ReLU>();
    model.add<Linear>(64, 10, stream);
    name_modules(model);

    OptimizerOptions adam;
    adam.name = "adamw";
    adam.lr = 2e-3;
    const auto optimizer = make_optimizer(model, adam);

    fmt::print("{} training images, {} test images; accuracy before: {:.1f} %\n",
               train.data().size(), test.data().size(), 100 * accuracy(model, test));
    double last = 0;
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        double loss_sum = 0;
        for (std::int64_t i = 0; i < train.steps_per_epoch(); ++i) {
            const Batch batch = train.batch(epoch * train.steps_per_epoch() + i);
            zero_grad(model);
            Tape tape;
            const Var loss = cross_entropy(model.forward(tape.constant(batch.x)), batch.labels);
            tape.backward(loss);
            optimizer->step();
            loss_sum += loss.value().item();
        }
        last = accuracy(model, test);
        fmt::print("epoch {}: training loss {:.3f}, test accuracy {:.1f} %\n", epoch + 1,
                   loss_sum / static_cast<double>(train.steps_per_epoch()), 100 * last);
    }
    return last > 0.7 ? 0 : 1;
}
