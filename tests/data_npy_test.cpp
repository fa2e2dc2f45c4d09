#include "data/npy.h"

#include <gtest/gtest.h>

#include <cstring>

#include "temporary.h"
#include "tensor/random.h"

namespace slimgrad {
namespace {

std::span<const std::uint8_t> bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A file of this version, header and content, as numpy.save lays it out.
std::string file_of(const std::string& header, const std::string& content, char version = 1) {
    std::string text = std::string("\x93NUMPY") + version + '\0';
    for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
        text += static_cast<char>(header.size() >> 8 * i & 255);
    return text + header + content;
}

template <class T>
std::string content(std::initializer_list<T> values) {
    std::string text(values.size() * sizeof(T), '\0');
    std::memcpy(text.data(), values.begin(), text.size());
    return text;
}

const std::string plain = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n";

TEST(Npy, ReadsEveryVersionTypeAndOrder) {
    const auto four = content<float>({1, 2, 3, 4, 5, 6});
    for (const char version : {1, 2, 3}) {
        const Tensor a = parse_npy(bytes_of(file_of(plain, four, version)), "a.npy");
        EXPECT_EQ(a.shape(), (Shape{2, 3}));
        EXPECT_EQ(a.at({1, 0}), 4);
    }
    const Tensor fortran =
        parse_npy(bytes_of(file_of("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }\n",
                                   content<double>({1, 4, 2, 5, 3, 6}))),
                  "a.npy");
    EXPECT_EQ(fortran.shape(), (Shape{2, 3}));
    for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(fortran.at({i / 3, i % 3}), i + 1);
    // Keys in another order, double quotes, no comma at the end, one dimension, Python 2.
    const Tensor line = parse_npy(
        bytes_of(file_of("{\"shape\":(6L,),'fortran_order':True,'descr':'<f4'}", four)), "a.npy");
    EXPECT_EQ(line.shape(), (Shape{6}));
    EXPECT_EQ(line.at({5}), 6);
    EXPECT_EQ(parse_npy(bytes_of(file_of(
                            "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }\n", "")),
                        "a.npy")
                  .numel(),
              0);
}

TEST(Npy, WhatIsSavedComesBack) {
    const TemporaryDirectory directory;
    Stream stream(1, "npy");
    for (const Shape& shape : {Shape{7}, Shape{2, 3, 5}, Shape{1, 0}}) {
        const Tensor a = normal(shape, 0, 1, stream);
        save_npy(directory / "a.npy", a);
        EXPECT_TRUE(identical(load_npy(directory / "a.npy"), a)) << to_string(shape);
    }
    save_npy(directory / "a.npy", Tensor::zeros({4}));
    EXPECT_EQ(get(directory / "a.npy").size(), 128 + 4 * sizeof(real));
}

TEST(Npy, DamagedFilesAreRefusedInOneLine) {
    const auto refused = [](const std::string& text, std::initializer_list<std::string> parts) {
        expect_error([&] { parse_npy(bytes_of(text), "a.npy"); }, parts);
    };
    const auto header = [](const std::string& dictionary) { return file_of(dictionary, ""); };
    const std::string values(24, '\0');
    refused("", {"a.npy", "not an array of NumPy"});
    refused("PK\x03\x04 an npz", {"not an array of NumPy"});
    refused(std::string("\x93NUMPY\x01\x00\x10", 9), {"cut short"});
    refused(file_of(plain, values, 4), {"byte 6", "4.0"});
    refused(std::string("\x93NUMPY\x01\x00\xff\xff{'descr'", 18), {"byte 8", "65535"});
    refused(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'", 20), {"4294967295"});
    refused(file_of(plain, values.substr(1)), {"(2, 3)", "23 bytes"});
    refused(file_of(plain, values + "x"), {"(2, 3)", "25 bytes"});
    refused(header("not a dictionary"), {"byte 10", "'{'"});
    refused(header("{'descr': '<f4', 'shape': (1,)}"), {"'fortran_order'"});
    refused(header("{'descr': '<f4', 'descr': '<f4'}"), {"byte 27", "one each"});
    refused(header("{'descr': [('a', '<f4')], "), {"a quoted word"});
    refused(header("{'descr': '<f4"), {"end of a quoted word"});
    refused(header("{'fortran_order': 1, "), {"True or False"});
    refused(header("{'shape': (-1,)"), {"a length"});
    refused(header("{'shape': (99999999999999999999,)"), {"a length"});
    refused(header("{'shape': (1, 2"), {"')'"});
    const auto of = [&](const std::string& type, const std::string& shape) {
        return file_of("{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + "}",
                       values);
    };
    for (const char* type : {">f4", "<f2", "<i4", "|O", "\n"})
        refused(of(type, "(2, 3)"), {"'<f4' or '<f8'", "astype"});
    refused(of("<f4", "()"), {"a single number"});
    refused(of("<f4", "(9223372036854775807, 9223372036854775807)"), {"does not fit"});
    refused(of("<f4", "(0, 9223372036854775807)"), {"does not fit"});
    std::string many = "(";
    for (int i = 0; i < 40; ++i) many += "1, ";
    refused(of("<f4", many + ")"), {"32 dimensions", "40"});
    expect_error([] { load_npy("no such file.npy"); }, {"no such file.npy"});
}

TEST(Npy, DamagedBytesOnlyEverThrowError) {
    const std::string good = file_of(plain, std::string(24, '\1'));
    Stream stream(1, "fuzz");
    const auto below = [&](std::size_t bound) {
        return static_cast<std::size_t>(stream.below(static_cast<std::uint32_t>(bound)));
    };
    const std::string_view tokens[] = {
        "(",   ")",       "{", "}", "'", ",", ":", "0", "-1", "True", "99999999999999999999",
        "<f8", "'shape'", " "};
    int thrown = 0;
    for (int round = 0; round < 20000; ++round) {
        std::string text = good;
        for (std::size_t change = 1 + below(3); change-- > 0 && !text.empty();) {
            const std::size_t at = below(text.size());
            switch (below(4)) {
                case 0:
                    text[at] = static_cast<char>(stream());
                    break;
                case 1:
                    text.insert(at, tokens[below(std::size(tokens))]);
                    break;
                case 2:
                    text.erase(at, 1 + below(4));
                    break;
                default:
                    text.resize(at + 1);
            }
        }
        try {
            const Tensor tensor = parse_npy(bytes_of(text), "a.npy");
            ASSERT_LE(tensor.numel(), std::ssize(text));
        } catch (const Error& error) {
            ++thrown;
            ASSERT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
            ASSERT_LT(std::string_view(error.what()).size(), 1000u);
        }
    }
    EXPECT_GT(thrown, 10000);
}

}  // namespace
}  // namespace slimgrad
