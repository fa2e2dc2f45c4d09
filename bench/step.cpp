#include <algorithm>

#include "bench/projectors.h"
#include "bench/workload.h"
#include "instant/methods/low_rank_rule.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "nn/models/vit.h"
#include "nn/sequential.h"
#include "optim/optimizer.h"

namespace slimgrad::bench {
namespace {

/// A training step: forward, backward, AdamW. Encoder blocks get the gradient of their output; a
/// model of images ends in cross-entropy.
class Step final : public Workload {
  public:
    Step(const Case& which, const Variant& variant) : layout_(layout_of(which.size)) {
        const Size& s = which.size;
        const auto draw = [&](const char* what, Shape shape) {
            Stream stream(variant.seed, what);
            return normal(std::move(shape), 0, 1, stream);
        };
        if (which.kind == Kind::images) {
            const std::int64_t side = usual_side(which.model.name);
            model_ =
                make_model(which.model.name, {.height = side, .width = side, .seed = variant.seed});
            select_train_blocks(*model_, which.model.train_blocks);
            x_ = draw("x", {s.batch, 3, side, side});
            Stream stream(variant.seed, "labels");
            for (std::int64_t i = 0; i < s.batch; ++i)
                labels_.push_back(static_cast<std::int32_t>(stream.below(10)));
        } else {
            auto blocks = std::make_unique<Sequential>();
            for (std::int64_t i = 0; i < s.blocks; ++i)
                blocks->add<EncoderBlock>(ModelConfig{.seed = variant.seed},
                                          VitSize{.width = s.width, .heads = s.heads},
                                          std::to_string(i));
            model_ = std::move(blocks);
            x_ = draw("x", {s.batch, s.tokens, s.width});
            gy_ = draw("gy", {s.batch, s.tokens, s.width});
        }
        name_modules(*model_);
        tape_ = tape_options(options_of(variant, {}, s.batch));
        install_rules(*model_, variant, s.batch, [&] {
            Tape tape({.update_statistics = false});
            const TokenScope tokens(tape, layout_);
            model_->forward(tape.constant(x_.rows(0, 1)));  // one sample: it is all kept
        });
        // A small rate: the parameters stay where they are, however often the step is repeated.
        optimizer_ = make_optimizer(*model_, {.name = "adamw", .lr = 1e-5, .weight_decay = 0.01});
        optimizer_->set_projection(make_projection(*model_, options_of(variant, {}, s.batch)));
    }

    Seconds run() override {
        Stopwatch watch;
        Seconds seconds;
        Tape tape(tape_);
        const TokenScope tokens(tape, layout_);
        Var y = model_->forward(tape.constant(x_));
        if (!labels_.empty()) y = cross_entropy(y, labels_);
        result_ = y.value();
        seconds.emplace_back("forward", watch.lap());
        tape.backward(y, gy_);
        seconds.emplace_back("backward", watch.lap());
        optimizer_->step();
        if (!recording_) forget();
        seconds.emplace_back("optimizer", watch.lap());
        return seconds;
    }

    std::vector<NamedTensor> record() override {
        std::vector<NamedTensor> all{{"in.x", x_}};
        if (gy_.defined()) all.push_back({"in.gy", gy_});
        if (!labels_.empty()) {
            Tensor labels({std::ssize(labels_)});
            std::ranges::copy(labels_, labels.data());
            all.push_back({"in.labels", labels});
        }
        for_each_parameter(*model_, [&](const std::string& path, Parameter& p) {
            all.push_back({"w." + path, p.value.clone()});
        });
        for (LinearMap* layer : linear_maps(*model_)) {
            const auto* rule = dynamic_cast<const LowRankRule*>(layer->rule().get());
            if (rule && rule->p()) all.push_back({"P." + layer->path(), rule->p()->basis});
            if (rule && rule->q()) all.push_back({"Q." + layer->path(), rule->q()->basis});
        }
        recording_ = true;
        run();
        recording_ = false;
        all.push_back({"out.y", result_.clone()});
        for_each_parameter(*model_, [&](const std::string& path, Parameter& p) {
            if (!p.requires_grad) return;
            all.push_back({"g." + path, p.grad.dense().clone()});
            all.push_back({"new." + path, p.value.clone()});
        });
        forget();
        return all;
    }

  private:
    void forget() {
        zero_grad(*model_);
        result_ = Tensor();
    }

    TokenLayout layout_;
    TapeOptions tape_;
    std::unique_ptr<Module> model_;
    std::unique_ptr<Optimizer> optimizer_;
    Tensor x_, gy_, result_;
    std::vector<std::int32_t> labels_;
    bool recording_ = false;
};

}  // namespace

std::unique_ptr<Workload> make_step(const Case& which, const Variant& variant) {
    return std::make_unique<Step>(which, variant);
}

}  // namespace slimgrad::bench
