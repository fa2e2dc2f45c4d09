#include "data/text_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "data/loader.h"
#include "data/prefetcher.h"
#include "data/shipped.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

using Ids = std::vector<std::int32_t>;

Tokenizer letters() {
    std::vector<std::string> tokens{"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
    for (char c = 'a'; c <= 'z'; ++c) tokens.emplace_back(1, c);
    return Tokenizer(Vocabulary(tokens, "[test]"), {}, {}, "[test]");
}

/// n texts or pairs; the first sentence of text i has i mod 5 + 1 words, the second 2.
std::shared_ptr<TextData> texts(std::int64_t n, bool pairs) {
    auto data = std::make_shared<TextData>();
    data->name = "made";
    data->classes = {"even", "odd"};
    for (std::int64_t i = 0; i < n; ++i) {
        std::string text;
        for (std::int64_t word = 0; word <= i % 5; ++word)
            text += std::string(1, static_cast<char>('a' + (i + word) % 26)) + " ";
        data->first.push_back(text);
        if (pairs) data->second.push_back("y z");
        data->labels.push_back(static_cast<std::int32_t>(i % 2));
    }
    return data;
}

TextLoaderOptions options(std::int64_t batch_size, std::int64_t max_length, PadTo pad_to,
                          bool shuffle = false) {
    TextLoaderOptions made;
    made.batch_size = batch_size;
    made.max_length = max_length;
    made.pad_to = pad_to;
    made.shuffle = shuffle;
    made.drop_last = false;
    made.seed = 3;
    return made;
}

std::vector<real> values(const Tensor& tensor) {
    return {tensor.values().begin(), tensor.values().end()};
}

TEST(TextLoader, FillsTextsUpToOneLength) {
    const TextLoader loader(texts(3, true), letters(), options(2, 8, PadTo::max_length));
    EXPECT_EQ(loader.steps_per_epoch(), 2);
    const Batch batch = loader.batch(0);
    EXPECT_EQ(batch.tokens.shape(), (Shape{2, 8}));
    EXPECT_EQ(batch.tokens.ids, (Ids{2, 4, 3, 28, 29, 3, 0, 0,  //
                                     2, 5, 6, 3, 28, 29, 3, 0}));
    EXPECT_EQ(batch.tokens.types, (Ids{0, 0, 0, 1, 1, 1, 0, 0,  //
                                       0, 0, 0, 0, 1, 1, 1, 0}));
    EXPECT_EQ(batch.tokens.key_padding.shape(), (Shape{2, 8}));
    EXPECT_EQ(values(batch.tokens.key_padding),
              (std::vector<real>{0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1}));
    EXPECT_EQ(batch.labels, (Ids{0, 1}));
    EXPECT_FALSE(batch.x.defined());
    EXPECT_EQ(loader.batch(1).size(), 1);
    EXPECT_EQ(loader.truncated(), 0);
}

TEST(TextLoader, OrToTheLongestOfTheBatch) {
    const TextLoader loader(texts(4, false), letters(), options(2, 100, PadTo::longest_of_batch));
    EXPECT_EQ(loader.batch(0).tokens.ids, (Ids{2, 4, 3, 0, 2, 5, 6, 3}));
    EXPECT_EQ(loader.batch(1).tokens.length, 6);
    EXPECT_EQ(values(loader.batch(1).tokens.key_padding),
              (std::vector<real>{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}));
}

TEST(TextLoader, CutsTheLongestFirstAndCounts) {
    const TextLoader loader(texts(5, true), letters(), options(5, 7, PadTo::longest_of_batch));
    EXPECT_EQ(loader.truncated(), 3);  // texts 2, 3 and 4 have 8, 9 and 10 tokens
    const Batch batch = loader.batch(0);
    EXPECT_EQ(batch.tokens.length, 7);
    EXPECT_EQ(Ids(batch.tokens.ids.end() - 7, batch.tokens.ids.end()),
              (Ids{2, 8, 9, 3, 28, 29, 3}));
}

TEST(TextLoader, TheOrderIsThatOfImages) {
    auto images = std::make_shared<ImageData>();
    images->name = "made";
    images->channels = images->height = images->width = 1;
    images->classes = {"one"};
    images->mean = {0};
    images->std = {1};
    images->pixels.resize(23);
    images->labels.resize(23);
    LoaderOptions image_options;
    image_options.batch_size = 4;
    image_options.seed = 3;
    const Loader loader(images, image_options);
    TextLoaderOptions text_options = options(4, 16, PadTo::max_length, true);
    text_options.drop_last = true;
    const TextLoader text_loader(texts(23, true), letters(), text_options);
    std::set<std::int64_t> seen;
    for (std::int64_t step = 0; step < 12; ++step) {
        const Batch batch = text_loader.batch(step);
        EXPECT_EQ(batch.indices, loader.batch(step).indices);
        EXPECT_EQ(batch.step, step);
        for (std::int64_t i = 0; i < batch.size(); ++i)
            EXPECT_EQ(batch.labels[static_cast<std::size_t>(i)],
                      batch.indices[static_cast<std::size_t>(i)] % 2);
        if (step < 5) seen.insert(batch.indices.begin(), batch.indices.end());
    }
    EXPECT_EQ(seen.size(), 20u);
    EXPECT_NE(text_loader.batch(0).indices, text_loader.batch(5).indices);
}

TEST(TextLoader, TheSameBitsAheadOfTimeAndInParts) {
    const TextLoader loader(texts(30, true), letters(),
                            options(7, 10, PadTo::longest_of_batch, true));
    Prefetcher ahead(loader, 2, 9);
    for (std::int64_t step = 2; step < 9; ++step) {
        const Batch batch = loader.batch(step);
        EXPECT_EQ(digest(ahead.next()), digest(batch));
        const Batch part = batch.part(1, batch.size() - 1);
        const std::int64_t length = batch.tokens.length;
        EXPECT_EQ(part.tokens.ids, Ids(batch.tokens.ids.begin() + length, batch.tokens.ids.end()));
        EXPECT_EQ(part.tokens.types.size(), part.tokens.ids.size());
        EXPECT_EQ(part.tokens.key_padding.shape(), (Shape{batch.size() - 1, length}));
        EXPECT_EQ(part.tokens.shape(), part.tokens.key_padding.shape());
    }
    Batch other = loader.batch(2);
    const std::uint64_t before = digest(other);
    other.tokens.ids[3] += 1;
    EXPECT_NE(digest(other), before);
}

TEST(TextLoader, BadInput) {
    const Tokenizer tokenizer = letters();
    const auto make = [&](std::shared_ptr<TextData> data, std::int64_t batch, std::int64_t length) {
        TextLoaderOptions made = options(batch, length, PadTo::max_length);
        made.drop_last = true;
        TextLoader(std::move(data), tokenizer, made);
    };
    expect_error([&] { make(nullptr, 1, 16); }, {"a data set, got none"});
    expect_error([&] { make(std::make_shared<TextData>(), 1, 16); }, {"at least one text"});
    expect_error([&] { make(texts(3, true), 4, 16); }, {"one batch of 4", "3 samples in made"});
    expect_error([&] { make(texts(3, true), 0, 16); }, {"batch size of at least 1, got 0"});
    expect_error([&] { make(texts(3, true), 1, 4); }, {"made", "at least 5 tokens, got 4"});
    expect_error([&] { make(texts(3, false), 1, 2); }, {"made", "at least 3 tokens, got 2"});
    auto broken = texts(3, true);
    broken->second[1] = "a\xff";
    expect_error([&] { make(broken, 1, 16); }, {"made: text 1", "UTF-8, byte 1"});
    const TextLoader loader(texts(3, true), tokenizer, options(1, 16, PadTo::max_length));
    expect_error([&] { loader.batch(-1); }, {"a step of at least 0, got -1"});
    expect_error([&] { loader.batch(0).part(0, 2); }, {"no part of 2"});
    const Encoding text = tokenizer.encode("a b c");
    expect_error([&] { pad_tokens({&text}, 4, 0); }, {"at most 4 tokens, got 5"});
}

TEST(TextLoader, EmbeddedText) {
    const TextSplits splits = load_text("embedded-text", "");
    const TextLoader loader(std::make_shared<TextData>(splits.train),
                            Tokenizer::open(find_shipped("embedded-text")),
                            options(32, 64, PadTo::max_length, true));
    EXPECT_EQ(loader.batch(5).tokens.shape(), (Shape{32, 64}));
    EXPECT_GT(loader.truncated(), 0);
    EXPECT_LT(loader.truncated(), 300);
}

}  // namespace
}  // namespace slimgrad
