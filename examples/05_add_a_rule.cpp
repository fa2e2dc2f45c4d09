// 05: a backward rule of one's own. This one keeps every second token of x and makes g_w from those
// alone, twice as large; half the memory, half the work for g_w. g_x stays exact. The model and the
// training loop never notice: a rule is all that a method needs to write.

#include <fmt/core.h>

#include <memory>

#include "slimgrad.h"

using namespace slimgrad;

/// Every second token: (B, L, C) -> (B, L/2, C). Two neighbours lie side by side in memory.
Tensor every_second(const Tensor& x) {
    const std::int64_t channels = x.size(2);
    return slice(x.reshape({x.size(0), x.size(1) / 2, 2 * channels}), 2, 0, channels);
}

class EverySecondToken final : public BackwardRule {
  public:
    std::string name() const override { return "every-second-token"; }

    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        require(x.matrix().size(1) % 2 == 0, "[{}] expected an even number of tokens, got {}",
                name(), x.matrix().size(1));
        if (!call.needs.gw) return;  // a frozen layer keeps nothing
        const PhaseScope phase("compress");
        saved.keep(Keep::activation, "x", every_second(x.matrix()));
    }

    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        const Tensor& g = gy.matrix();
        LinearGrads grads;
        if (call.needs.gw) grads.gw = linear_gw(every_second(g), saved.tensor("x")) * real(2);
        if (call.needs.gx) grads.gx = linear_gx(g, call.w);
        return grads;
    }
};

/// The rows of an image as 28 tokens of 28 pixels: two linear maps on each, their mean, a head.
struct RowModel final : Module {
    RowModel() { name_modules(*this); }
    Var forward(const Var& x) override {
        const Var rows = reshape(x, {x.size(0), 28, 28});
        const Var hidden = act.forward(second.forward(act.forward(first.forward(rows))));
        return head.forward(mean(hidden, 1));
    }
    void visit(Visitor& visitor) override {
        visitor.module("first", first);
        visitor.module("second", second);
        visitor.module("head", head);
    }
    std::string kind() const override { return "row_model"; }

    Stream stream{0, "weights"};
    Linear first{28, 64, stream}, second{64, 64, stream}, head{64, 10, stream};
    GELU act;
};

/// Trains for 100 steps and returns the mean loss of the last 20.
double train(const char* title, std::shared_ptr<const BackwardRule> rule) {
    static const Loader loader(
        std::make_shared<ImageData>(load_images("embedded-images", "").train),
        LoaderOptions{.batch_size = 64});
    RowModel model;
    model.first.set_rule(rule);
    model.second.set_rule(rule);
    OptimizerOptions options;
    options.lr = 3e-3;
    const auto optimizer = make_optimizer(model, options);

    double first_loss = 0, last_losses = 0;
    std::int64_t saved = 0;
    meter().reset();
    for (std::int64_t step = 0; step < 100; ++step) {
        const Batch batch = loader.batch(step);
        zero_grad(model);
        Tape tape;
        const Var loss = cross_entropy(model.forward(tape.constant(batch.x)), batch.labels);
        saved = ledger().saved_by_layer()["second"];
        tape.backward(loss);
        optimizer->step();
        if (step == 0) first_loss = loss.value().item();
        if (step >= 80) last_losses += loss.value().item() / 20;
    }
    fmt::print("{:<20} loss {:.3f} -> {:.3f}, saved by layer 'second' {} bytes, g_w {} MFLOPs\n",
               title, first_loss, last_losses, saved, meter().phase("g_w") / 1000000);
    return last_losses;
}

int main() {
    const double exact = train("vanilla", ExactRule::instance());
    const double half = train("every second token", std::make_shared<EverySecondToken>());
    return exact < 1.5 && half < 1.5 ? 0 : 1;
}
