#include "data/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "tensor/random.h"
#include "tests/places.h"
#include "tests/temporary.h"

namespace slimgrad {
namespace {

namespace fs = std::filesystem;

fs::path golden(const char* name) { return tests_directory() / "golden" / "safetensors" / name; }

std::vector<double> list(const Tensor& t) { return {t.values().begin(), t.values().end()}; }

/// A file with this header and this many bytes of values.
std::string file_of(std::string_view header, std::size_t data_bytes) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
    return bytes.append(header).append(data_bytes, '\x01');
}

SafeTensorsHeader parse(const std::string& bytes) {
    return parse_safetensors(
        std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), "a.st");
}

TEST(SafeTensors, ReadsEveryTypeThatPythonWrites) {
    const SafeTensors file = SafeTensors::open(golden("mixed.safetensors"));
    EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
    EXPECT_EQ(file.entries().size(), 13u);
    EXPECT_EQ(file.shape("f16"), (Shape{2, 3}));
    const std::vector<double> values{
        0, -1.5, 0.333251953125, 65504, 6.103515625e-05, -5.9604644775390625e-08};
    EXPECT_EQ(list(file.tensor("f32")), values);
    EXPECT_EQ(list(file.tensor("f16")), values);  // all of them are exact in half precision
    EXPECT_EQ(list(file.tensor("bf16")),
              (std::vector<double>{1, -0.0078125, 3.3895313892515355e38, INFINITY}));
    EXPECT_EQ(list(file.tensor("f64")), (std::vector<double>{static_cast<real>(3.141592653589793),
                                                             static_cast<real>(-0x1p-1074)}));
    EXPECT_EQ(file.integers("i64"), (std::vector<std::int64_t>{(1LL << 53) + 1, -(1LL << 62)}));
    EXPECT_EQ(list(file.tensor("i64")), (std::vector<double>{0x1p53, -0x1p62}));
    EXPECT_EQ(list(file.tensor("i32")), (std::vector<double>{-0x1p31, 7}));
    EXPECT_EQ(list(file.tensor("i16")), (std::vector<double>{-32768, 7}));
    EXPECT_EQ(list(file.tensor("i8")), (std::vector<double>{-128, 7}));
    EXPECT_EQ(list(file.tensor("u8")), (std::vector<double>{255, 7, 0}));
    EXPECT_EQ(list(file.tensor("bool")), (std::vector<double>{1, 0, 1}));
    EXPECT_EQ(file.tensor("scalar").shape(), Shape{});
    EXPECT_EQ(file.tensor("scalar").item(), 2.5);
    EXPECT_EQ(file.tensor("empty").shape(), (Shape{0, 3}));
    EXPECT_TRUE(file.contains("ünïcode \"name\""));
    expect_error([&] { file.tensor("f8"); }, {"mixed.safetensors", "no tensor \"f8\"", "i64"});
    expect_error([&] { file.integers("i32"); }, {"expected I64, got I32"});
}

TEST(SafeTensors, EveryHalfIsReadAsItsValue) {
    const TemporaryDirectory directory;
    std::string bytes =
        file_of(R"({"h":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]}})", 2 * 65536);
    for (unsigned i = 0; i < 65536; ++i) {
        const std::uint16_t bits = static_cast<std::uint16_t>(i);
        std::memcpy(bytes.data() + bytes.size() - 2 * 65536 + 2 * i, &bits, 2);
    }
    put(directory / "half.st", bytes);
    const Tensor half = SafeTensors::open(directory / "half.st").tensor("h");
    for (int i = 0; i < 65536; ++i) {
        const int exponent = i >> 10 & 31, fraction = i & 1023;
        double value =
            exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
        if (exponent == 31) value = fraction == 0 ? INFINITY : NAN;
        if (i >> 15) value = -value;
        const double got = half.data()[i];
        ASSERT_TRUE(std::isnan(value) ? std::isnan(got) : got == value) << i;
        ASSERT_TRUE(std::isnan(value) || std::signbit(got) == std::signbit(value)) << i;
    }
}

