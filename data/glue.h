#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text_data.h"

namespace slimgrad {

/// Where the sentences and labels of one data set stand: a task of GLUE (Wang et al. 2019,
/// https://gluebenchmark.com) or one laid out in the same way.
struct GlueTask {
    std::string_view name;
    std::string_view folder;                // that it unpacks to
    std::string_view train, test;           // files
    std::vector<std::string> columns;       // if the files have no line that names them
    std::string_view first, second, label;  // columns; second is empty for single sentences
    std::vector<std::string> labels;        // as the files have them, label 0 first
    std::vector<std::string> classes;       // what they mean
    std::vector<std::string> metrics;
};

const std::vector<GlueTask>& glue_tasks();

/// Appends the lines of one file. Throws Error with file and line for a missing column, a line of
/// another length, a label that the task does not have, a text that is empty or not UTF-8.
void append_glue_text(TextData& data, const GlueTask& task, std::string_view text,
                      const std::string& file);

/// Reads both splits from `directory` or its folder; see load_text.
TextSplits read_glue(const GlueTask& task, const std::filesystem::path& directory);

/// Divides the training pairs of MRPC as GLUE does: those in the list of ids are the test split.
/// `text` is msr_paraphrase_train.txt, `ids` the list (two columns, no names), in which every pair
/// must be one of the text. Both keep the order of the text.
TextSplits split_mrpc(const GlueTask& task, std::string_view text, const std::string& file,
                      std::string_view ids, const std::string& ids_file);

}  // namespace slimgrad
