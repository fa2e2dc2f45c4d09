#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace slimgrad {

/// Labelled sentences, or labelled pairs of them.
struct TextData {
    std::string name;
    std::vector<std::string> classes;        // names, in the order of the labels
    std::vector<std::string> metrics;        // how predictions are judged (data/metrics.h)
    std::vector<std::string> first, second;  // second: of pairs only, else empty
    std::vector<std::int32_t> labels;        // 0 … classes.size() - 1

    std::int64_t size() const { return std::ssize(labels); }
    bool pairs() const { return !second.empty(); }
    /// Keeps the first `limit` samples; 0 keeps all.
    void truncate(std::int64_t limit);
    /// Throws Error unless there is a sample and sizes and labels fit together.
    void check() const;
};

/// `test` is what a model is judged by. GLUE keeps the labels of its own test sets to itself: here
/// it is the development set.
struct TextSplits {
    TextData train, test;
};

/// The data sets that load_text knows.
std::vector<std::string> text_data_names();
/// Reads a data set from `directory`, or from the folder that GLUE gives it in there:
/// - "mrpc", GLUE's split: train.tsv and dev.tsv, or msr_paraphrase_train.txt with the list of
///   GLUE's development pairs, mrpc_dev_ids.tsv (or dev_ids.tsv); there is no other way to know it;
/// - "mrpc-msr", the authors' split: msr_paraphrase_train.txt and msr_paraphrase_test.txt;
/// - "cola", "rte", "sst2", "qnli", "mnli" (judged on matched genres) and "mnli-mm" (on mismatched
///   ones): the TSV files of GLUE; "paws-wiki": train.tsv and dev.tsv;
/// - "embedded-text", by default from the files that ship with slimgrad.
/// Throws Error that names the file, the line in it and what was expected.
TextSplits load_text(const std::string& name, const std::string& directory);

}  // namespace slimgrad
