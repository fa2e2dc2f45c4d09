// A directory of Hugging Face as a whole: config.json, vocabulary and weights, with zeros between
// them.
#include "train/pretrained.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    static const Directory directory;
    directory.put("config.json", take_part(input));
    directory.put("vocab.txt", take_part(input));
    directory.put("model.safetensors", input);
    refuse_or_accept([&] {
        const Pretrained opened = open_pretrained(directory.path());
        std::int64_t count = 0;
        const auto model = make_text_model(opened.config);
        for (const Parameter* p : parameters(*model)) count += p->value.numel();
        // A byte of the file may be a value, and a head may be fresh.
        const std::int64_t width = opened.config.hidden_size;
        expect(count <= std::ssize(input) + (width + 1) * (width + opened.config.classes + 1),
               "a model is no larger than its file");
        const LabelMatch labels = match_labels(opened.labels, {"no", "yes"});
        const LoadReport report = load_pretrained(directory.path(), *model, labels);
        expect(to_string(report).find('\n') == std::string::npos, "a report has one line");
        const Encoding text = opened.tokenizer.encode("the cat", 5);
        const Tokens tokens{text.size(), text.ids, text.types, Tensor::zeros({1, text.size()})};
        Tape tape({.training = false, .recording = false});
        const Tensor y = model->forward(tape, tokens).value();
        expect(y.shape() == Shape{1, opened.config.classes}, "a text has its logits");
    });
}
