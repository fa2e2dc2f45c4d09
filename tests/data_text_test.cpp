#include "data/text_data.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "data/glue.h"
#include "data/metrics.h"
#include "data/shipped.h"
#include "data/tokenizer.h"
#include "data/tsv.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;
using Labels = std::vector<std::int32_t>;
using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(std::string_view text) {
    TsvReader reader(text, "f.tsv");
    Rows rows;
    while (reader.next()) rows.push_back({std::string(reader[0]), std::string(reader[1])});
    return rows;
}

TEST(Tsv, TabsSeparateAndNothingElseCounts) {
    EXPECT_EQ(rows_of("a\tb\n1\t2\n"), (Rows{{"1", "2"}}));
    EXPECT_EQ(rows_of("\xEF\xBB\xBF"
                      "a\tb\r\n\"x\ty\"\r\n\\t\t'\n\t"),
              (Rows{{"\"x", "y\""}, {"\\t", "'"}, {"", ""}}));
    EXPECT_EQ(rows_of("a\tb\nx\ry\t \u2028z"), (Rows{{"x\ry", " \u2028z"}}));
    EXPECT_EQ(rows_of("a\tb"), Rows{});
}

TEST(Tsv, ColumnsByName) {
    const std::string text = "id\tone\ttwo\n7\t8\t9\n";
    TsvReader reader(text, "f.tsv");
    EXPECT_EQ(reader.column("two"), 2u);
    EXPECT_EQ(reader.column("absent|one"), 1u);
    expect_error([&] { reader.column("label"); },
                 {"'f.tsv': expected a column \"label\"", "\"id\", \"one\", \"two\""});
    TsvReader named("7\t8\n", "f.tsv", {"x", "y"});
    ASSERT_TRUE(named.next());
    EXPECT_EQ(named[named.column("y")], "8");
    EXPECT_EQ(named.line(), 1);
    EXPECT_FALSE(named.next());
}

TEST(Tsv, BadLinesAreNamed) {
    expect_error([] { rows_of("a\tb\n1\t2\n3\n"); },
                 {"[tsv] 'f.tsv': line 3: expected 2 fields", "\"a\", \"b\"", "got 1"});
    expect_error([] { rows_of("a\tb\n1\t2\t3\n"); }, {"line 2: expected 2 fields", "got 3"});
    expect_error([] { rows_of("a\tb\n\n1\t2\n"); }, {"line 2", "got 1"});
    expect_error([] { rows_of("a\tb\n1\t2\nab\xff\tc\n"); }, {"line 3: expected UTF-8, byte 2"});
    expect_error([] { rows_of("a\tb\tcaf\xe9\n"); }, {"line 1: expected UTF-8, byte 7"});
    expect_error([] { rows_of("a\ta\n"); }, {"line 1", "\"a\" is there twice"});
    expect_error([] { rows_of(""); }, {"'f.tsv'", "names of the columns", "got nothing"});
    const std::string tabs(1 << 20, '\t');
    expect_error([&] { rows_of(tabs + "\n"); }, {"line 1: expected the names of at most 1000"});
    expect_error([&] { rows_of("a\tb\n" + tabs); }, {"line 2: expected 2 fields", "got 1048577"});
    EXPECT_EQ(rows_of("a\tb\n" + std::string("\0\t\0", 3) + std::string(1 << 20, 'x'))[0][0],
              std::string("\0", 1));
}

/// The messages that the readers of one task give for a file of this content.
void expect_refused(const std::string& task, const std::string& text,
                    std::initializer_list<std::string> parts) {
    TemporaryDirectory directory;
    put(directory / "train.tsv", text);
    put(directory / "dev.tsv", text);
    expect_error([&] { load_text(task, directory.path().string()); }, parts);
}

