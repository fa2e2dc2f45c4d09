// Sizes from the command line that no machine has, or no 64 bits hold.
#include <fmt/format.h>

#include "cli_fixture.h"

namespace cli_test {
namespace {

TEST_F(Cli, SizesThatDoNotFitAreRefused) {
    const std::string large = "4611686018427387904";
    for (const char* option : {"--classes", "--height", "--width", "--tokens", "--batch"})
        expect_refused({"cost", "--model", "resnet20", option, large},
                       fmt::format("as {}, got {}", option, large));
    // Each may be, their product is too much.
    expect_refused({"cost", "--model", "resnet20", "--height", "16384", "--width", "16384"},
                   "expected channels * height * width up to 16777216");
    Words words{"cost", "--model", "tinyllama", "--tokens", "1000000", "--batch", "1000000"};
    expect_refused(words, "does not fit into 64 bits");
    words.emplace_back("--json");
    expect_refused(words, "does not fit into 64 bits");
    const json cost = run_json({"cost", "--tokens", "1000000", "--json"});
    EXPECT_GT(cost["executed"]["backward"], 0);
    expect_refused({"bench", "linear/bert-32x128x768", "--batch", "288230376151711744"},
                   "as --batch, got 288230376151711744");
    // After the name of the case:
    const Result result =
        run({"bench", "linear/bert-32x128x768", "--batch", "1000000", "--no-verify"});
    EXPECT_EQ(result.status, 2);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("out of memory"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace cli_test
