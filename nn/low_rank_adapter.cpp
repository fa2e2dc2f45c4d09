#include "nn/low_rank_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "autograd/ops.h"
#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

std::int64_t in_channels(const LinearMap& layer) { return layer.weight().value.size(1); }
std::int64_t out_channels(const LinearMap& layer) { return layer.weight().value.size(0); }

std::int64_t checked(const LinearMap& base, std::int64_t rank) {
    const std::int64_t most =
        largest_adapter_rank(in_channels(base), out_channels(base), base.parts());
    require(rank >= 1 && rank <= most, "[{}] expected an adapter of rank 1 to {}, got {}",
            base.path(), most, rank);
    return rank;
}

Linear projection(std::int64_t in, std::int64_t out, Stream stream) {
    return Linear(in, out, stream, /*bias=*/false);
}

/// Which parameters belong to adapters, and which weight has which.
struct Adapters {
    std::map<const Parameter*, const LowRankAdapter*> of_weight;
    std::set<const Parameter*> own;

    explicit Adapters(Module& root) {
        for_each_module(root, [&](const std::string&, Module& module) {
            auto* layer = dynamic_cast<Linear*>(&module);
            const LowRankAdapter* adapter = layer ? layer->adapter() : nullptr;
            if (!adapter) return;
            of_weight[&layer->weight()] = adapter;
            own.insert({&adapter->a().weight(), &adapter->b().weight()});
        });
    }
};

}  // namespace

LowRankAdapter::LowRankAdapter(const LinearMap& base, std::int64_t rank, double alpha,
                               std::uint64_t seed)
    : rank_(checked(base, rank)),
      alpha_(alpha),
      scale_(static_cast<real>(alpha / static_cast<double>(rank))),
      a_(projection(in_channels(base), base.parts() * rank,
                    Stream(seed, "init " + base.path() + ".lora_A"))),
      b_(projection(base.parts() * rank, out_channels(base),
                    Stream(seed, "init " + base.path() + ".lora_B"))) {
    require(alpha > 0 && alpha <= 1000, "[{}] expected an alpha above 0 and at most 1000, got {}",
            base.path(), alpha);
    std::ranges::fill(b_.weight().value.values(), real(0));
    a_.share_input_with(base);
    for (Linear* layer : {&a_, &b_}) layer->set_compressible(base.compressible());
}

Var LowRankAdapter::forward(const Var& x) {
    return b_.forward(scale_ * a_.forward(x));  // the scale where there are r channels, not Cy
}

void LowRankAdapter::visit(Visitor& visitor) {
    visitor.module("lora_A", a_);
    visitor.module("lora_B", b_);
}

Tensor LowRankAdapter::update() const {
    return matmul(b_.weight().value, a_.weight().value) * scale_;  // (Cy,r)·(r,Cx)
}

std::int64_t largest_adapter_rank(std::int64_t in_channels, std::int64_t out_channels,
                                  std::int64_t parts) {
    return std::min(in_channels, out_channels / parts);
}

bool has_adapters(Module& root) { return !Adapters(root).own.empty(); }

void for_each_base_parameter(Module& root,
                             const std::function<void(const std::string&, Parameter&)>& f) {
    const Adapters adapters(root);
    for_each_parameter(root, [&](const std::string& path, Parameter& parameter) {
        if (!adapters.own.contains(&parameter)) f(path, parameter);
    });
}

void for_each_merged_value(Module& root,
                           const std::function<void(const std::string&, const Tensor&)>& f) {
    const Adapters adapters(root);
    for_each_base_parameter(root, [&](const std::string& path, Parameter& parameter) {
        const auto found = adapters.of_weight.find(&parameter);
        f(path, found == adapters.of_weight.end() ? parameter.value
                                                  : parameter.value + found->second->update());
    });
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
