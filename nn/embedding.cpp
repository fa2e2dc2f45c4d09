#include "nn/embedding.h"

#include <algorithm>

#include "nn/indices.h"
#include "tensor/kernels/elementwise.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// y_t = W[i_t]
//   g_W[v] = Σ g_t over the t with i_t = v
class EmbeddingFunction final : public Function {
  public:
    EmbeddingFunction(std::string name, std::shared_ptr<const Indices> indices, Shape y, Shape w,
                      std::int64_t padding_index)
        : name_(std::move(name)),
          indices_(std::move(indices)),
          y_(std::move(y)),
          w_(std::move(w)),
          padding_index_(padding_index) {}
    std::string name() const override { return name_; }

    // inputs: W (V, C)
    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        saved.keep("indices", indices_);
        const std::int64_t n = w_[1];
        Tensor y(y_);
        real* to = y.data();
        for (const std::int32_t index : indices_->values()) {
            std::copy_n(in[0].data() + index * n, n, to);
            to += n;
        }
        meter().add(0);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const auto indices = saved.as<Indices>("indices").values();
        const std::int64_t n = w_[1];
        Tensor gw = Tensor::zeros(w_);
        // Each thread owns some columns, so that two tokens of one word never meet.
        constexpr std::int64_t width = 64;
#pragma omp parallel for schedule(static) if (gy.numel() > parallel_threshold)
        for (std::int64_t begin = 0; begin < n; begin += width) {
            const std::int64_t end = std::min(begin + width, n);
            for (std::size_t t = 0; t < indices.size(); ++t) {
                if (indices[t] == padding_index_) continue;
                const real* g = gy.data() + static_cast<std::int64_t>(t) * n;
                real* to = gw.data() + indices[t] * n;
                for (std::int64_t j = begin; j < end; ++j) to[j] += g[j];
            }
        }
        meter().add(gy.numel());
        return {gw};
    }

  private:
    std::string name_;
    std::shared_ptr<const Indices> indices_;
    Shape y_, w_;
    std::int64_t padding_index_;
};

}  // namespace

Embedding::Embedding(std::int64_t count, std::int64_t features, Stream& stream,
                     std::int64_t padding_index)
    : weight_(normal({count, features}, 0, 1, stream)), padding_index_(padding_index) {
    require(padding_index >= no_padding && padding_index < count,
            "[embedding] the padding index {} is outside the {} rows", padding_index, count);
    if (padding_index != no_padding)
        std::fill_n(weight_.value.data() + padding_index * features, features, real(0));
}

Var Embedding::forward(Tape& tape, std::span<const std::int32_t> indices, Shape shape) {
    require(weight_.value.ndim() == 2 && padding_index_ < weight_.value.size(0),
            "[{}] expected a table of more than {} rows, got {}", path(), padding_index_,
            shown(weight_.value.shape()));
    const std::int64_t count = weight_.value.size(0);
    require(numel(shape) == static_cast<std::int64_t>(indices.size()),
            "[{}] expected {} indices for shape {}, got {}", path(), numel(shape), shown(shape),
            indices.size());
    for (std::size_t t = 0; t < indices.size(); ++t)
        require(indices[t] >= 0 && indices[t] < count,
                "[{}] index {} at position {} is outside the table of {} rows", path(), indices[t],
                t, count);
    shape.push_back(weight_.value.size(1));
    return tape.apply(std::make_shared<EmbeddingFunction>(
                          path(), std::make_shared<Indices>(indices), std::move(shape),
                          weight_.value.shape(), padding_index_),
                      {tape.parameter(weight_)});
}

void Embedding::visit(Visitor& visitor) { visitor.parameter("weight", weight_); }

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
