// Which class of a checkpoint is which of a data set.
#include "train/labels.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "data/glue.h"

namespace slimgrad {
namespace {

using Names = std::vector<std::string>;
using Order = std::vector<std::int64_t>;

TEST(Labels, AreMatchedByNameForEveryTask) {
    for (const GlueTask& task : glue_tasks()) {
        Order counted, reversed;
        for (std::size_t i = 0; i < task.classes.size(); ++i)
            counted.push_back(static_cast<std::int64_t>(i));
        reversed.assign(counted.rbegin(), counted.rend());
        EXPECT_EQ(match_labels(task.classes, task.classes).order, counted) << task.name;
        EXPECT_EQ(match_labels({}, task.classes).order, counted) << task.name;
        Names names(task.classes.rbegin(), task.classes.rend());
        EXPECT_EQ(match_labels(names, task.classes).order, reversed) << task.name;
        for (std::string& name : names) {
            std::ranges::transform(name, name.begin(), [](char c) {
                return c == '_' ? '-' : static_cast<char>(std::toupper(c));
            });
        }
        EXPECT_EQ(match_labels(names, task.classes).order, reversed) << task.name;
        Names numbers;
        for (const std::int64_t i : reversed) numbers.push_back("LABEL_" + std::to_string(i));
        EXPECT_EQ(match_labels(numbers, task.classes).order, reversed) << task.name;
        for (std::string& number : numbers) number = number.substr(6);
        EXPECT_EQ(match_labels(numbers, task.classes).order, reversed) << task.name;
    }
    EXPECT_EQ(match_labels({"neutral", "Entailment", "CONTRADICTION"},
                           {"entailment", "neutral", "contradiction"})
                  .order,
              (Order{1, 0, 2}));
}

TEST(Labels, OthersAreAProblemThatNamesBoth) {
    const Names ours{"entailment", "not_entailment"};
    const auto expect = [&](const Names& theirs, const std::string& problem) {
        const LabelMatch match = match_labels(theirs, ours);
        EXPECT_EQ(match.problem, problem);
        EXPECT_TRUE(match.order.empty());
    };
    const std::string mine = ", those of the data set \"entailment\", \"not_entailment\"";
    expect({"yes", "no"}, "the checkpoint's classes are \"yes\", \"no\"" + mine);
    expect({"entailment", "entailment"},
           "the checkpoint's classes are \"entailment\", \"entailment\"" + mine);
    expect({"LABEL_0", "LABEL_2"}, "the checkpoint's classes are \"LABEL_0\", \"LABEL_2\"" + mine);
    expect({"LABEL_0", "entailment"},
           "the checkpoint's classes are \"LABEL_0\", \"entailment\"" + mine);
    expect({"a", "b", "c"},
           "the checkpoint has 3 classes (\"a\", \"b\", \"c\"), the data set 2 (\"entailment\", "
           "\"not_entailment\")");
}

}  // namespace
}  // namespace slimgrad
