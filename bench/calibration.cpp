#include <array>
#include <map>

#include "bench/workload.h"
#include "instant/calibration/calibrator.h"
#include "nn/models/vit.h"
#include "nn/sequential.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad::bench {
namespace {

constexpr int batches = 5;  // N_c of the paper
constexpr std::uint32_t draws = 2;

/// Tokens whose autocorrelation has eigenvalues that fall about as 1 / i², as those of real layers
/// do: M diag(1 / i) z_b with normal M and z_b. The M of another draw has half of its variance in
/// common with that of the first: there is something for a second calibration to find.
Tensor correlated(std::uint64_t seed, const std::string& what, std::uint32_t draw, Shape shape) {
    const std::int64_t tokens = shape[1];
    Stream common(seed, "mixing " + what), own(seed, "mixing " + what, 1, draw);
    Tensor mixing = normal({tokens, tokens}, 0, 1, common) + normal({tokens, tokens}, 0, 1, own);
    for (std::int64_t i = 0; i < mixing.numel(); ++i)
        mixing.data()[i] /= static_cast<real>(i % tokens + 1);
    Stream stream(seed, "tokens " + what, 0, draw);
    return matmul(mixing, normal(std::move(shape), 0, 1, stream));
}

/// What one calibration adds to its passes. While the calibrator watches, each layer is shown as
/// many inputs and gradients as its five batches would bring, without the model around it: "gram"
/// is that, "decompose" is what the calibrator does afterwards. A weight with a single input
/// channel keeps the exact product, which belongs to the passes, out of the time.
class Calibration final : public Workload {
  public:
    Calibration(const Case& which, const Variant& variant) {
        const Size& s = which.size;
        for (std::int64_t i = 0; i < s.blocks; ++i)
            blocks_.add<EncoderBlock>(ModelConfig{.seed = variant.seed},
                                      VitSize{.width = s.width, .heads = s.heads},
                                      std::to_string(i));
        name_modules(blocks_);
        const MethodOptions options = options_of(variant, {}, s.batch);
        calibrator_ = std::make_unique<Calibrator>(blocks_, options);
        std::map<std::string, Values> values;  // every block sees the same
        for (LinearMap* layer : linear_maps(blocks_)) {
            const Tensor& w = layer->weight().value;
            const std::string kind = layer->path().substr(layer->path().find('.'));
            auto [found, fresh] = values.try_emplace(kind);
            for (std::uint32_t draw = 0; draw < draws && fresh; ++draw) {
                const auto make = [&](const std::string& what, std::int64_t channels) {
                    return correlated(variant.seed, what + kind, draw,
                                      {s.batch, s.tokens, channels});
                };
                found->second.x[draw] = make("x", w.size(1));
                found->second.gy[draw] = make("gy", w.size(0));
            }
            layers_.push_back({layer, found->second, Tensor::zeros({w.size(0), 1})});
        }
    }

    Seconds run() override {
        draw_ = (draw_ + 1) % draws;
        Stopwatch watch;
        double gram = 0;
        calibrator_->calibrate([&] {
            for (int batch = 0; batch < batches; ++batch)
                for (const Layer& layer : layers_) {
                    const LayerScope scope(layer.map->path());
                    PackCache cache;
                    Saved saved({true, true}, {.cache = &cache});
                    const auto& rule = layer.map->rule();
                    const Tensor &x = layer.values.x[draw_], &gy = layer.values.gy[draw_];
                    const auto op = std::make_shared<TokenOperator>(x.shape());
                    rule->save({op, x}, saved, {op, layer.thin, {true, true}});
                    rule->backward({op, gy}, saved, {op, layer.thin, {true, false}});
                }
            gram = watch.lap();
        });
        return {{"gram", gram}, {"decompose", watch.lap()}};
    }

    std::vector<NamedTensor> record() override { return {}; }

  private:
    struct Values {
        std::array<Tensor, draws> x, gy;
    };
    struct Layer {
        LinearMap* map;
        Values values;
        Tensor thin;
    };
    Sequential blocks_;
    std::unique_ptr<Calibrator> calibrator_;
    std::vector<Layer> layers_;
    std::uint32_t draw_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_calibration(const Case& which, const Variant& variant) {
    return std::make_unique<Calibration>(which, variant);
}

}  // namespace slimgrad::bench
