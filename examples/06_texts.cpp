// 06: a transformer on texts. A tokenizer makes pairs of sentences into tokens, a tiny BERT that
// knows nothing yet reads them, INSTANT projects along the tokens, and F1 stands beside what the
// majority class gets. So few pairs teach it little: the point is how the parts fit.

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "slimgrad.h"

using namespace slimgrad;

/// The class of the largest logit of each text of a split, and the labels.
struct Predictions {
    std::vector<std::int32_t> predicted, labels;
};

Predictions predict(TextModel& model, const TextLoader& loader) {
    TapeOptions evaluation;
    evaluation.training = evaluation.recording = false;
    Predictions all;
    for (std::int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
        const Batch batch = loader.batch(step);
        Tape tape(evaluation);
        const Var y = model.forward(tape, batch.tokens);  // (B, classes)
        for (std::int64_t b = 0; b < batch.size(); ++b) {
            const auto logits = y.value().rows(b, 1).values();
            const auto largest = std::ranges::max_element(logits) - logits.begin();
            all.predicted.push_back(static_cast<std::int32_t>(largest));
        }
        all.labels.insert(all.labels.end(), batch.labels.begin(), batch.labels.end());
    }
    return all;
}

int main() {
    TextSplits splits = load_text("embedded-text", "");
    splits.train.truncate(256);
    splits.test.truncate(100);
    const Tokenizer tokenizer = Tokenizer::open(find_shipped("embedded-text") / "vocab.txt");

    // Projectors along the tokens need texts of one length; the padding is hidden from attention.
    TextLoaderOptions options;
    options.batch_size = 16;
    options.max_length = 64;
    const TextLoader train(std::make_shared<TextData>(splits.train), tokenizer, options);
    options.shuffle = options.drop_last = false;
    options.pad_to = PadTo::longest_of_batch;
    const TextLoader test(std::make_shared<TextData>(splits.test), tokenizer, options);

    const Batch first = train.batch(0);
    fmt::print("{} against {}\n", splits.train.first[0], splits.train.second[0]);
    fmt::print("a batch: {} texts of {} tokens\n", first.size(), first.tokens.length);

    BertConfig sizes = bert_preset("bert-tiny");
    sizes.vocab_size = tokenizer.vocabulary().size();
    const auto model = make_text_model(sizes);
    const auto optimizer = make_optimizer(*model, {.name = "adamw", .lr = 5e-4});
    Calibrator calibrator(*model, {.method = "instant", .epsilon = 0.95, .oversample = 7});

    const auto loss_of = [&](Tape& tape, const Batch& batch) {
        return cross_entropy(model->forward(tape, batch.tokens), batch.labels);
    };
    calibrator.calibrate([&] {
        for (std::int64_t i = 0; i < 3; ++i) {
            TapeOptions calibration;
            calibration.update_statistics = false;
            Tape tape(calibration);
            tape.backward(loss_of(tape, train.batch(i)));
        }
    });
    for (const LayerRanks& layer : calibrator.ranks())
        if (layer.rank_x)
            fmt::print("{:22} keeps {} of {} tokens of x, {} of g\n", layer.name, *layer.rank_x,
                       options.max_length, *layer.rank_g);

    double last = 0;
    for (std::int64_t step = 0; step < 2 * train.steps_per_epoch(); ++step) {
        const Batch batch = train.batch(step);
        zero_grad(*model);
        TapeOptions training;
        training.step = static_cast<std::uint64_t>(step);  // another dropout mask each step
        Tape tape(training);
        const Var loss = loss_of(tape, batch);
        tape.backward(loss);
        optimizer->step();
        last = loss.value().item();
    }
    const Predictions all = predict(*model, test);
    const std::int32_t majority = majority_class(splits.train.labels);
    fmt::print("loss {:.3f}\n", last);
    for (const std::string& metric_name : splits.test.metrics)
        fmt::print("{}: {:.1f} %, the majority class {:.1f} %\n", metric_name,
                   100 * metric(metric_name, all.predicted, all.labels),
                   100 * baseline(metric_name, majority, all.labels));
    return last < 1 ? 0 : 1;
}