TEST(SafeTensors, RoundTripKeepsEveryBit) {
    const TemporaryDirectory directory;
    Stream stream(1, "test");
    Tensor x = normal({3, 5}, 0, 1, stream);
    x.data()[0] = std::numeric_limits<real>::quiet_NaN();
    x.data()[1] = -std::numeric_limits<real>::denorm_min();
    const std::vector<std::int64_t> integers{std::numeric_limits<std::int64_t>::min(), 0, 7};
    const std::vector<std::uint8_t> bytes{1, 2, 255};
    SafeTensorsWriter writer;
    writer.add("bytes first? ü", x);
    writer.add_bytes("bytes", bytes);
    writer.add("scalar", Tensor::scalar(3));
    writer.add("none", Tensor({0, 4}));
    writer.add_integers("integers", integers);
    writer.add_integers("no integers", {});
    writer.set_metadata("config", "{\"a\": \"line\nline\"}");
    writer.write(directory / "a.safetensors");
    const SafeTensors file = SafeTensors::open(directory / "a.safetensors");
    EXPECT_TRUE(identical(file.tensor("bytes first? ü"), x));
    EXPECT_EQ(file.entry("scalar").dtype, sizeof(real) == 8 ? Dtype::f64 : Dtype::f32);
    EXPECT_EQ(file.tensor("scalar").item(), 3);
    EXPECT_EQ(file.shape("none"), (Shape{0, 4}));
    EXPECT_EQ(file.integers("integers"), integers);
    EXPECT_TRUE(file.integers("no integers").empty());
    EXPECT_TRUE(std::ranges::equal(file.bytes("bytes"), bytes));
    EXPECT_EQ(file.metadata().at("config"), "{\"a\": \"line\nline\"}");
    writer.write(directory / "b.safetensors");
    EXPECT_EQ(get(directory / "a.safetensors"), get(directory / "b.safetensors"));
    // Written over itself while it is open: the open one keeps its values.
    write_safetensors(directory / "a.safetensors", {});
    EXPECT_TRUE(identical(file.tensor("bytes first? ü"), x));
    EXPECT_TRUE(SafeTensors::open(directory / "a.safetensors").entries().empty());
}

TEST(SafeTensors, WritesTheBytesThatPythonWrites) {
    if (sizeof(real) != sizeof(float)) GTEST_SKIP() << "the file holds F32";
    const TemporaryDirectory directory;
    SafeTensorsWriter writer;
    writer.add("w", Tensor::from({2, 3}, std::vector<real>{0, 1, 2, 3, 4, 5}));
    writer.add("b", Tensor::full({3}, real(-0.5)));
    writer.add_integers("step", std::vector<std::int64_t>{42});
    writer.add_bytes("state", std::vector<std::uint8_t>{1, 2, 3});
    writer.set_metadata("note", "one \"line\"\n and ü");
    writer.write(directory / "plain.safetensors");
    EXPECT_EQ(get(directory / "plain.safetensors"), get(golden("plain.safetensors")));
}

