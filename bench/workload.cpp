#include "bench/workload.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "instant/methods/method.h"
#include "tensor/error.h"
#include "tensor/ops.h"

namespace slimgrad::bench {
namespace {

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

double largest(const Tensor& x) {
    double most = 0;
    for (const real value : x.values()) most = std::max(most, std::abs(double{value}));
    return most;
}

}  // namespace

Stopwatch::Stopwatch() : last_(now()) {}
double Stopwatch::lap() {
    const double before = std::exchange(last_, now());
    return last_ - before;
}

double total(const Seconds& seconds) {
    double sum = 0;
    for (const auto& [name, value] : seconds)
        if (name.find('.') == std::string::npos) sum += value;
    return sum;
}

double phase(const Seconds& seconds, const std::string& name) {
    for (const auto& [found, value] : seconds)
        if (found == name) return value;
    return 0;
}

std::unique_ptr<Workload> make_workload(const Case& which, const Variant& variant) {
    validate(options_of(variant, {}, which.size.batch));
    const Method& method = find_method(variant.method);
    require(!method.adapt,
            "[bench] '{}' changes the model, and bench times the backward of one: leave it out",
            variant.method);
    require(method.rule || which.kind == Kind::blocks || which.kind == Kind::images,
            "[bench] '{}' differs from vanilla in the optimizer alone: time it in the steps",
            variant.method);
    const Size& s = which.size;
    require(s.tokens >= 1 && s.width >= 1 && s.blocks >= 1,
            "[bench] expected sizes of at least 1, got {} tokens, width {}, {} blocks", s.tokens,
            s.width, s.blocks);
    Variant chosen = variant;
    chosen.ranks = which.ranks.value_or(variant.ranks);
    if (which.kind == Kind::linears) return make_linears(which, chosen);
    if (which.kind == Kind::calibration) return make_calibration(which, chosen);
    return make_step(which, chosen);
}

void compare_records(const std::string& what, const std::vector<NamedTensor>& got,
                     const std::vector<NamedTensor>& expected,
                     const std::vector<std::string>& prefixes, double tolerance) {
    for (const auto& [name, value] : expected) {
        if (std::ranges::none_of(prefixes,
                                 [&name = name](const auto& p) { return name.starts_with(p); }))
            continue;
        const auto found = std::ranges::find(got, name, &NamedTensor::name);
        require(found != got.end() && found->tensor.shape() == value.shape(),
                "[bench] {}: '{}' is missing or has another shape", what, name);
        const double error = largest(found->tensor - value), scale = largest(value);
        require(all_finite(found->tensor) && error <= tolerance * scale + 1e-12,
                "[bench] {}: '{}' is wrong by {:.3g} of {:.3g}, more than {:.1g} of it", what, name,
                error, scale, tolerance);
    }
}

void verify(const Case& which, const Variant& variant, double tolerance) {
    if (which.kind == Kind::calibration) return;
    Variant plain = variant;
    plain.plain = true;
    const auto expected = make_workload(which, plain)->record();
    compare_records(which.name + " " + variant.method, make_workload(which, variant)->record(),
                    expected, {"out.", "g."}, tolerance);
}

void verify(const Case& which, const Variant& variant) {
    verify(which, variant, which.model.name.starts_with("resnet") ? 2e-2 : 1e-4);
}

}  // namespace slimgrad::bench
