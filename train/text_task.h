#pragma once

#include "data/text_data.h"
#include "data/text_loader.h"
#include "train/pretrained.h"
#include "train/task.h"

namespace slimgrad {

/// Texts for a model of BERT's family. Its sizes and vocabulary are those of the run, if that
/// exists; else those of `from`, a directory of Hugging Face or another run; else those of a preset
/// with `vocab`, for weights of slimgrad (`from` is a file) or none.
///
/// In training all texts have max_length tokens, as projectors along the tokens need it, unless
/// `pad` says that those of a batch have as many as the longest of them. So it is always in
/// evaluation; it changes no logit, as padding is masked.
class TextTask final : public Task {
  public:
    TextTask(const TrainConfig& config, const std::filesystem::path& run);
    Split train() const override;
    Split test() const override;
    std::unique_ptr<Module> model() const override;
    LoadReport load(Module& model) const override;
    std::vector<std::string> notes() const override { return made_of_.tokenizer.notes(); }
    void save(const std::filesystem::path& run) const override;

  private:
    TextTask(const TrainConfig& config, const std::filesystem::path& run, TextSplits splits);
    Split split_of(const std::shared_ptr<const TextData>& data,
                   const TextLoaderOptions& options) const;

    TrainConfig config_;
    Pretrained made_of_;
    LabelMatch labels_;  // of what the run begins from
    std::shared_ptr<const TextData> train_, test_;
};

/// The preset with the sizes of `from`, or "bert" if there is none; "bert-tiny" without `from`.
std::string default_text_model(const TrainConfig& config);

}  // namespace slimgrad