TEST(SafeTensors, LiesInTheHeaderAreNamed) {
    const auto expect = [](const std::string& bytes, std::initializer_list<std::string> parts) {
        expect_error([&] { parse(bytes); }, {"[safetensors] 'a.st': "});
        expect_error([&] { parse(bytes); }, parts);
    };
    const auto one = [](const std::string& entry, std::size_t size) {
        return file_of(fmt::format("{{\"w\":{}}}", entry), size);
    };
    parse(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 8));
    parse(file_of("{}   ", 0));

    expect("", {"only 0 bytes"});
    expect("1234567", {"only 7 bytes"});
    expect(file_of("{}", 0).substr(0, 9), {"header of 2 bytes", "ends at byte 9"});
    expect("PK\x03\x04zipzip", {"at most 100000000 bytes", "no safetensors file"});
    expect(std::string(8, '\xff') + "{}", {"at most 100000000 bytes"});
    expect(file_of("", 0), {"begins with '{' at byte 8"});
    expect(file_of("[]", 0), {"begins with '{'"});
    expect(file_of("{\"w\":", 0), {"in JSON", "byte 13"});
    expect(file_of("{} {}", 0), {"in JSON", "byte 11"});
    expect(file_of("{\"\xff\":1}", 0), {"not UTF-8"});
    expect(file_of("{\"w\":1e999}", 0), {"range"});
    expect(file_of("{\"w\":" + std::string(100000, '['), 0), {"deeper nesting"});

    expect(one("[1]", 0), {"tensor \"w\"", "an object, got array"});
    expect(one("{}", 0), {"\"dtype\""});
    expect(one(R"({"dtype":32})", 0), {"\"dtype\""});
    expect(one(R"({"dtype":"F33"})", 0), {"unknown dtype \"F33\"", "F16, BF16"});
    expect(one(R"({"dtype":"F32","data_offsets":[0,8]})", 8), {"\"shape\""});
    expect(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", 8), {"\"shape\""});
    expect(one(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})", 8), {"\"shape\""});
    expect(one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})", 8),
           {"\"shape\""});
    expect(one(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})", 8), {"\"shape\""});
    expect(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})", 8),
           {"larger than any file"});
    expect(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8]})", 8), {"two data_offsets"});
    expect(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,12]})", 8),
           {"within the 8 bytes", "0 to 12"});
    expect(one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", 8), {"8 to 0"});
    expect(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 8),
           {"expected 8 bytes for F32 of shape (2,), got 4"});
    expect(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 7), {"within the 7 bytes"});
    expect(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 9),
           {"expected 8 bytes of values", "got 9"});
    expect(one(R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})", 12),
           {"data offsets 0 to 4 belong to no tensor"});

    const std::string w = R"("w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
    expect(file_of("{" + w + "," + w + "}", 4), {"\"w\" twice"});
    expect(file_of(R"({"w":{"dtype":"U8","dtype":"I8"}})", 4), {"\"dtype\" twice"});
    expect(file_of("{" + w + R"(,"v":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", 6),
           {"\"w\" and \"v\" overlap at data offset 2"});
    expect(file_of("{" + w + R"(,"v":{"dtype":"U8","shape":[1],"data_offsets":[6,7]}})", 7),
           {"data offsets 4 to 6"});
    expect(file_of(R"({"__metadata__":[]})", 0), {"__metadata__", "array"});
    expect(file_of(R"({"__metadata__":{"a":1}})", 0), {"\"a\" of __metadata__", "number"});
    // Lengths that overflow, and none at all where nothing is.
    expect(one(R"({"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,8]})", 8),
           {"larger than any file"});
    expect(one(R"({"dtype":"U8","shape":[1],"data_offsets":[9223372036854775807,1]})", 1),
           {"within the 1 bytes"});
    expect(one(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1e0]})", 1), {"\"data_offsets\""});
    EXPECT_EQ(
        parse(one(R"({"dtype":"F64","shape":[0,9223372036854775807],"data_offsets":[0,0]})", 0))
            .tensors[0]
            .shape[1],
        std::numeric_limits<std::int64_t>::max());
    // A name that would break the line, or fill the screen, is escaped and cut.
    expect(file_of(R"({"a\nb":1})", 0), {R"(tensor "a\nb")"});
    EXPECT_LT(message([&] { parse(file_of("{\"" + std::string(5000, 'a') + "\":1}", 0)); }).size(),
              300u);
}

