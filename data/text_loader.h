#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/batch.h"
#include "data/sample_order.h"
#include "data/text_data.h"
#include "data/tokenizer.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// To what length the texts of a batch are filled up.
enum class PadTo { max_length, longest_of_batch };

struct TextLoaderOptions {
    std::int64_t batch_size = 32;
    bool shuffle = true;
    bool drop_last = true;          // leave out the samples that do not fill a batch
    std::int64_t max_length = 128;  // tokens of a text or pair with [CLS] and [SEP]; more are cut
    PadTo pad_to = PadTo::max_length;  // projectors along the tokens need one length for all
    std::uint64_t seed = 0;
};

/// Batches of texts as a pure function of the step, in the order of SampleOrder: the same seed
/// gives the same order as for images. All texts are tokenized once, at the beginning. Safe to use
/// from several threads; copies share the data.
class TextLoader {
  public:
    /// Throws Error if the data set is inconsistent, smaller than one batch that must be full, or
    /// holds a text that is not UTF-8, and for a max_length that leaves no room for a token of each
    /// text.
    TextLoader(std::shared_ptr<const TextData> data, const Tokenizer& tokenizer,
               TextLoaderOptions options);
    std::int64_t steps_per_epoch() const { return order_.steps_per_epoch(); }
    const TextData& data() const { return *data_; }
    const TextLoaderOptions& options() const { return options_; }
    /// How many texts or pairs were longer than max_length and have been cut.
    std::int64_t truncated() const { return truncated_; }
    /// Throws Error for a negative step.
    Batch batch(std::int64_t step) const;

  private:
    std::shared_ptr<const TextData> data_;
    TextLoaderOptions options_;
    SampleOrder order_;
    std::shared_ptr<const std::vector<Encoding>> encodings_;
    std::int64_t truncated_ = 0;
    std::int32_t pad_;
};

/// Fills texts up to `length` tokens with the id `pad` and type 0. Throws Error if one is longer.
Tokens pad_tokens(const std::vector<const Encoding*>& texts, std::int64_t length, std::int32_t pad);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
