#include <cmath>
#include <set>

#include "cli_fixture.h"
#include "tests/places.h"

namespace cli_test {
namespace {

TEST_F(Cli, WrongUsageIsOneLineAndStatus2) {
    expect_refused({}, "Known: bench, compare, cost, data, eval, info, report, snr, trace, train");
    expect_refused({"trian"}, "unknown command 'trian'");
    expect_refused({"train", "--epoch", "2"}, "--epoch");
    expect_refused({"train", "--lr", "fast"}, "--lr");
    expect_refused({"train", "--lr", "nan"}, "--lr, got nan");
    expect_refused({"train", "--batch", "0"}, "--batch, got 0");
    expect_refused({"train", "--model", "vgg"}, "Known: mlp");
    expect_refused({"train", "--method", "magic"}, "vanilla, compress-x, compress-gy, instant");
    expect_refused({"train", "--data", "imagenet"}, "cifar10");
    expect_refused({"train", "--train-blocks", "first:2"}, "last:K");
    expect_refused({"train", "--config", "none.json"}, "none.json");
    expect_refused({"compare", "--methods", "vanilla,,instant"}, "--methods");
    expect_refused({"compare", "--methods", "vanilla,magic"}, "magic");
    expect_refused({"compare", "--seeds", "0"}, "--seeds");
    expect_refused({"eval", "--model", "mlp"}, "--from");
    expect_refused({"eval", "--from", "none.safetensors"}, "none.safetensors");
    expect_refused({"cost", "--model", "gpt"}, "bert-base");
    expect_refused({"cost", "--method", "instant"}, "rank");
    expect_refused({"cost", "--train-blocks", "last:13"}, "12");
    expect_refused({"report"}, "runs");
    expect_refused({"report", "none"}, "none");
    EXPECT_TRUE(!fs::exists(root_ / "runs") || fs::is_empty(root_ / "runs"));
}

TEST_F(Cli, DamagedDataIsRefused) {
    std::ofstream(root_ / "batches.meta.txt") << "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n";
    std::ofstream(root_ / "data_batch_1.bin", std::ios::binary) << std::string(3073 * 2 - 1, 'x');
    expect_refused({"train", "--data", "cifar10", "--data-dir", ".", "--out", "run"},
                   "data_batch_1.bin");
    expect_refused({"train", "--data", "cifar10", "--data-dir", "nowhere", "--out", "run"},
                   "nowhere");
    EXPECT_FALSE(fs::exists(root_ / "run"));
}

TEST_F(Cli, DirectoriesThatWillNotDoAreRefused) {
    std::ofstream(root_ / "file") << "in the way";
    expect_refused(train({"--out", "file"}), "cannot create the directory 'file'");
    expect_refused(train({"--out", "file/below"}), "cannot create the directory");
    expect_refused({"train", "--resume", "nothing"}, "holds no run");
    ASSERT_EQ(run(train({"--out", "run"})).status, 0);
    expect_refused(train({"--out", "run"}), "holds another run");
    expect_refused({"train", "--resume", "run", "--lr", "1"}, "leave out --lr");
    EXPECT_EQ(run(train({"--out", "run", "--overwrite"})).status, 0);
    fs::remove(root_ / "run" / "summary.json");
    std::ofstream(root_ / "run" / "checkpoint.safetensors") << "not a checkpoint";
    expect_refused({"train", "--resume", "run"}, "checkpoint.safetensors");
}

TEST_F(Cli, ALossThatIsNotFiniteNamesTheStep) {
    const Result result = run(train({"--lr", "1e30", "--optimizer", "sgd", "--quiet"}));
    EXPECT_EQ(result.status, 2);
    EXPECT_NE(result.err.find("step "), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("Hint: a lower --lr"), std::string::npos) << result.err;
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
}

TEST_F(Cli, TheTableOfMethodsIsThatOfTheDocumentation) {
    const std::string page =
        text_of(slimgrad::tests_directory().parent_path() / "docs" / "methods.md");
    const std::string begin = "<!-- slimgrad info --methods -->\n";
    ASSERT_NE(page.find(begin), std::string::npos);
    EXPECT_EQ(run({"info", "--methods"}).out, page.substr(page.find(begin) + begin.size()));
    EXPECT_EQ(run_json({"info", "--json"})["methods"][3]["name"], "instant");
}

TEST_F(Cli, KernelsMayBeLimitedToAvx2) {
    const json all = run_json({"info", "--json"});
    setenv("SLIMGRAD_ISA", "avx512", 1);
    expect_refused({"info"}, "SLIMGRAD_ISA: expected avx2 or nothing, got 'avx512'");
    setenv("SLIMGRAD_ISA", "avx2", 1);
    const Result limited = run({"info", "--json"});
    unsetenv("SLIMGRAD_ISA");
    if (limited.status != 0) {
        EXPECT_NE(limited.err.find("this processor does not have"), std::string::npos);
        return;
    }
    const json info = json::parse(limited.out);
    EXPECT_EQ(info["skinny_products"], "AVX2");
    EXPECT_EQ(info["products"].get<std::string>().find("AVX-512"), std::string::npos);
    EXPECT_EQ(info["kernels"], "Haswell");
    EXPECT_EQ(run_json({"info", "--json"}), all);
}

TEST_F(Cli, JsonIsOneDocument) {
    const json info = run_json({"info", "--json"});
    EXPECT_TRUE(info.contains("kernels"));
    // The program starts itself again to set how long threads wait. Bound threads must not all end
    // up on the one processor to which the first start was bound.
    const char* policy = std::getenv("OMP_WAIT_POLICY");
    const std::string before = policy ? policy : "";
    unsetenv("OMP_WAIT_POLICY");
    setenv("OMP_PROC_BIND", "true", 1);
#ifndef __clang__  // beside clang's OpenMP there is that of OpenBLAS, which binds the thread first
    EXPECT_EQ(run_json({"info", "--json"})["processors"], info["processors"]);
#endif
    unsetenv("OMP_PROC_BIND");
    if (policy) setenv("OMP_WAIT_POLICY", before.c_str(), 1);
    const json summary = run_json(train({"--out", "run", "--json"}));
    EXPECT_EQ(summary, json::parse(text_of(root_ / "run" / "summary.json")));
    const json eval = run_json({"eval", "--model", "mlp", "--limit-test", "16", "--from",
                                "run/model.safetensors", "--json"});
    EXPECT_EQ(eval["accuracy"], summary["accuracy"]);
    EXPECT_EQ(eval["samples"], 16);
    EXPECT_EQ(run_json({"eval", "--from", "run", "--json"})["loss"], summary["loss"]);
    EXPECT_TRUE(run_json({"report", "run", "--json"}).contains("report"));
    EXPECT_TRUE(fs::exists(root_ / "run" / "report.html"));

    const json again = run_json(
        {"train", "--config", "run/config.json", "--out", "again", "--seed", "1", "--json"});
    EXPECT_EQ(again["config"]["seed"], 1);
    EXPECT_EQ(again["config"]["batch"], 16);
}

TEST_F(Cli, CostReproducesThePublishedFigures) {
    const json vanilla =
        run_json({"cost", "--model", "bert-base", "--train-blocks", "last:1", "--json"});
    EXPECT_EQ(vanilla["paper"]["backward"], 14'495'514'624);
    EXPECT_EQ(vanilla["paper"]["saved_bytes"], 14'155'776);
    EXPECT_EQ(vanilla["executed"]["backward"], 12'683'575'296);
    EXPECT_EQ(vanilla["executed"]["saved_bytes"], 11'010'048);
    EXPECT_EQ(run_json({"cost", "--json"})["paper"]["backward"], 173'946'175'488);
    EXPECT_EQ(run_json({"cost", "--model", "tinyllama", "--train-blocks", "last:1",
                        "--json"})["paper"]["backward"],
              90'194'313'216);
    const Result table =
        run({"cost", "--model", "vit-b32", "--train-blocks", "last:1", "--method", "instant",
             "--rank-x", "48", "--rank-g", "8", "--break-even", "vanilla", "--layers"});
    EXPECT_EQ(table.status, 0) << table.err;
    EXPECT_NE(table.out.find("blocks.11.attention.qkv"), std::string::npos) << table.out;
    EXPECT_NE(table.out.find("4 x slots and 0 g slots are left exact"), std::string::npos)
        << table.out;
    const json mlp = run_json({"cost", "--model", "mlp", "--json"});
    EXPECT_GT(mlp["executed"]["backward"], 0);
    EXPECT_LT(mlp["executed"]["backward"], mlp["paper"]["backward"]);
}

TEST_F(Cli, CompareRunsEveryMethodAndSeed) {
    const json document = run_json(train(
        {"--methods", "vanilla,instant", "--seeds", "2", "--out", "cmp", "--json"}, "compare"));
    ASSERT_EQ(document["methods"].size(), 2);
    EXPECT_EQ(document["runs"].size(), 4);
    EXPECT_EQ(document["methods"][0]["method"], "vanilla");
    for (const json& method : document["methods"]) {
        EXPECT_EQ(method["seeds"], 2);
        EXPECT_TRUE(method["accuracy"]["sd"].is_number());
        EXPECT_GT(method["rss_peak"]["mean"], 0);
    }
    // Without a token axis nothing is compressed: the methods must agree.
    EXPECT_EQ(document["methods"][0]["accuracy"], document["methods"][1]["accuracy"]);
    for (const char* file : {"compare.json", "compare.md", "report.html"})
        EXPECT_TRUE(fs::exists(root_ / "cmp" / file)) << file;
    EXPECT_EQ(run(train({"--out", "cmp", "--methods", "vanilla"}, "compare")).status, 2);
}

TEST_F(Cli, CompareGoesOnWhereItWasStopped) {
    const auto compare = [&](const Words& more) {
        Words words = {"--methods", "vanilla,instant", "--out", "cmp", "--resume", "--json"};
        words.insert(words.end(), more.begin(), more.end());
        return train(words, "compare");
    };
    const json straight = run_json(compare({}));
    // One run finished, of the other only the checkpoint is there.
    const std::string finished = text_of(root_ / "cmp" / "vanilla-seed0" / "summary.json");
    fs::remove(root_ / "cmp" / "instant-seed0" / "summary.json");
    const json resumed = run_json(compare({}));
    EXPECT_EQ(text_of(root_ / "cmp" / "vanilla-seed0" / "summary.json"), finished);
    EXPECT_EQ(resumed["methods"][1]["accuracy"], straight["methods"][1]["accuracy"]);
    expect_refused(compare({"--epochs", "2"}), "epochs is 2 and was 1");
}

TEST_F(Cli, SnrOfSyntheticGradients) {
    const json separable =
        run_json({"snr", "--samples", "2000", "--seeds", "2", "--epsilon", "0.9,0.95", "--json"});
    EXPECT_EQ(separable["comparisons"], 4);
    EXPECT_EQ(separable["rows"].size(), 4);
    EXPECT_GE(separable["predicted_inside"], 2);
    const json other = run_json({"snr", "--covariance", "non-separable", "--samples", "2000",
                                 "--epsilon", "0.95", "--offset", "none", "--json"});
    EXPECT_EQ(other["predicted_inside"], 0);
    const json& row = other["rows"][0];
    EXPECT_NEAR(row["predicted"].get<double>() / row["exact"].get<double>(), 16, 1e-3);

    const json sweep =
        run_json({"snr", "--samples", "2000", "--sweep", "offset", "--out", "o", "--json"});
    const double best = sweep["rows"][0]["best_alpha"], step = sweep["grid_step"];
    for (const char* ratio : {"predicted", "exact", "measured"})
        EXPECT_NEAR(sweep["maximum"][ratio]["alpha"].get<double>(), best, step) << ratio;
    const std::string page = text_of(root_ / "o" / "report.html");
    EXPECT_NE(page.find("<canvas id=\"sweep-offset\""), std::string::npos);
    EXPECT_NE(page.find("1 + N/S"), std::string::npos);
    const json stored = json::parse(text_of(root_ / "o" / "snr.json"));
    EXPECT_EQ(stored["rows"], sweep["rows"]);
    EXPECT_EQ(stored["sweep"], "offset");
    EXPECT_EQ(std::ranges::count(text_of(root_ / "o" / "rows.csv"), '\n'),
              std::ssize(sweep["rows"]) + 1);

    // A ratio without noise is infinite; JSON has a word for it.
    const json full = run_json({"snr", "--samples", "100", "--epsilon", "1", "--json"});
    EXPECT_EQ(full["rows"][0]["predicted"], "inf");
    EXPECT_EQ(full["rows"][0]["measured"], "inf");
}

TEST_F(Cli, SnrOfARun) {
    ASSERT_EQ(run({"train", "--model", "vit-micro", "--method", "instant", "--limit-train", "64",
                   "--limit-test", "16", "--batch", "16", "--threads", "1", "--out", "run"})
                  .status,
              0);
    const Words snr = {"snr", "--source",  "run", "--batches",
                       "1",   "--threads", "1",   "--calibrate-batches",
                       "1",   "--json"};
    const auto with = [&](const Words& more) {
        Words words = snr;
        words.insert(words.end(), more.begin(), more.end());
        return words;
    };
    const json layers = run_json(with({"--out", "o"}));
    EXPECT_EQ(layers["rows"].size(), 2 * 16);  // four blocks of four, p = 0 and the run's p
    EXPECT_EQ(layers["errors"]["layers"].size(), 18);
    ASSERT_EQ(layers["means"].size(), 2);
    for (const json& mean : layers["means"]) {
        double product = 1, rank = 0;
        int finite = 0;
        for (const json& row : layers["rows"]) {
            if (row["oversample"] != mean["oversample"]) continue;
            rank += row["rank"].get<double>() / 16;
            if (row["predicted"] == "inf" || row["exact"] == "inf" || row["measured"] == "inf")
                continue;
            product *= row["measured"].get<double>();
            ++finite;
        }
        EXPECT_EQ(mean["finite"], finite);
        EXPECT_EQ(mean["layers"], 16);
        EXPECT_NEAR(mean["mean_rank"].get<double>(), rank, 1e-9);
        EXPECT_NEAR(mean["measured"].get<double>(), std::pow(product, 1.0 / finite), 1e-9);
    }
    EXPECT_TRUE(layers["sweep"].is_null());
    EXPECT_NE(text_of(root_ / "o" / "report.html").find("<canvas id=\"errors-gx\""),
              std::string::npos);
    EXPECT_TRUE(fs::exists(root_ / "o" / "errors.csv"));
    const json sweep = run_json(with({"--sweep", "epsilon", "--layer", "blocks.1.fc1"}));
    EXPECT_EQ(sweep["rows"].size(), 499);
    const json stale =
        run_json(with({"--sweep", "staleness", "--steps", "0,2", "--oversample", "0,5"}));
    EXPECT_EQ(stale["rows"].size(), 2 * 2 * 16);
    expect_refused(with({"--sweep", "epsilon"}), "--layer");
    expect_refused(with({"--layer", "blocks.9"}), "blocks.0.fc1");

    expect_refused(with({"--sweep", "rank", "--methods", "sketch:tolerance=0.1"}),
                   "chooses ranks of its own");
    const Words by_rank = {"--sweep", "rank",    "--methods", "vanilla,sketch", "--rank",
                           "2,4",     "--draws", "2",         "--out",          "r"};
    const json methods = run_json(with(by_rank));
    ASSERT_EQ(methods["means"].size(), 5);  // vanilla, the sketch and the optimum at two ranks
    EXPECT_EQ(methods["means"][0]["gx_error"], 0);
    EXPECT_EQ(methods["range_finder"].size(), 2);
    Words words = by_rank;
    words.insert(words.begin(), snr.begin(), snr.end() - 1);  // a table for people
    const Result shown = run(words);
    EXPECT_EQ(shown.status, 0) << shown.err;
    EXPECT_NE(shown.out.find("of it bias"), std::string::npos);
    EXPECT_NE(shown.out.find("100 %"), std::string::npos) << "the optimum draws nothing";
    EXPECT_NE(text_of(root_ / "r" / "report.html").find("of it bias"), std::string::npos);
    EXPECT_NE(text_of(root_ / "r" / "rows.csv").find("sketch"), std::string::npos);
}

TEST_F(Cli, SnrRefusesWhatWillNotDo) {
    expect_refused({"snr", "--source", "none"}, "holds no run");
    expect_refused({"snr", "--source", "none.npy"}, "--weight");
    expect_refused({"snr", "--source", "none.npy", "--weight", "w.npy"}, "none.npy");
    expect_refused({"snr", "--covariance", "odd"}, "separable, non-separable");
    expect_refused({"snr", "--sweep", "ranks"}, "epsilon, oversample, offset, staleness");
    expect_refused({"snr", "--sweep", "rank"}, "--source RUN");
    expect_refused({"snr", "--draws", "3"}, "it is for --sweep rank");
    expect_refused({"snr", "--sweep", "staleness"}, "--source RUN");
    expect_refused({"snr", "--epsilon", "0.9,2"}, "epsilon");
    expect_refused({"snr", "--offset", "half"}, "paper, none, energy, signal");
    expect_refused({"snr", "--confidence", "1"}, "confidence");
    expect_refused({"snr", "--seeds", "0"}, "--seeds");
    expect_refused({"snr", "--side", "auto"}, "token or channel");
    std::ofstream(root_ / "g.npy") << "not an array";
    expect_refused({"snr", "--source", "g.npy", "--weight", "g.npy"}, "not an array of NumPy");
}

TEST_F(Cli, BenchTimesWhatItsNamesSay) {
    const json document =
        run_json({"bench", "step/tiny", "--methods", "vanilla,instant", "--ranks", "3", "--rounds",
                  "2", "--warmup", "0", "--threads", "1", "--quiet", "--json"});
    ASSERT_EQ(document.at("rows").size(), 2u);
    EXPECT_EQ(document["rows"][1]["label"], "instant R3");
    EXPECT_EQ(document["rows"][1]["rounds"], 2);
    const Result table = run({"bench", "linear/tiny", "--rounds", "1", "--layers", "--quiet"});
    EXPECT_EQ(table.status, 0) << table.err;
    EXPECT_EQ(table.err, "");
    EXPECT_NE(table.out.find("compress-gy R8 q,k,v"), std::string::npos) << table.out;
    EXPECT_NE(table.out.find("vanilla qkv fc1"), std::string::npos) << table.out;
    EXPECT_GT(run_json({"bench", "list", "--json"}).size(), 10u);
}

TEST_F(Cli, BenchMemoryHasAProcessForEachMethod) {
    const json document =
        run_json({"bench", "memory", "step/tiny", "--methods", "vanilla,instant", "--json"});
    EXPECT_EQ(document.at("case"), "step/tiny");
    ASSERT_EQ(document.at("rows").size(), 2u);
    EXPECT_GT(document["rows"][0]["ledger_peak"], 0);
    expect_refused({"bench", "memory", "step/huge"}, "step/tiny");
}

TEST_F(Cli, BenchRefusesWhatWillNotDo) {
    expect_refused({"bench", "step/huge"}, "step/bert-block-8x512x768");
    expect_refused({"bench", "step/tiny", "--methods", "magic"}, "compress-gy");
    expect_refused({"bench", "step/tiny", "--rounds", "0"}, "--rounds");
    expect_refused({"bench", "step/tiny", "--ranks", "0", "--quiet"}, "--ranks, got 0");
    expect_refused({"bench", "step/tiny", "--threads", "0", "--quiet"}, "threads");
}

TEST_F(Cli, DataSetsAreListedAndVerified) {
    std::set<std::string> names;
    for (const json& entry : run_json({"data", "list", "--json"})) names.insert(entry["name"]);
    for (const char* const name : {"cifar10", "embedded-images", "image-folder", "mrpc", "cola",
                                   "embedded-text", "flowers102", "oxford-pets", "food101"})
        EXPECT_TRUE(names.contains(name)) << name;
    const json text = run_json({"data", "verify", "embedded-text", "--json"});
    EXPECT_EQ(text["train"]["samples"], 1500);
    EXPECT_EQ(text["test"]["majority_baseline"]["accuracy"], 0.5);
    EXPECT_NEAR(text["test"]["majority_baseline"]["f1"], 2.0 / 3, 1e-12);
    EXPECT_EQ(run_json({"data", "verify", "embedded-images", "--json"})["test"]["samples"], 1500);

    for (const char* const file :
         {"train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"}) {
        fs::create_directories((root_ / file).parent_path());
        fs::copy_file(slimgrad::tests_directory() / "pictures" / "colour.jpg", root_ / file);
    }
    const json folder = run_json({"data", "verify", "image-folder", "--data-dir", ".", "--json"});
    EXPECT_EQ(folder["train"]["samples"], 2);
    EXPECT_EQ(folder["test"]["classes"], (json{"a", "b"}));
    std::ofstream(root_ / "val/b/1.jpg") << "no picture";
    expect_refused({"data", "verify", "image-folder", "--data-dir", "."}, "val/b/1.jpg");
    expect_refused({"data"}, "slimgrad data --help");
    expect_refused({"data", "verify", "wnli"}, "unknown data set 'wnli'. Known: cifar10");
    expect_refused({"data", "verify", "mrpc", "--data-dir", "nowhere"}, "data get mrpc");
    std::ofstream(root_ / "train.tsv") << "index\tsentence1\tlabel\n";
    std::ofstream(root_ / "dev.tsv") << "index\tsentence1\tlabel\n";
    expect_refused({"data", "verify", "rte", "--data-dir", "."},
                   "train.tsv': expected a column \"sentence2\"");
}

TEST_F(Cli, DataThatCannotBeFetched) {
    expect_refused({"data", "get", "fashion-mnist"}, "apt install dataset-fashion-mnist");
    expect_refused({"data", "get", "moon"}, "unknown data set 'moon'. Known: mrpc, cifar10");
    // Nobody listens there: not the user's mistake.
    const Result result = run({"data", "get", "mrpc", "--mirror", "http://127.0.0.1:1", "--json"});
    EXPECT_EQ(result.status, 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("http://127.0.0.1:1/msr_paraphrase_train.txt"), std::string::npos);
    // A file that is there with other content stays as it is.
    fs::create_directories(root_ / "MRPC");
    std::ofstream(root_ / "MRPC/msr_paraphrase_train.txt") << "mine";
    const Result other = run({"data", "get", "mrpc", "--mirror", "http://127.0.0.1:1"});
    EXPECT_EQ(other.status, 2);
    EXPECT_NE(other.err.find("is there with other content"), std::string::npos) << other.err;
    EXPECT_EQ(text_of(root_ / "MRPC/msr_paraphrase_train.txt"), "mine");
}

TEST_F(Cli, HelpHasAnExample) {
    for (const char* command :
         {"train", "eval", "compare", "cost", "snr", "trace", "report", "info", "bench", "data"}) {
        const Result result = run({command, "--help"});
        EXPECT_EQ(result.status, 0);
        EXPECT_NE(result.out.find(std::string("Example:\n  slimgrad ") + command),
                  std::string::npos)
            << result.out;
        EXPECT_EQ(result.err, "");
    }
    EXPECT_EQ(run({"--version"}).status, 0);
}

}  // namespace
}  // namespace cli_test
