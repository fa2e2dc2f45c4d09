#include "bench/workload.h"
#include "instant/calibrator.h"
#include "nn/models/vit.h"
#include "nn/sequential.h"
#include "tensor/meter.h"

namespace slimgrad::bench {
namespace {

constexpr int batches = 5;  // N_c of the paper

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
        MethodOptions options;
        options.method = variant.method;
        options.rank_x = variant.ranks.x;
        options.rank_g = variant.ranks.g;
        options.batch = s.batch;
        calibrator_ = std::make_unique<Calibrator>(blocks_, options);
        for (LinearMap* layer : linear_maps(blocks_)) {
            const Tensor& w = layer->weight().value;
            const auto draw = [&](const char* what, std::int64_t channels) {
                Stream stream(variant.seed, what + layer->path());
                return normal({s.batch, s.tokens, channels}, 0, 1, stream);
            };
            layers_.push_back({layer, draw("x", w.size(1)), draw("gy", w.size(0)),
                               Tensor::zeros({w.size(0), 1})});
        }
    }

    Seconds run() override {
        Stopwatch watch;
        double gram = 0;
        calibrator_->calibrate([&] {
            for (int batch = 0; batch < batches; ++batch)
                for (const Layer& layer : layers_) {
                    const LayerScope scope(layer.map->path());
                    PackCache cache;
                    Saved saved({true, true}, nullptr, &cache);
                    const auto& rule = layer.map->rule();
                    rule->save(LinearInput(layer.x), saved, {true, true});
                    rule->backward(layer.gy, layer.thin, saved, {true, false});
                }
            gram = watch.lap();
        });
        return {{"gram", gram}, {"decompose", watch.lap()}};
    }

    std::vector<NamedTensor> record() override { return {}; }

  private:
    struct Layer {
        LinearMap* map;
        Tensor x, gy, thin;
    };
    Sequential blocks_;
    std::unique_ptr<Calibrator> calibrator_;
    std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Workload> make_calibration(const Case& which, const Variant& variant) {
    return std::make_unique<Calibration>(which, variant);
}

}  // namespace slimgrad::bench
