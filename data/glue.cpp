#include "data/glue.h"

#include <algorithm>
#include <map>
#include <utility>

#include "data/file.h"
#include "data/safetensors_header.h"
#include "data/shipped.h"
#include "data/tsv.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> digits{"0", "1"};
const std::vector<std::string> two_way{"entailment", "not_entailment"};
const std::vector<std::string> three_way{"entailment", "neutral", "contradiction"};
const std::vector<std::string> paraphrase{"not_equivalent", "equivalent"};
const std::vector<std::string> only_accuracy{"accuracy"};
const std::vector<std::string> accuracy_and_f1{"accuracy", "f1"};

std::vector<GlueTask> make_tasks() {
    return {
        {"mrpc",
         "MRPC",
         "train.tsv",
         "dev.tsv",
         {},
         "#1 String",
         "#2 String",
         "Quality",
         digits,
         paraphrase,
         accuracy_and_f1},
        {"mrpc-msr",
         "MRPC",
         "msr_paraphrase_train.txt",
         "msr_paraphrase_test.txt",
         {},
         "#1 String",
         "#2 String",
         "Quality",
         digits,
         paraphrase,
         accuracy_and_f1},
        {"cola",
         "CoLA",
         "train.tsv",
         "dev.tsv",
         {"source", "label", "mark", "sentence"},
         "sentence",
         "",
         "label",
         digits,
         {"unacceptable", "acceptable"},
         {"matthews", "accuracy"}},
        {"rte",
         "RTE",
         "train.tsv",
         "dev.tsv",
         {},
         "sentence1",
         "sentence2",
         "label",
         two_way,
         two_way,
         only_accuracy},
        {"sst2",
         "SST-2",
         "train.tsv",
         "dev.tsv",
         {},
         "sentence",
         "",
         "label",
         digits,
         {"negative", "positive"},
         only_accuracy},
        {"qnli",
         "QNLI",
         "train.tsv",
         "dev.tsv",
         {},
         "question",
         "sentence",
         "label",
         two_way,
         two_way,
         only_accuracy},
        {"mnli",
         "MNLI",
         "train.tsv",
         "dev_matched.tsv",
         {},
         "sentence1",
         "sentence2",
         "gold_label",
         three_way,
         three_way,
         only_accuracy},
        {"mnli-mm",
         "MNLI",
         "train.tsv",
         "dev_mismatched.tsv",
         {},
         "sentence1",
         "sentence2",
         "gold_label",
         three_way,
         three_way,
         only_accuracy},
        {"paws-wiki",
         "PAWS-Wiki",
         "train.tsv",
         "dev.tsv",
         {},
         "sentence1",
         "sentence2",
         "label",
         digits,
         paraphrase,
         accuracy_and_f1},
        {"embedded-text",
         "embedded-text",
         "train.tsv",
         "test.tsv",
         {},
         "sentence1",
         "sentence2",
         "label",
         digits,
         paraphrase,
         accuracy_and_f1},
    };
}

TextData empty_set(const GlueTask& task) {
    TextData data;
    data.name = task.name;
    data.classes = task.classes;
    data.metrics = task.metrics;
    return data;
}

bool has(const fs::path& directory, std::string_view file) { return is_there(directory / file); }

TextData read_split(const GlueTask& task, const fs::path& file) {
    TextData data = empty_set(task);
    append_glue_text(data, task, read_text(file), file.string());
    return data;
}

/// The corpus as its authors publish it, with GLUE's list, if both are there.
std::optional<TextSplits> read_mrpc_with_list(const GlueTask& task, const fs::path& directory) {
    const fs::path text = directory / "msr_paraphrase_train.txt";
    for (const char* const list : {"mrpc_dev_ids.tsv", "dev_ids.tsv"})
        if (has(directory, "msr_paraphrase_train.txt") && has(directory, list)) {
            const fs::path ids = directory / list;
            return split_mrpc(task, read_text(text), text.string(), read_text(ids), ids.string());
        }
    return std::nullopt;
}

