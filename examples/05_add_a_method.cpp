// 05: a method of one's own: a rule, an entry in the table of methods, and nothing else. This one
// keeps every n-th token of x and makes g_w from those alone, n times as large; g_x stays exact.
// All commands of slimgrad then know it, here with n = 2 and n = 4:
//
//     05_add_a_method compare --methods vanilla,every-nth-token,every-nth-token:stride=4

#include <algorithm>
#include <memory>
#include <vector>

#include "cli/program.h"
#include "slimgrad.h"

using namespace slimgrad;

class EveryNthToken final : public BackwardRule {
  public:
    explicit EveryNthToken(std::int64_t stride) : stride_(stride) {}
    std::string name() const override { return "every-nth-token"; }

    void save(const LinearInput& x, Saved& saved, const LinearCall& call) const override {
        if (!call.needs.gw) return;  // a frozen layer keeps nothing
        const PhaseScope phase("compress");
        saved.keep(Keep::activation, "x", some(x.matrix()));
    }

    LinearGrads backward(const LinearGradient& gy, const Saved& saved,
                         const LinearCall& call) const override {
        LinearGrads grads;
        if (call.needs.gw) {
            const Tensor x = saved.tensor("x");
            const auto share = static_cast<real>(x.size(1)) / static_cast<real>(call.op->tokens());
            grads.gw = linear_gw(some(gy.matrix()), x) * (1 / share);
        }
        if (call.needs.gx) grads.gx = linear_gx(gy.matrix(), call.w);
        return grads;
    }

  private:
    /// Tokens 0, n, 2n, ...: (B, L, C) -> (B, ⌈L/n⌉, C)
    Tensor some(const Tensor& x) const {
        const std::int64_t channels = x.size(2);
        Tensor kept({x.size(0), (x.size(1) + stride_ - 1) / stride_, channels});
        for (std::int64_t b = 0; b < kept.size(0); ++b)
            for (std::int64_t t = 0; t < kept.size(1); ++t)
                std::copy_n(x.data() + (b * x.size(1) + stride_ * t) * channels, channels,
                            &kept.at({b, t, 0}));
        return kept;
    }

    std::int64_t stride_;
};

int main(int argc, char** argv) {
    const Option stride{"stride", Integers{1, 1000}, "keep every n-th token", std::int64_t{2}};
    register_method({.name = "every-nth-token",
                     .help = "g_w from every n-th token",
                     .x_slot = "every n-th token of x",
                     .g_slot = "g W",
                     .rule =
                         [stride](const RuleRequest& r) {
                             const auto n = r.options.own.get<std::int64_t>(stride);
                             return std::make_shared<const EveryNthToken>(n);
                         },
                     .options = {stride}});
    if (argc > 1) return cli::run_program(argc, argv);

    std::vector<const char*> words{
        argv[0],       "compare",
        "--methods",   "vanilla,every-nth-token,every-nth-token:stride=4",
        "--steps",     "30",
        "--batch",     "64",
        "--out",       "runs/every-nth-token",
        "--overwrite", nullptr};
    return cli::run_program(static_cast<int>(words.size()) - 1, const_cast<char**>(words.data()));
}
