// What slimgrad computes with a checkpoint and the first pairs of MRPC's test set, for
// compare_pretrained.py to compare with transformers:
//
//   bert_values CHECKPOINT MRPC COUNT MAX_LENGTH OUT
//
// writes OUT/values.safetensors (inputs, hidden states, logits, loss, all gradients in the names of
// transformers) and OUT/model (the checkpoint with the classifier that was used).
#include <fmt/format.h>

#include <cstdlib>

#include "data/safetensors.h"
#include "data/text_loader.h"
#include "nn/losses.h"
#include "nn/models/bert_names.h"
#include "train/pretrained.h"

namespace slimgrad {
namespace {

std::vector<std::int64_t> wide(const std::vector<std::int32_t>& values) {
    return {values.begin(), values.end()};
}

void write_values(const std::string& checkpoint, const std::string& mrpc, std::int64_t count,
                  std::int64_t max_length, const std::filesystem::path& out) {
    Pretrained pretrained = open_pretrained(checkpoint);
    pretrained.config.classes = 2;
    const std::unique_ptr<TextModel> model = make_text_model(pretrained.config);
    fmt::print("{}\n", to_string(load_pretrained(checkpoint, *model)));
    save_pretrained(out / "model", *model, pretrained.tokenizer);

    auto data = std::make_shared<TextData>(load_text("mrpc-msr", mrpc).test);
    data->truncate(count);
    TextLoaderOptions options;
    options.batch_size = count;
    options.shuffle = false;
    options.max_length = max_length;
    options.pad_to = PadTo::longest_of_batch;
    const TextLoader loader(data, pretrained.tokenizer, options);
    const Batch batch = loader.batch(0);

    SafeTensorsWriter file;
    file.add_integers("ids", wide(batch.tokens.ids));
    file.add_integers("types", wide(batch.tokens.types));
    file.add_integers("labels", wide(batch.labels));
    file.add("padding", batch.tokens.key_padding);
    {
        Tape tape({.training = false, .recording = false});
        const std::vector<Var> states = model->hidden_states(tape, batch.tokens);
        for (std::size_t i = 0; i < states.size(); ++i)
            file.add(fmt::format("hidden.{}", i), states[i].value());
    }
    Tape tape({.training = false});
    const Var logits = model->forward(tape, batch.tokens);
    const Var loss = cross_entropy(logits, batch.labels);
    tape.backward(loss);
    file.add("logits", logits.value());
    file.add("loss", loss.value());
    for_each_parameter(*model, [&](const std::string& name, Parameter& parameter) {
        file.add("grad/" + hugging_face_name(model->config(), name), parameter.grad.dense());
    });
    file.write(out / "values.safetensors");
}

}  // namespace
}  // namespace slimgrad

int main(int argc, char** argv) {
    if (argc != 6) {
        fmt::print(stderr, "usage: bert_values CHECKPOINT MRPC COUNT MAX_LENGTH OUT\n");
        return 2;
    }
    try {
        slimgrad::write_values(argv[1], argv[2], std::atoll(argv[3]), std::atoll(argv[4]), argv[5]);
    } catch (const slimgrad::Error& error) {
        fmt::print(stderr, "bert_values: {}\n", error.what());
        return 2;
    }
    return 0;
}
