#include "data/text_data.h"

#include <algorithm>

#include "data/glue.h"
#include "tensor/error.h"

namespace slimgrad {

void TextData::truncate(std::int64_t limit) {
    require(limit >= 0, "[data] {}: expected a limit of at least 0 texts, got {}", name, limit);
    if (limit == 0 || limit >= size()) return;
    const std::size_t count = static_cast<std::size_t>(limit);
    if (pairs()) second.resize(count);
    first.resize(count);
    labels.resize(count);
}

void TextData::check() const {
    require(size() > 0, "[data] {}: expected at least one text, got none", name);
    require(first.size() == labels.size() && (!pairs() || second.size() == labels.size()),
            "[data] {}: expected a text for each of {} labels, got {} and, of pairs, {}", name,
            labels.size(), first.size(), second.size());
    for (std::int64_t i = 0; i < size(); ++i) {
        const std::int32_t label = labels[static_cast<std::size_t>(i)];
        require(label >= 0 && label < std::ssize(classes),
                "[data] {}: text {}: expected a label from 0 to {}, got {}", name, i,
                std::ssize(classes) - 1, label);
    }
}

std::vector<std::string> text_data_names() {
    std::vector<std::string> names;
    for (const GlueTask& task : glue_tasks()) names.emplace_back(task.name);
    return names;
}

TextSplits load_text(const std::string& name, const std::string& directory) {
    const auto task = std::ranges::find(glue_tasks(), name, &GlueTask::name);
    if (task == glue_tasks().end())
        fail("[data] unknown text data '{}'. Known: {}", name, fmt::join(text_data_names(), ", "));
    TextSplits splits = read_glue(*task, directory);
    splits.train.check();
    splits.test.check();
    return splits;
}

}  // namespace slimgrad
