#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "data/batch.h"
#include "data/image_data.h"
#include "data/picture_source.h"
#include "data/prefetcher.h"
#include "data/text_data.h"
#include "instant/cost/trace.h"
#include "nn/module.h"
#include "train/config.h"
#include "train/load_report.h"
#include "train/measurements.h"

namespace slimgrad {

/// One split of a data set in batches. Which samples a step sees, and how, is a function of the
/// step alone.
struct Split {
    std::function<Batch(std::int64_t step)> batch;  // may be called from several threads
    std::int64_t steps = 0;                         // of one pass
    std::string note{};                             // what a user should know of it, if anything
    std::int64_t workers = 1;                       // threads that make batches ahead

    /// The batches of steps first … end - 1, made ahead.
    Prefetcher ahead(std::int64_t first, std::int64_t end) const {
        return {batch, first, end, workers + 1, workers};
    }
};

/// What stands for the samples of both splits, in hexadecimal digits: data that were changed have
/// others.
struct DataDigests {
    std::string train, test;
};
std::string digest_of(const ImageData& data);
std::string digest_of(const TextData& data);
/// Of names, sizes of files and labels; of images in memory, of their pixels.
std::string digest_of(const PictureSource& pictures);

/// What a run learns: batches of images or of texts, a model that reads them, and how it is judged.
/// Nothing else in train/ knows of what kind the data are.
class Task {
  public:
    virtual ~Task() = default;

    virtual Split train() const = 0;
    virtual Split test() const = 0;
    /// The model with its initial weights, frozen where the run freezes it.
    virtual std::unique_ptr<Module> model() const = 0;
    /// Reads the weights that a run begins from (`config.from`). Throws Error that names the file
    /// and lists what does not fit.
    virtual LoadReport load(Module& model) const = 0;
    /// What a user should know of the files that the model is made of.
    virtual std::vector<std::string> notes() const { return {}; }
    /// What was said of data that could not be read and were passed over so far, as the run was
    /// asked to do.
    virtual std::set<std::string> passed_over() const { return {}; }
    /// Writes into the directory of a new run what its model is made of, beside the weights:
    /// open_task() then needs no other place. Nothing for images, whose models are known by their
    /// name.
    virtual void save(const std::filesystem::path& /*run*/) const {}

    /// How predictions are judged: accuracy, and of some texts others.
    const std::vector<std::string>& metrics() const { return metrics_; }
    /// What calling every test sample by the most frequent class of the training set is worth.
    const Scores& baseline() const { return baseline_; }
    const DataDigests& digests() const { return digests_; }

  protected:
    /// Of the splits as they are used: their metrics and labels.
    Task(std::vector<std::string> metrics, const PictureSource& train, const PictureSource& test)
        : Task(std::move(metrics), train.labels(), test.labels(),
               {digest_of(train), digest_of(test)}) {}
    template <class Data>
    Task(std::vector<std::string> metrics, const Data& train, const Data& test)
        : Task(std::move(metrics), train.labels, test.labels, {digest_of(train), digest_of(test)}) {
    }

  private:
    Task(std::vector<std::string> metrics, const std::vector<std::int32_t>& train_labels,
         const std::vector<std::int32_t>& test_labels, DataDigests digests);

    std::vector<std::string> metrics_;
    Scores baseline_;
    DataDigests digests_;
};

/// Whether a data set holds texts. Throws Error for an unknown name and lists the known ones.
bool is_text(const std::string& data);

/// The configuration with what depends on others filled in: the model's name, and for images the
/// dropout. Throws Error if `from` is needed for that and cannot be read, or of another kind.
TrainConfig resolved(TrainConfig config);

/// Throws Error if `from` is a run on texts and the data are images, or the other way round.
void require_same_kind(const TrainConfig& config);

/// Reads the data of a run. `run` is its directory if it exists already: its model is then made
/// from what save() has left there, otherwise from the configuration. Throws Error, one line, for
/// data, vocabularies and checkpoints that cannot be read or do not fit.
std::unique_ptr<Task> open_task(const TrainConfig& config, const std::filesystem::path& run = {});

/// The model of a task, changed as the method of the run wants it: with adapters, say.
std::unique_ptr<Module> model_to_train(const Task& task, const TrainConfig& config);

/// The logits (B, classes) of a batch, by a model of images or of texts.
Var logits(Module& model, Tape& tape, const Batch& batch);
/// The linear maps that a training step on such a batch executes.
std::vector<LinearShape> linear_shapes(Module& model, const Batch& batch);

}  // namespace slimgrad
