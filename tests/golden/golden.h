#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <string>

#include "data/safetensors.h"
#include "tensor/ops.h"
#include "tensor/random.h"
#include "tests/places.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// Results of PyTorch in float64, as tests/golden/make.py wrote them; `real` when read.
class GoldenFile {
  public:
    /// Opens tests/golden/<name>.safetensors. Throws Error, with a hint how to make the file again,
    /// if it is absent or is not a golden file of this version.
    explicit GoldenFile(const std::string& name)
        : file_(open(tests_directory() / "golden" / (name + ".safetensors"))) {
        auto metadata = file_.metadata();
        require(
            metadata["magic"] == "slimgrad-golden" && metadata["version"] == version,
            "[golden] {}: expected 'slimgrad-golden' of version {}, got '{}' of version '{}'. {}",
            file_.file(), version, metadata["magic"], metadata["version"], hint);
    }

    bool has(const std::string& key) const { return file_.contains(key); }
    Tensor operator[](const std::string& key) const {
        require(has(key), "[golden] {} has no '{}'. {}", file_.file(), key, hint);
        return file_.tensor(key);
    }
    /// The names of the tensors that begin with `prefix`, without it.
    std::set<std::string> keys(const std::string& prefix) const {
        std::set<std::string> keys;
        for (const std::string& name : file_.names())
            if (name.starts_with(prefix)) keys.insert(name.substr(prefix.size()));
        return keys;
    }
    /// What stands before the slash in the names of the tensors.
    std::set<std::string> cases() const {
        std::set<std::string> cases;
        for (const std::string& key : keys("")) cases.insert(key.substr(0, key.find('/')));
        return cases;
    }

  private:
    static constexpr const char* version = "1";
    static constexpr const char* hint =
        "Hint: pip install torch==2.13.0 numpy torchvision timm; python tests/golden/make.py";

    static SafeTensors open(const std::string& path) {
        require(std::filesystem::exists(path), "[golden] {} is absent. {}", path, hint);
        return SafeTensors::open(path);
    }

    SafeTensors file_;
};

/// centre + spread v, with v in [-1, 1) from the upper 16 bits of each word.
inline Tensor golden_values(std::uint64_t seed, Shape shape, std::string_view purpose,
                            std::uint64_t a, real centre, real spread) {
    Stream stream(seed, purpose, a);
    Tensor t(std::move(shape));
    for (real& value : t.values())
        value = centre + spread * (static_cast<real>(stream() >> 16) / 32768 - 1);
    return t;
}

/// Matrices and kernels: within the least power of two that is at least 1/√fan_in. Vectors: within
/// 1/8 of 0, or of 1 for the scales of normalisations and running variances.
inline Tensor golden_initial(std::uint64_t seed, const std::string& path, const Shape& shape) {
    if (shape.size() < 2)
        return golden_values(seed, shape, path, 0,
                             path.ends_with("weight") || path.ends_with("var") ? 1 : 0, 0.125);
    const std::int64_t fan_in = numel(shape) / shape[0];
    real spread = 1;
    while (spread * spread / 4 * static_cast<real>(fan_in) >= 1) spread /= 2;
    return golden_values(seed, shape, path, 0, 0, spread);
}

/// Sum, sum of absolute values, first and last element.
inline std::array<double, 4> golden_summary(const Tensor& t) {
    double absolute = 0;
    for (const real value : t.values()) absolute += std::abs(value);
    return {sum(t), absolute, t.values().front(), t.values().back()};
}

/// max |got - expected| / max(|expected|, 0.1); infinite for other shapes and where a value is not
/// finite. The floor is for what is 0 but for rounding, as the gradient of a key's bias is.
inline double relative_error(const Tensor& got, const Tensor& expected) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    if (!got.defined() || got.shape() != expected.shape()) return infinite;
    double error = 0, scale = 0.1;
    for (std::int64_t i = 0; i < got.numel(); ++i) {
        const double difference = std::abs(double{got.data()[i]} - double{expected.data()[i]});
        if (!std::isfinite(difference)) return infinite;
        error = std::max(error, difference);
        scale = std::max(scale, std::abs(double{expected.data()[i]}));
    }
    return error / scale;
}

/// Fails, naming the tensor, unless `error` is within `tolerance`; notes it in the test's report.
inline void expect_error_within(double tolerance, double error, const std::string& what) {
    ::testing::Test::RecordProperty(what, fmt::format("{:.1e}", error));
    EXPECT_LE(error, tolerance) << what;
}

inline void expect_close(const std::string& what, const Tensor& got, const Tensor& expected,
                         double tolerance) {
    expect_error_within(
        tolerance, relative_error(got, expected),
        fmt::format("{} {}", what, got.defined() ? to_string(got.shape()) : "undefined"));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
