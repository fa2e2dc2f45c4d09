// Sizes from the command line that no machine has, or no 64 bits hold.
#include "cli_fixture.h"

namespace cli_test {
namespace {

TEST_F(Cli, SizesThatDoNotFitAreRefused) {
    const std::string large = "4611686018427387904";
    expect_refused({"cost", "--model", "mlp", "--classes", large}, "16777216");
    expect_refused({"cost", "--model", "vit-micro", "--height", large, "--width", large},
                   "16777216");
    expect_refused({"cost", "--model", "resnet20", "--height", "16777216", "--width", "16777216"},
                   "out of memory");
    expect_refused({"cost", "--model", "resnet50", "--height", large, "--width", large},
                   "does not fit into 64 bits");
    for (const char* json : {"--json", "--break-even=report"}) {
        expect_refused({"cost", "--tokens", "100000000000", json}, "does not fit into 64 bits");
        expect_refused({"cost", "--batch", large, json}, "does not fit into 64 bits");
    }
    const json cost = run_json({"cost", "--tokens", "1000000", "--json"});
    EXPECT_GT(cost["executed"]["backward"], 0);
    // After the name of the case:
    for (const auto& [batch, part] :
         {std::pair{"288230376151711744", "[tensor] shape"}, {"4294967296", "out of memory"}}) {
        const Result result =
            run({"bench", "linear/bert-32x128x768", "--batch", batch, "--no-verify"});
        EXPECT_EQ(result.status, 2);
        EXPECT_EQ(result.out, "");
        EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    }
}

}  // namespace
}  // namespace cli_test
