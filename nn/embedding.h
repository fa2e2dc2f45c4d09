#pragma once

#include "nn/module.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A table of vectors, one for each index. Initialised as in PyTorch: N(0, 1), the row of
/// `padding_index` 0; that row gets no gradient.
class Embedding final : public Module {
  public:
    static constexpr std::int64_t no_padding = -1;

    Embedding(std::int64_t count, std::int64_t features, Stream& stream,
              std::int64_t padding_index = no_padding);

    using Module::forward;
    /// Indices in row-major order under `shape`, for example (B, L); gives (B, L, features).
    /// Throws Error for an index outside the table and names its place.
    Var forward(Tape& tape, std::span<const std::int32_t> indices, Shape shape);
    void visit(Visitor& visitor) override;
    std::string kind() const override { return "embedding"; }
    const Parameter& weight() const { return weight_; }
    Parameter& weight() { return weight_; }
    std::int64_t padding_index() const { return padding_index_; }

  private:
    Parameter weight_;
    std::int64_t padding_index_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