TEST(Glue, EveryTaskFindsItsColumns) {
    struct Example {
        std::string task, folder, dev, text, first, second;
        std::int32_t label;
    };
    const std::vector<Example> examples{
        {"mrpc", "MRPC", "dev.tsv",
         "\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said \"no\".\tNo.\n",
         "He said \"no\".", "No.", 1},
        {"cola", "CoLA", "dev.tsv", "gj04\t1\t\tThey drank.\n", "They drank.", "", 1},
        {"rte", "RTE", "dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tnot_entailment\n",
         "A", "B", 1},
        {"sst2", "SST-2", "dev.tsv", "sentence\tlabel\nit 's fun \t1\n", "it 's fun ", "", 1},
        {"qnli", "QNLI", "dev.tsv", "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tentailment\n",
         "Who?", "He.", 0},
        {"mnli", "MNLI", "dev_matched.tsv",
         "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tA\tB\tneutral\tcontradiction\n", "A",
         "B", 2},
        {"mnli-mm", "MNLI", "dev_mismatched.tsv",
         "index\tsentence1\tsentence2\tgold_label\n0\tA\tB\tneutral\n", "A", "B", 1},
        {"paws-wiki", "PAWS-Wiki", "dev.tsv", "id\tsentence1\tsentence2\tlabel\n1\tA\tB\t0\n", "A",
         "B", 0}};
    for (const Example& example : examples) {
        TemporaryDirectory directory;
        put(directory / "train.tsv", example.text);
        put(directory / example.dev, example.text);
        const TextSplits splits = load_text(example.task, directory.path().string());
        EXPECT_EQ(splits.train.name, example.task);
        ASSERT_EQ(splits.test.size(), 1) << example.task;
        EXPECT_EQ(splits.test.first[0], example.first);
        EXPECT_EQ(splits.test.pairs(), !example.second.empty()) << example.task;
        if (splits.test.pairs()) {
            EXPECT_EQ(splits.test.second[0], example.second);
        }
        EXPECT_EQ(splits.train.labels, Labels{example.label}) << example.task;
        // The folder's parent does as well.
        TemporaryDirectory parent;
        fs::create_directories(parent / example.folder);
        fs::copy(directory.path(), parent / example.folder);
        EXPECT_EQ(load_text(example.task, parent.path().string()).train.size(), 1);
    }
}

TEST(Glue, BadFilesAreNamed) {
    const std::string header = "index\tsentence1\tsentence2\tlabel\n";
    expect_refused("rte", "index\tsentence1\tlabel\n",
                   {"train.tsv': expected a column \"sentence2\"", "\"sentence1\", \"label\""});
    expect_refused(
        "rte", header + "0\tA\tB\tentailment\n1\tA\tB\tmaybe\n",
        {"train.tsv': line 3: expected the label entailment or not_entailment", "got \"maybe\""});
    expect_refused("rte", header + "0\tA\tentailment\n", {"line 2: expected 4 fields", "got 3"});
    expect_refused("rte", header + "0\tA\t\tentailment\n",
                   {"line 2: expected a sentence as \"sentence2\", got nothing"});
    expect_refused("rte", header, {"line 1: expected lines with sentences"});
    expect_refused("rte", header + "0\tA\xc3\tB\tentailment\n", {"line 2: expected UTF-8, byte 3"});
    expect_refused("sst2", "sentence\tlabel\nfine\t2\n", {"line 2", "label 0 or 1", "got \"2\""});
    expect_refused("cola", "gj04\t-1\t\tThey drank.\n", {"line 1", "label 0 or 1", "\"-1\""});
    expect_error([] { load_text("rte", "nowhere"); },
                 {"'train.tsv' and 'dev.tsv' in 'nowhere'", "folder 'RTE'", "gluebenchmark.com"});
    expect_error([] { load_text("mrpc", ""); }, {"got none", "slimgrad data get mrpc"});
    expect_error([] { load_text("mrpc", "nowhere"); }, {"mrpc_dev_ids.tsv", "data get mrpc"});
    expect_error([] { load_text("wnli", ""); },
                 {"unknown text data 'wnli'. Known: mrpc, mrpc-msr, cola, rte", "embedded-text"});
}

const std::string mrpc_header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n";