[[noreturn]] void fail_without_files(const GlueTask& task, const fs::path& directory) {
    const std::string hint =
        task.folder == "MRPC" ? "Hint: slimgrad data get mrpc --data-dir DIR"
                              : fmt::format("Hint: {} has them; give the directory '{}'",
                                            task.name == "paws-wiki"
                                                ? "https://github.com/google-research-datasets/paws"
                                                : "https://gluebenchmark.com/tasks",
                                            task.folder);
    if (directory.empty()) fail("[data] {} needs a data directory, got none. {}", task.name, hint);
    fail(
        "[data] expected the files '{}' and '{}'{} in '{}', found them neither there nor in its "
        "folder '{}'. {}",
        task.train, task.test,
        task.name == "mrpc" ? ", or 'msr_paraphrase_train.txt' and 'mrpc_dev_ids.tsv'," : "",
        directory.string(), task.folder, hint);
}

}  // namespace

const std::vector<GlueTask>& glue_tasks() {
    static const std::vector<GlueTask> tasks = make_tasks();
    return tasks;
}

void append_glue_text(TextData& data, const GlueTask& task, std::string_view text,
                      const std::string& file) {
    TsvReader reader =
        task.columns.empty() ? TsvReader(text, file) : TsvReader(text, file, task.columns);
    const std::size_t label = reader.column(task.label), first = reader.column(task.first);
    const std::size_t second = task.second.empty() ? first : reader.column(task.second);
    while (reader.next()) {
        const auto found = std::ranges::find(task.labels, reader[label]);
        if (found == task.labels.end())
            fail("{}: expected the {} {}, got {}", reader.where(), task.label,
                 fmt::join(task.labels, " or "), in_quotes(reader[label]));
        for (const std::size_t column : {first, second})
            require(!reader[column].empty(), "{}: expected a sentence as \"{}\", got nothing",
                    reader.where(), column == first ? task.first : task.second);
        data.labels.push_back(static_cast<std::int32_t>(found - task.labels.begin()));
        data.first.emplace_back(reader[first]);
        if (!task.second.empty()) data.second.emplace_back(reader[second]);
    }
    require(data.size() > 0, "{}: expected lines with sentences after it, got none",
            reader.where());
}

TextSplits split_mrpc(const GlueTask& task, std::string_view text, const std::string& file,
                      std::string_view ids, const std::string& ids_file) {
    using Pair = std::pair<std::string_view, std::string_view>;
    std::map<Pair, std::int64_t> missing;  // and the line that asks for it
    TsvReader list(ids, ids_file, {"#1 ID", "#2 ID"});
    while (list.next())
        require(missing.emplace(Pair(list[0], list[1]), list.line()).second,
                "{}: expected each pair of ids once, {} {} came before", list.where(),
                in_quotes(list[0]), in_quotes(list[1]));

    TextData all = empty_set(task);
    append_glue_text(all, task, text, file);
    TextSplits splits{empty_set(task), empty_set(task)};
    TsvReader rows(text, file);
    const std::size_t id1 = rows.column("#1 ID"), id2 = rows.column("#2 ID");
    for (std::size_t i = 0; rows.next(); ++i) {
        const bool held_out = missing.erase(Pair(rows[id1], rows[id2])) == 1;
        TextData& split = held_out ? splits.test : splits.train;
        split.labels.push_back(all.labels[i]);
        split.first.push_back(std::move(all.first[i]));
        split.second.push_back(std::move(all.second[i]));
    }
    if (!missing.empty()) {
        const auto& [pair, line] =
            *std::ranges::min_element(missing, {}, &decltype(missing)::value_type::second);
        fail("[tsv] '{}': line {}: expected two ids of a line of '{}', it has no pair {} {}",
             ids_file, line, file, in_quotes(pair.first), in_quotes(pair.second));
    }
    return splits;
}

TextSplits read_glue(const GlueTask& task, const fs::path& directory) {
    fs::path root = directory;
    if (root.empty() && task.name == "embedded-text") root = find_shipped("embedded-text");
    if (root.empty()) fail_without_files(task, root);
    for (const fs::path& place : {root, root / task.folder, root / "glue"}) {
        if (has(place, task.train) && has(place, task.test))
            return {read_split(task, place / task.train), read_split(task, place / task.test)};
        if (task.name != "mrpc") continue;
        if (auto splits = read_mrpc_with_list(task, place)) return std::move(*splits);
    }
    fail_without_files(task, root);
}

}  // namespace slimgrad
