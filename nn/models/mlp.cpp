#include "nn/models/mlp.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t hidden = 256;

Linear linear(const ModelConfig& config, const std::string& name, std::int64_t in,
              std::int64_t out) {
    return seeded(config.seed, name, [=](Stream& stream) { return Linear(in, out, stream); });
}

}  // namespace

Mlp::Mlp(const ModelConfig& config)
    : config_(config),
      fc1_(linear(config, "fc1", numel({config.channels, config.height, config.width}), hidden)),
      fc2_(linear(config, "fc2", hidden, hidden)),
      dropout_(config.dropout),
      head_(linear(config, "head", hidden, config.classes)) {
    head_.set_compressible(false);
}

Var Mlp::forward(const Var& x) {
    require_images(x, config_, path());
    Var h = flatten_.forward(x);
    h = dropout_.forward(relu1_.forward(fc1_.forward(h)));
    h = dropout_.forward(relu2_.forward(fc2_.forward(h)));
    return head_.forward(h);
}

void Mlp::visit(Visitor& visitor) {
    visitor.module("flatten", flatten_);
    visitor.module("fc1", fc1_);
    visitor.module("relu1", relu1_);
    visitor.module("fc2", fc2_);
    visitor.module("relu2", relu2_);
    visitor.module("dropout", dropout_);
    visitor.module("head", head_);
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