TEST(Glue, MrpcIsDividedByTheListOfIds) {
    TemporaryDirectory directory;
    put(directory / "msr_paraphrase_train.txt",
        "\xEF\xBB\xBF" + mrpc_header + "1\t1\t2\ta\tb\n0\t3\t4\tc\td\n1\t1\t4\te\tf\n");
    put(directory / "mrpc_dev_ids.tsv", "1\t4\n1\t2\n");
    const auto load = [&] { return load_text("mrpc", directory.path().string()); };
    const TextSplits splits = load();
    EXPECT_EQ(splits.train.first, std::vector<std::string>{"c"});
    EXPECT_EQ(splits.test.second, (std::vector<std::string>{"b", "f"}));
    EXPECT_EQ(splits.test.labels, (Labels{1, 1}));
    put(directory / "mrpc_dev_ids.tsv", "1\t4\n9\t2\n");
    expect_error(load, {"mrpc_dev_ids.tsv': line 2", "msr_paraphrase_train.txt", "\"9\" \"2\""});
    put(directory / "mrpc_dev_ids.tsv", "1\t4\n1\t4\n");
    expect_error(load, {"mrpc_dev_ids.tsv': line 2: expected each pair of ids once"});
    put(directory / "mrpc_dev_ids.tsv", "1\t4\n1\t2\n3\t4\n");
    expect_error(load, {"mrpc", "at least one text"});
    fs::remove(directory / "mrpc_dev_ids.tsv");
    expect_error(load, {"mrpc_dev_ids.tsv"});
    put(directory / "msr_paraphrase_test.txt", mrpc_header + "0\t5\t6\tg\th\n");
    const TextSplits msr = load_text("mrpc-msr", directory.path().string());
    EXPECT_EQ(msr.train.size(), 3);
    EXPECT_EQ(msr.test.first, std::vector<std::string>{"g"});
}

TEST(Glue, TruncatedAndCheckedAsSaid) {
    TextData data{"made", {"no", "yes"}, {"accuracy"}, {"a", "b", "c"}, {"d", "e", "f"}, {0, 1, 1}};
    data.truncate(2);
    data.check();
    EXPECT_EQ(data.size(), 2);
    EXPECT_EQ(data.second, (std::vector<std::string>{"d", "e"}));
    data.labels[1] = 2;
    expect_error([&] { data.check(); }, {"made: text 1: expected a label from 0 to 1, got 2"});
    data.labels[1] = 1;
    data.second.pop_back();
    expect_error([&] { data.check(); }, {"made", "a text for each of 2 labels"});
    expect_error([&] { data.truncate(-1); }, {"at least 0", "-1"});
    expect_error([] { TextData().check(); }, {"at least one text"});
}

TEST(EmbeddedText, BalancedPairsAndAVocabulary) {
    const TextSplits splits = load_text("embedded-text", "");
    EXPECT_EQ(splits.train.size(), 1500);
    EXPECT_EQ(splits.test.size(), 400);
    std::set<std::string> seen;
    for (const TextData* data : {&splits.train, &splits.test}) {
        EXPECT_TRUE(data->pairs());
        for (std::size_t i = 0; i < data->labels.size(); ++i)
            EXPECT_EQ(data->labels[i], i % 2 == 0 ? 1 : 0);  // every beginning is balanced
    }
    for (const auto* texts : {&splits.train.first, &splits.train.second})
        seen.insert(texts->begin(), texts->end());
    for (const auto* texts : {&splits.test.first, &splits.test.second})
        for (const std::string& text : *texts) EXPECT_FALSE(seen.contains(text)) << text;

    const Tokenizer tokenizer = Tokenizer::open(find_shipped("embedded-text"));
    EXPECT_EQ(tokenizer.vocabulary().size(), 4000);
    std::int64_t tokens = 0, unknown = 0;
    for (const std::string& text : splits.test.first)
        for (const std::int32_t id : tokenizer.tokenize(text)) {
            ++tokens;
            unknown += id == tokenizer.unknown();
        }
    EXPECT_LT(unknown, tokens / 500) << unknown << " of " << tokens;
}