TEST(SafeTensors, DamagedHeadersOnlyEverThrowError) {
    const std::string good = get(golden("mixed.safetensors"));
    const std::size_t header_end = good.size() - 104;
    Stream stream(1, "fuzz");
    const auto below = [&](std::size_t bound) {
        return static_cast<std::size_t>(stream.below(static_cast<std::uint32_t>(bound)));
    };
    int thrown = 0;
    const auto read_all = [&](const std::string& bytes) {
        try {
            const SafeTensorsHeader header = parse(bytes);
            for (const TensorEntry& tensor : header.tensors)
                ASSERT_LE(header.length + tensor.end, std::ssize(bytes));
        } catch (const Error& error) {
            ++thrown;
            ASSERT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
            ASSERT_LT(std::string_view(error.what()).size(), 1000u);
        }
    };
    const std::string_view tokens[] = {"\"",      "{",    "}",    "[",
                                       "]",       ",",    ":",    "0",
                                       "-1",      "1e9",  "null", "99999999999999999999",
                                       "\\u0000", "\xc3", "F32",  " "};
    for (int round = 0; round < 5000; ++round) {
        std::string bytes = good;
        const std::size_t changes = 1 + below(4);
        for (std::size_t change = 0; change < changes; ++change) {
            if (bytes.empty()) break;
            const std::size_t at = below(std::min(header_end, bytes.size()));
            switch (below(5)) {
                case 0:
                    bytes[at] = static_cast<char>(stream());
                    break;
                case 1:
                    bytes.erase(at, 1 + below(20));
                    break;
                case 2:
                    bytes.insert(at, tokens[below(std::size(tokens))]);
                    break;
                case 3:
                    bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
                    break;
                default:
                    bytes.resize(below(bytes.size()) + 1);
            }
        }
        // Half of the time with a length that fits, so that the damage reaches the JSON parser.
        if (below(2) == 0 && bytes.size() > 120)
            for (std::size_t i = 0; i < 8; ++i)
                bytes[i] = static_cast<char>((bytes.size() - 112) >> (8 * i));
        read_all(bytes);
    }
    EXPECT_GT(thrown, 3500);
}

TEST(SafeTensors, BadNamesAreRefusedBeforeAnythingIsWritten) {
    const TemporaryDirectory directory;
    const Tensor x = Tensor::scalar(1);
    const auto write = [&](std::vector<NamedTensor> tensors,
                           const std::map<std::string, std::string>& metadata = {}) {
        write_safetensors(directory / "a.safetensors", tensors, metadata);
    };
    expect_error([&] { write({{"w", x}, {"w", x}}); }, {"two tensors are named \"w\""});
    expect_error([&] { write({{"__metadata__", x}}); }, {"__metadata__"});
    expect_error([&] { write({{"\xff", x}}); }, {"UTF-8"});
    expect_error([&] { write({}, {{"a", "\xff"}}); }, {"UTF-8"});
    expect_error([&] { write({{"w", Tensor()}}); }, {"\"w\" is undefined"});
    EXPECT_TRUE(fs::is_empty(directory.path()));
}

TEST(SafeTensors, AFailedWriteLeavesTheOldFileAndNothingElse) {
    const TemporaryDirectory directory;
    const fs::path path = directory / "model.safetensors";
    const std::vector<NamedTensor> small{{"w", Tensor::full({4}, 1)}};
    const std::vector<NamedTensor> large{{"w", Tensor::full({1 << 18}, 2)}};
    write_safetensors(path, small);
    const std::string before = get(path);

    // A limit on the size of files stands in for a full disk.
    struct rlimit old {};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit limit { 1 << 16, old.rlim_max };
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    const std::string text = message([&] { write_safetensors(path, large); });
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
    std::signal(SIGXFSZ, handler);
    EXPECT_NE(text.find("cannot write '" + path.string() + "'"), std::string::npos) << text;
    EXPECT_EQ(get(path), before);
    EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()), 1);

    write_safetensors(path, large);
    EXPECT_EQ(SafeTensors::open(path).tensor("w").at({7}), 2);
    expect_error([&] { write_safetensors(directory / "missing/a.st", small); },
                 {"missing/a.st", "No such file or directory"});
    fs::create_directory(directory / "folder");
    expect_error([&] { write_safetensors(directory / "folder", small); }, {"folder", "directory"});
    EXPECT_EQ(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()), 2);
    expect_error([&] { SafeTensors::open(directory / "folder"); }, {"expected a file"});
    expect_error([&] { SafeTensors::open(directory / "none"); }, {"No such file"});
}

