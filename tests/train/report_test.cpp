#include "train/report.h"

#include <gtest/gtest.h>

#include "../temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

const std::string summary_text =
    R"({"accuracy": 0.5, "flops": {"g_w": 100, "g_x": 50}, "layers": [
        {"name": "fc", "L": 4, "Cx": 8, "Cy": 8, "side": "token", "rank_x": 2, "rank_g": null}],
        "method": ")";

/// A finished run, as far as a report reads it.
std::string make_run(const TemporaryDirectory& directory, const std::string& method,
                     const std::string& model = "mlp", int seed = 0) {
    const std::string name = method + std::to_string(seed);
    put(directory / name / "config.json",
        R"({"data": "images", "model": ")" + model + R"(", "seed": )" + std::to_string(seed) + "}");
    put(directory / name / "summary.json", summary_text + method + "\"}");
    put(directory / name / "metrics.jsonl", "{\"type\": \"step\", \"step\": 1, \"loss\": 2.5}\n");
    return (directory / name).string();
}

std::string page_of(const TemporaryDirectory& directory, const std::vector<std::string>& runs) {
    const std::string file = (directory / "report.html").string();
    write_report(runs, file);
    return get(file);
}

int count(const std::string& text, const std::string& part) {
    int n = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
}

TEST(Report, ComparesRunsOnOnePageWithoutNetwork) {
    const TemporaryDirectory directory;
    const std::string page =
        page_of(directory, {make_run(directory, "vanilla"), make_run(directory, "instant")});
    EXPECT_NE(page.find("<th scope=\"row\">vanilla</th><td>50.00 %</td>"), std::string::npos);
    EXPECT_NE(page.find("<th scope=\"row\">instant</th>"), std::string::npos);
    EXPECT_EQ(page.find("<link"), std::string::npos);
    EXPECT_EQ(page.find("src="), std::string::npos);
}

TEST(Report, ShowsSeedsAsOneRowWithItsDeviation) {
    const TemporaryDirectory directory;
    const std::vector<std::string> runs{make_run(directory, "vanilla", "mlp", 0),
                                        make_run(directory, "vanilla", "mlp", 1)};
    put(directory / "vanilla1" / "summary.json",
        R"({"accuracy": 0.7, "method": "vanilla", "layers": []})");
    const std::string page = page_of(directory, runs);
    EXPECT_NE(page.find("60.00 % ± 14.14"), std::string::npos);
}

TEST(Report, DrawsTheRanksOverTheCalibrations) {
    const TemporaryDirectory directory;
    const std::string run = make_run(directory, "instant");
    put(directory / "instant0" / "metrics.jsonl",
        "{\"type\": \"calibration\", \"step\": 7, \"layers\": [{\"name\": \"a\", \"rank_x\": 2, "
        "\"rank_g\": 5}, {\"name\": \"b\", \"rank_x\": 4, \"left_vanilla_g\": 30}]}\n");
    put(directory / "instant0" / "summary.json",
        R"({"method": "instant", "layers": [{"name": "a", "rank_x": 3, "min_rank_x": 2,
            "max_rank_x": 6, "rank_g": null, "left_vanilla_g": 30}]})");
    const std::string page = page_of(directory, {run});
    EXPECT_NE(page.find(R"("mean":[{"x":7.0,"y":3.0}])"), std::string::npos);
    EXPECT_NE(page.find(R"("least":[{"x":7.0,"y":2.0}])"), std::string::npos);
    EXPECT_NE(page.find(R"("most":[{"x":7.0,"y":5.0}])"), std::string::npos) << "the one rank of g";
    EXPECT_NE(page.find("3 (2–6) / exact (30)"), std::string::npos);
}

TEST(Report, ShowsWhatSketchesKeep) {
    const TemporaryDirectory directory;
    const std::string run = make_run(directory, "sketch");
    EXPECT_EQ(page_of(directory, {run}).find("Sketches by layer"), std::string::npos);
    put(directory / "sketch0" / "metrics.jsonl",
        "{\"type\": \"sketch\", \"step\": 9, \"layers\": [{\"name\": \"a\", \"rank\": 8, "
        "\"kept\": 0.75, \"least_kept\": 0.5}, {\"name\": \"b\", \"rank\": 4, \"kept\": 1, "
        "\"least_kept\": 0.875}, {\"name\": \"c\", \"rank\": null, \"kept\": null}]}\n");
    put(directory / "sketch0" / "summary.json",
        R"({"method": "sketch", "layers": [
            {"name": "a", "sketch": {"calls": 9, "exact": 2, "rank": 6.5, "kept": 0.75, "least_kept": 0.5}},
            {"name": "c", "sketch": {"calls": 9, "exact": 9, "rank": null, "kept": null, "least_kept": null}}]})");
    const std::string page = page_of(directory, {run});
    EXPECT_NE(page.find("rank 6.5 · keeps 0.750, at least 0.500 · 2 of 9 exact"),
              std::string::npos);
    EXPECT_NE(page.find("<td>9 of 9 exact</td>"), std::string::npos);
    EXPECT_NE(page.find(R"("kept":{"least":[{"x":9.0,"y":0.5}],"mean":[{"x":9.0,"y":0.875}])"),
              std::string::npos);
    EXPECT_NE(page.find(R"("ranks_g":{"least":[{"x":9.0,"y":4.0}])"), std::string::npos);
}