TEST(Metrics, AgainstCountsByHand) {
    const Labels labels{1, 1, 1, 0, 0, 1}, guess{1, 0, 1, 1, 0, 1};  // TP 3, FP 1, FN 1, TN 1
    EXPECT_DOUBLE_EQ(accuracy(guess, labels), 4.0 / 6);
    EXPECT_DOUBLE_EQ(f1(guess, labels), 6.0 / 8);
    EXPECT_DOUBLE_EQ(matthews(guess, labels), (3 * 1 - 1 * 1) / std::sqrt(4.0 * 4 * 2 * 2));
    EXPECT_DOUBLE_EQ(matthews(labels, labels), 1);
    EXPECT_DOUBLE_EQ(matthews(Labels{0, 0, 0, 1, 1, 0}, labels), -1);
    EXPECT_DOUBLE_EQ(metric("f1", guess, labels), f1(guess, labels));
    EXPECT_DOUBLE_EQ(f1(Labels{0, 0}, Labels{0, 0}), 0);
    EXPECT_DOUBLE_EQ(accuracy(Labels{2, 1}, Labels{2, 0}), 0.5);
}

TEST(Metrics, TheMajorityIsTheBaseline) {
    const Labels labels{1, 1, 0};
    EXPECT_EQ(majority_class(labels), 1);
    EXPECT_EQ(majority_class(Labels{2, 0, 2, 0}), 2);
    EXPECT_DOUBLE_EQ(baseline("accuracy", 1, labels), 2.0 / 3);
    EXPECT_DOUBLE_EQ(baseline("f1", 1, labels), 0.8);
    EXPECT_DOUBLE_EQ(baseline("matthews", 1, labels), 0);
    // GLUE's development pairs of MRPC: 279 of 408.
    Labels mrpc(408, 0);
    std::fill_n(mrpc.begin(), 279, 1);
    EXPECT_NEAR(baseline("accuracy", 1, mrpc), 0.684, 5e-4);
    EXPECT_NEAR(baseline("f1", 1, mrpc), 0.812, 5e-4);
}

TEST(Metrics, BadInput) {
    expect_error([] { accuracy(Labels{1}, Labels{}); }, {"accuracy", "1 and 0"});
    expect_error([] { f1(Labels{1, 2}, Labels{1, 1}); }, {"f1", "prediction 2", "at 1"});
    expect_error([] { matthews(Labels{0}, Labels{-1}); }, {"matthews", "label -1"});
    expect_error([] { metric("auc", Labels{1}, Labels{1}); }, {"'auc'", "accuracy, f1, matthews"});
    expect_error([] { majority_class(Labels{}); }, {"at least one label"});
}

/// The real corpora, if SLIMGRAD_SHARED_DATA names a folder with MRPC/ and PAWS-Wiki/.
TEST(Glue, RealMrpcAndPaws) {
    const char* const shared = std::getenv("SLIMGRAD_SHARED_DATA");
    if (!shared || !fs::exists(fs::path(shared) / "MRPC"))
        GTEST_SKIP() << "SLIMGRAD_SHARED_DATA has no MRPC";
    const TextSplits split = load_text("mrpc", shared);
    EXPECT_EQ(split.train.size(), 3668);
    EXPECT_EQ(split.test.size(), 408);
    EXPECT_NEAR(baseline("accuracy", 1, split.test.labels), 0.684, 5e-4);
    // GLUE's own files are the same pairs in the same order.
    const TextSplits files = load_text("mrpc", (fs::path(shared) / "MRPC/glue").string());
    EXPECT_EQ(files.train.first, split.train.first);
    EXPECT_EQ(files.test.second, split.test.second);
    EXPECT_EQ(files.test.labels, split.test.labels);
    const TextSplits msr = load_text("mrpc-msr", shared);
    EXPECT_EQ(msr.train.size(), 4076);
    EXPECT_EQ(msr.test.size(), 1725);
    EXPECT_NEAR(baseline("accuracy", 1, msr.test.labels), 0.665, 5e-4);
}

}  // namespace
}  // namespace slimgrad