TEST(SafeTensors, LoadTensorsListsAllThatDoesNotFit) {
    const TemporaryDirectory directory;
    SafeTensorsWriter writer;
    writer.add("a", Tensor::full({2, 3}, 1));
    writer.add("b", Tensor::full({3}, 2));
    writer.add("old", Tensor::full({3}, 3));
    writer.add_integers("bn.num_batches_tracked", std::vector<std::int64_t>{7});
    writer.write(directory / "a.st");
    const SafeTensors file = SafeTensors::open(directory / "a.st");
    const Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({3});
    const std::vector<std::string> ignored{"num_batches_tracked", "old"};

    std::vector<NamedTensor> targets{{"a", a}, {"b", Tensor::zeros({3, 1})}, {"c", b}};
    expect_error([&] { load_tensors(file, targets); },
                 {"a.st' does not fit: 1 missing: \"c\"; 2 unexpected: "
                  "\"bn.num_batches_tracked\", \"old\"; 1 of another shape: \"b\" expected (3, 1), "
                  "got (3,)"});
    EXPECT_EQ(list(a), std::vector<double>(6, 0));
    for (int i = 0; i < 9; ++i) targets.push_back({fmt::format("x{}", i), b});
    expect_error([&] { load_tensors(file, targets); }, {"10 missing", "and 5 more"});
    targets = {{"a", a}, {"b", b}};
    expect_error([&] { load_tensors(file, targets); }, {"2 unexpected"});
    load_tensors(file, targets, ignored);
    EXPECT_EQ(list(a), std::vector<double>(6, 1));
    EXPECT_EQ(list(b), std::vector<double>(3, 2));
}

TEST(SafeTensors, WeightsThatAreNotFiniteAreRefusedWithTheirPlace) {
    const TemporaryDirectory directory;
    const Tensor b = Tensor::zeros({1});
    for (const double bad : {std::nan(""), double{INFINITY}, double{-INFINITY}}) {
        Tensor values = Tensor::full({2, 3}, 1);
        values.data()[5] = static_cast<real>(bad);
        write_safetensors(directory / "a.st", std::vector<NamedTensor>{{"a", values}, {"b", b}});
        const SafeTensors file = SafeTensors::open(directory / "a.st");
        expect_error([&] { file.require_finite("a"); },
                     {"a.st': a holds a value that is not finite: ", " at index (1, 2)"});
        file.require_finite("b");
    }
    // In half precision too, and what no float can hold.
    put(directory / "h.st",
        file_of(R"({"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", 0) +
            std::string("\x00\x7c", 2));
    expect_error([&] { SafeTensors::open(directory / "h.st").require_finite("h"); },
                 {"h holds a value that is not finite: inf at index (0,)"});
}

/// What is read or written for one tensor must not grow with the number of the others.
TEST(SafeTensors, AHeaderOfManyTensorsIsReadInOneGo) {
    const TemporaryDirectory directory;
    SafeTensorsWriter writer;
    const Tensor x = Tensor::full({1}, 1);
    constexpr int count = 50'000;
    for (int i = 0; i < count; ++i) writer.add(fmt::format("layer.{}.weight", i), x);
    writer.write(directory / "many.st");
    const SafeTensors file = SafeTensors::open(directory / "many.st");
    EXPECT_EQ(file.entries().size(), std::size_t{count});
    std::vector<NamedTensor> targets;
    for (int i = 0; i < count; ++i) targets.push_back({fmt::format("layer.{}.weight", i), x});
    load_tensors(file, targets);
}

TEST(SafeTensors, ThePretrainedResnetReads) {
    const char* const shared = std::getenv("SLIMGRAD_SHARED_DATA");
    const fs::path path =
        fs::path(shared ? shared : "") / "weights/resnet-cifar10-akamaster/resnet20.safetensors";
    if (!shared || !fs::exists(path)) GTEST_SKIP() << "set SLIMGRAD_SHARED_DATA";
    const SafeTensors file = SafeTensors::open(path);
    EXPECT_EQ(file.shape("conv1.weight"), (Shape{16, 3, 3, 3}));
    EXPECT_EQ(file.shape("linear.bias"), (Shape{10}));
    std::int64_t numbers = 0;
    for (const std::string& name : file.names()) {
        const Tensor tensor = file.tensor(name);
        for (const real value : tensor.values()) ASSERT_TRUE(std::isfinite(value)) << name;
        if (!name.ends_with("num_batches_tracked")) numbers += tensor.numel();
    }
    EXPECT_EQ(numbers, 271098);
}

}  // namespace
}  // namespace slimgrad