TEST(Report, EscapesWhatRunsContain) {
    const TemporaryDirectory directory;
    const std::string page =
        page_of(directory, {make_run(directory, "vanilla", "</script><script>alert(1)</script>")});
    EXPECT_EQ(page.find("alert(1)</script>"), std::string::npos);
    EXPECT_EQ(count(page, "</script>"), 3);
}

TEST(Report, ForgivesHalfALineAtTheEndOfMetricsOnly) {
    const TemporaryDirectory directory;
    const std::string run = make_run(directory, "vanilla");
    const std::string line = "{\"type\": \"step\", \"step\": 1, \"loss\": 2.5}\n";
    put(directory / "vanilla0" / "metrics.jsonl", line + "{\"type\": \"st");
    EXPECT_FALSE(page_of(directory, {run}).empty());
    put(directory / "vanilla0" / "metrics.jsonl", "{\"type\n" + line);
    expect_error([&] { page_of(directory, {run}); }, {"metrics.jsonl", "line 1"});
}

TEST(Report, NamesTheFileThatIsMissingOrBroken) {
    const TemporaryDirectory directory;
    expect_error([&] { page_of(directory, {}); }, {"at least one run"});
    expect_error([&] { page_of(directory, {(directory / "none").string()}); }, {"config.json"});
    const std::string run = make_run(directory, "vanilla");
    expect_error([&] { write_report({run}, (directory / "no" / "page.html").string()); },
                 {"cannot write", "page.html"});
    put(directory / "vanilla0" / "summary.json", "{");
    expect_error([&] { page_of(directory, {run}); }, {"summary.json", "not valid JSON"});
}

TEST(Report, NamesTheFieldOfAnotherType) {
    const TemporaryDirectory directory;
    const std::string run = make_run(directory, "vanilla");
    const fs::path at = directory / "vanilla0";
    const std::string metrics = get(at / "metrics.jsonl"), summary = get(at / "summary.json"),
                      config = get(at / "config.json");
    const auto spoilt = [&](const char* file, const std::string& text,
                            std::initializer_list<std::string> parts) {
        const std::string good = get(at / file);
        put(at / file, text);
        expect_error([&] { page_of(directory, {run}); }, parts);
        put(at / file, good);
    };
    spoilt("metrics.jsonl",
           R"({"type": 3, "step": 1})"
           "\n" +
               metrics,
           {"metrics.jsonl', line 1", "\"type\", got number"});
    spoilt("metrics.jsonl", metrics + "[1]\n" + metrics, {"line 2", "expected one JSON object"});
    spoilt("metrics.jsonl", metrics + std::string(5, '\0') + "\n" + metrics, {"line 2"});
    std::string deep(1'000'000, '[');
    deep += "\n" + metrics;
    spoilt("metrics.jsonl", deep, {"line 1"});
    spoilt("summary.json", R"({"method": "vanilla", "layers": [3]})", {"summary.json", "layers"});
    spoilt("summary.json", R"({"method": "vanilla", "layers": 3})", {"summary.json", "layers"});
    spoilt("summary.json", R"({"layers": [{"name": 3}]})",
           {"summary.json", "\"name\", got number"});
    spoilt("summary.json", "[]", {"summary.json", "expected a JSON object, got array"});
    spoilt("config.json", R"({"model": 3})", {"config.json", "\"model\", got number"});
    spoilt("config.json", R"({"seed": 1e999})", {"config.json", "too large"});
    // Not worth an error: numbers that are none are shown as unknown.
    put(at / "summary.json", R"({"method": 3, "accuracy": "high", "flops": [], "environment": 7})");
    put(at / "metrics.jsonl", metrics + std::string(100, '\0'));  // what a crash may leave
    EXPECT_FALSE(page_of(directory, {run}).empty());
}

TEST(Report, ReplacesItsOwnPagesAsAWholeAndNothingElse) {
    const TemporaryDirectory directory;
    const std::string run = make_run(directory, "vanilla");
    const fs::path page = directory / "page.html";
    write_report({run}, page.string());
    const std::string first = get(page);
    fs::create_hard_link(page, directory / "link.html");
    put(directory / "vanilla0" / "config.json", R"({"data": "images", "model": "other"})");
    write_report({run}, page.string());
    EXPECT_NE(get(page), first);
    EXPECT_EQ(get(directory / "link.html"), first) << "the older page was written into";

    const fs::path mine = directory / "notes.txt";
    put(mine, "mine");
    expect_error([&] { write_report({run}, mine.string()); }, {"notes.txt", "no page of slimgrad"});
    EXPECT_EQ(get(mine), "mine");
    expect_error([&] { write_report({run}, directory.path().string()); }, {"Is a directory"});
    put(mine, "");
    write_report({run}, mine.string());
    EXPECT_EQ(get(mine), get(page));
}

}  // namespace
}  // namespace slimgrad
