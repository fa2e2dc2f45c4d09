// `slimgrad trace` as its users call it; its numbers are tested in trace_test.cpp.
#include "cli_fixture.h"

namespace cli_test {
namespace {

Words trace(const Words& more) {
    Words words = {"trace", "--model",   "vit-micro", "--limit-train",       "64", "--batch",
                   "8",     "--threads", "1",         "--calibrate-batches", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_F(Cli, TraceShowsWhoHoldsWhatAtThePeak) {
    const Result result = run(trace({"--methods", "vanilla,instant,gact", "--out", "t.html"}));
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.err, "");  // no terminal, no progress
    EXPECT_TRUE(has(result.out, "step 2 of vit-micro on embedded-images, batch 8")) << result.out;
    EXPECT_TRUE(has(result.out, "blocks.0.fc2")) << result.out;
    EXPECT_TRUE(has(result.out, "page: t.html"));
    EXPECT_TRUE(text_of(root_ / "t.html").starts_with("<!DOCTYPE html>"));
}

TEST_F(Cli, TraceGivesOneDocument) {
    const json document = run_json(trace({"--chrome", "c.json", "--json", "--warmup-steps", "0"}));
    EXPECT_EQ(document["step"], 0);
    ASSERT_EQ(document["methods"].size(), 2U);
    const json &vanilla = document["methods"][0], &instant = document["methods"][1];
    EXPECT_EQ(vanilla["loss"], instant["loss"]);  // the same weights and batch
    EXPECT_EQ(vanilla["batch"], instant["batch"]);
    EXPECT_GT(vanilla["peak"]["bytes"], instant["peak"]["bytes"]);
    EXPECT_EQ(document["holders"].size(), 10U);
    EXPECT_TRUE(json::parse(text_of(root_ / "c.json"))["traceEvents"].is_array());
}

TEST_F(Cli, TraceRefusesWhatItCannotDo) {
    expect_refused(trace({"--methods", "instan"}), "unknown method 'instan'");
    expect_refused(trace({"--methods", "vanilla,vanilla"}), "twice");
    expect_refused(trace({"--methods", "vanilla:batch=4"}), "'batch' is of all methods");
    expect_refused(trace({"--warmup-steps", "-1"}), "--warmup-steps");
    expect_refused(trace({"--out", "no/t.html"}), "there is no directory 'no'");
    expect_refused(trace({"--chrome", "."}), "it is a directory");
    expect_refused({"trace", "--data", "cifar10", "--data-dir", "nowhere"}, "nowhere");
    expect_refused({"trace", "--steps", "0", "--limit-test", "3"}, "--limit-test");
    std::ofstream(root_ / "mine.html") << "mine";
    expect_refused(trace({"--out", "mine.html"}), "is no page of slimgrad");
    EXPECT_EQ(text_of(root_ / "mine.html"), "mine");
}

TEST_F(Cli, ATraceThatCannotBeWrittenIsAFailure) {
    const std::string command =
        "\"$SLIMGRAD\" trace --model mlp --limit-train 64 --batch 16 --threads 1 --methods vanilla";
    const Result lost = shell(command + " >/dev/full");
    EXPECT_EQ(lost.status, 1);
    EXPECT_TRUE(has(lost.err, "cannot write to standard output")) << lost.err;
    EXPECT_EQ(shell(command + " --out /dev/full").status, 2);
}

TEST_F(Cli, TraceSaysWhatHasNoEffect) {
    const Result result = run(trace({"--methods", "vanilla", "--momentum", "0.5"}));
    EXPECT_EQ(result.status, 0);
    EXPECT_TRUE(has(result.err, "note: momentum has no effect: the optimizer is adamw"))
        << result.err;
}

}  // namespace
}  // namespace cli_test
