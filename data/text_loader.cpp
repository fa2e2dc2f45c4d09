#include "data/text_loader.h"

#include <algorithm>
#include <utility>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::shared_ptr<const TextData> checked(std::shared_ptr<const TextData> data) {
    require(data != nullptr, "[loader] expected a data set, got none");
    data->check();
    return data;
}

}  // namespace

Tokens pad_tokens(const std::vector<const Encoding*>& texts, std::int64_t length,
                  std::int32_t pad) {
    const std::int64_t count = std::ssize(texts);
    const std::size_t total = static_cast<std::size_t>(count * length);
    Tokens tokens{length, std::vector<std::int32_t>(total, pad), std::vector<std::int32_t>(total),
                  Tensor::full({count, length}, 1)};
    for (std::int64_t i = 0; i < count; ++i) {
        const Encoding& text = *texts[static_cast<std::size_t>(i)];
        require(text.size() <= length, "[loader] expected texts of at most {} tokens, got {}",
                length, text.size());
        std::ranges::copy(text.ids, tokens.ids.begin() + i * length);
        std::ranges::copy(text.types, tokens.types.begin() + i * length);
        std::fill_n(tokens.key_padding.data() + i * length, text.size(), real{0});
    }
    return tokens;
}

TextLoader::TextLoader(std::shared_ptr<const TextData> data, const Tokenizer& tokenizer,
                       TextLoaderOptions options)
    : data_(checked(std::move(data))),
      options_(options),
      order_(data_->size(), {options.batch_size, options.shuffle, options.drop_last, options.seed},
             data_->name),
      pad_(tokenizer.pad()) {
    const std::int64_t shortest = data_->pairs() ? 5 : 3;  // a token each, [CLS] and [SEP]
    require(options_.max_length >= shortest,
            "[loader] {}: expected a maximal length of at least {} tokens, got {}", data_->name,
            shortest, options_.max_length);
    auto encodings = std::make_shared<std::vector<Encoding>>(data_->labels.size());
    for (std::size_t i = 0; i < encodings->size(); ++i) {
        Encoding& text = (*encodings)[i];
        try {
            text = data_->pairs() ? tokenizer.encode(data_->first[i], data_->second[i])
                                  : tokenizer.encode(data_->first[i]);
            if (text.size() <= options_.max_length) continue;
            ++truncated_;
            text = data_->pairs()
                       ? tokenizer.encode(data_->first[i], data_->second[i], options_.max_length)
                       : tokenizer.encode(data_->first[i], options_.max_length);
        } catch (const Error& error) {
            fail("[loader] {}: text {}: {}", data_->name, i, error.what());
        }
    }
    encodings_ = std::move(encodings);
}

Batch TextLoader::batch(std::int64_t step) const {
    Batch batch;
    batch.indices = order_.samples(step);
    batch.step = step;
    std::vector<const Encoding*> texts;
    std::int64_t longest = 0;
    for (const std::int64_t sample : batch.indices) {
        batch.labels.push_back(data_->labels[static_cast<std::size_t>(sample)]);
        texts.push_back(&(*encodings_)[static_cast<std::size_t>(sample)]);
        longest = std::max(longest, texts.back()->size());
    }
    batch.tokens = pad_tokens(
        texts, options_.pad_to == PadTo::max_length ? options_.max_length : longest, pad_);
    return batch;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
