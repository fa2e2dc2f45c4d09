#include "tensor/option.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tensor/blas.h"
#include "tensor/error.h"

namespace slimgrad {
namespace {

template <class F>
std::string message(F f) {
    try {
        f();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

template <class T>
std::string parse(const Option& option, std::string_view text, T expected = {}) {
    return message([&] {
        T value{};
        parse_option("[test]", option, text, value);
        EXPECT_EQ(value, expected) << text;
    });
}

TEST(Option, WholeNumbersAreTakenStrictly) {
    const Option epochs{"epochs", Integers{1, 1000}};
    EXPECT_EQ(parse<std::int64_t>(epochs, "1", 1), "");
    EXPECT_EQ(parse<std::int64_t>(epochs, "1000", 1000), "");
    EXPECT_EQ(parse<std::int64_t>(epochs, "007", 7), "");
    for (const char* text : {"0", "-1", "1001", "+1", " 1", "1 ", "1_000", "1,000", "1.0", "1e3",
                             "0x10", "1k", "one", "4611686018427387905", "9223372036854775808",
                             "18446744073709551616", "-9999999999999999999"})
        EXPECT_TRUE(
            parse<std::int64_t>(epochs, text)
                .starts_with("[test] expected a whole number from 1 to 1000 as epochs, got "))
            << text;
    EXPECT_EQ(
        parse<std::int64_t>(epochs, ""),
        "[test] expected a whole number from 1 to 1000 as epochs, got an empty text. Hint: is "
        "a variable of the shell not set?");
    const Option seed{"seed", Integers{0, std::numeric_limits<std::int64_t>::max()}};
    EXPECT_EQ(parse<std::uint64_t>(seed, "9223372036854775807", 9223372036854775807u), "");
    EXPECT_NE(parse<std::uint64_t>(seed, "-1"), "");
    EXPECT_NE(parse<std::uint64_t>(seed, "9223372036854775808"), "");
    EXPECT_EQ(parse<std::optional<std::int64_t>>(epochs, "3", 3), "");
}

TEST(Option, NumbersAreFiniteAndInTheirRange) {
    const Option lr{"lr", Reals{0, 100}};
    for (const auto& [text, value] :
         {std::pair{"0", 0.0}, {"1e-3", 1e-3}, {".5", 0.5}, {"100", 100.0}, {"1E1", 10.0}})
        EXPECT_EQ(parse<double>(lr, text, value), "");
    for (const char* text : {"nan", "inf", "-inf", "1e999", "1e-999", "0x1p3", "+1", " 1", "1 ",
                             "1,5", "1_0", "fast", "", "-0.1", "100.1", "1e", "--1"})
        EXPECT_TRUE(parse<double>(lr, text).starts_with(
            "[test] expected a number from 0 to 100 as lr, got "))
            << text;
    const auto refused = [](Reals range, double value) {
        return message([&] { check_option("[test]", {"x", range}, value); });
    };
    EXPECT_EQ(refused({0, 1, true}, 1), "");
    EXPECT_EQ(refused({0, 1, true}, 0),
              "[test] expected a number above 0 and at most 1 as x, got 0");
    EXPECT_EQ(refused({0, 1, false, true}, 1),
              "[test] expected a number from 0 to below 1 as x, got 1");
    EXPECT_EQ(refused({0, 1, true, true}, 1.5),
              "[test] expected a number above 0 and below 1 as x, got 1.5");
    EXPECT_TRUE(refused({0, 1}, std::nan("")).ends_with("got nan"));
    EXPECT_TRUE(refused({0, 1e300}, HUGE_VAL).ends_with("got inf"));
}

TEST(Option, WordsAreThoseThatAreKnown) {
    const Option side{"side", Words{{"token", "channel"}, true}};
    EXPECT_EQ(parse<std::string>(side, "token", "token"), "");
    EXPECT_EQ(parse<std::string>(side, "left"),
              "[test] unknown side 'left'. Known: token, channel");
    EXPECT_NE(parse<std::string>(side, ""), "");  // on a command line; in a file it chooses none
    EXPECT_EQ(message([&] { check_option("[test]", side, std::string()); }), "");
    const Option out{"out", AnyText{}};
    EXPECT_EQ(parse<std::string>(out, "a b", "a b"), "");
    EXPECT_NE(parse<std::string>(out, ""), "");
    const Option flag{"augment", YesNo{}};
    EXPECT_EQ(parse<bool>(flag, "true", true), "");
    EXPECT_EQ(parse<bool>(flag, "yes"), "[test] expected true or false as augment, got 'yes'");
}

TEST(Option, WhatIsShownStaysOnOneLine) {
    EXPECT_EQ(shown("a\nb\x1b[1m"), "'a\\x0ab\\x1b[1m'");
    EXPECT_EQ(shown(std::string(60, 'x')), "'" + std::string(60, 'x') + "'");
    EXPECT_EQ(shown(std::string(1000, 'x')), "'" + std::string(60, 'x') + "...'");
    std::string umlauts(59, 'x');
    for (int i = 0; i < 9; ++i) umlauts += "ü";
    EXPECT_EQ(shown(umlauts), "'" + std::string(59, 'x') + "ü...'");
}

TEST(Option, ThreadsHaveOneBoundForEverybody) {
    const int before = threads();
    for (const std::int64_t count :
         {std::int64_t{0}, std::int64_t{-1}, max_threads() + 1, std::int64_t{1} << 32 | 1})
        EXPECT_NE(message([&] { set_threads(count); }), "") << count;
    EXPECT_EQ(threads(), before);
    EXPECT_GE(max_threads(), 256);
}

}  // namespace
}  // namespace slimgrad
