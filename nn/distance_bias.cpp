#include "nn/distance_bias.h"

#include <cstdlib>

#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

// bias_h(i, j) = b_h(d(i, j))      g_b = Σ of g over the pairs of a distance
class DistanceBiasFunction final : public Function {
  public:
    DistanceBiasFunction(std::string name, const TokenDistances& tokens)
        : name_(std::move(name)), tokens_(tokens) {}
    std::string name() const override { return name_; }

    Tensor forward(std::span<const Tensor> in, Saved&) const override {
        const std::int64_t heads = in[0].size(0);
        Tensor bias({heads, tokens_.queries(), tokens_.keys()});
        for_each(heads, [&](std::int64_t pair, std::int64_t entry) {
            bias.data()[pair] = in[0].data()[entry];
        });
        meter().add(0);
        return bias;
    }
    std::vector<Grad> backward(const Tensor& gy, const Saved&) const override {
        Tensor gb = Tensor::zeros({gy.size(0), tokens_.keys()});
        for_each(gy.size(0), [&](std::int64_t pair, std::int64_t entry) {
            gb.data()[entry] += gy.data()[pair];
        });
        meter().add(gy.numel());
        return {gb};
    }

  private:
    /// Calls f(place of (h, i, j) in the bias, place of its number in b), in the order of the bias.
    template <class F>
    void for_each(std::int64_t heads, F f) const {
        const auto [rows, columns, step] = tokens_;
        std::int64_t pair = 0;
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t row = 0; row < rows; row += step)
                for (std::int64_t column = 0; column < columns; column += step)
                    for (std::int64_t j = 0; j < rows * columns; ++j) {
                        const std::int64_t down = std::abs(row - j / columns);
                        const std::int64_t across = std::abs(column - j % columns);
                        f(pair++, (h * rows + down) * columns + across);
                    }
    }

    std::string name_;
    TokenDistances tokens_;
};

}  // namespace

Var distance_bias(const std::string& name, const Var& b, const TokenDistances& tokens) {
    require(b.value().ndim() == 2 && b.size(1) == tokens.keys(),
            "[{}] expected a number for each of {} distances, (heads, {}), got {}", name,
            tokens.keys(), tokens.keys(), shown(b.shape()));
    return b.tape().apply(std::make_shared<DistanceBiasFunction>(name, tokens), {b});
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
