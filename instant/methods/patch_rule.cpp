#include "instant/methods/patch_rule.h"

#include "tensor/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

class KeptRows final : public PackedTensor {
  public:
    explicit KeptRows(Tensor rows) : rows_(std::move(rows)) {}
    Tensor unpack() const override { return rows_; }
    std::vector<std::shared_ptr<Storage>> held() const override { return {rows_.storage()}; }

  private:
    Tensor rows_;
};

}  // namespace

const Option& grid_option() {
    static const Option option{"grid", AnyText{},
                               "rows x columns of the tokens, 16x32 (empty: as the model states)",
                               std::string()};
    return option;
}

PatchRule::PatchRule(const MethodOptions& options, std::int64_t patch, std::string form)
    : grid_(options.own.get<std::string>(grid_option())),
      patch_(patch),
      min_tokens_(options.min_tokens),
      form_(std::move(form)) {
    check_grid(grid_);  // before anything is trained
}

void PatchRule::save(const LinearInput& x, Saved& saved, const LinearCall& call) const {
    if (!call.needs.gw) return;
    // Made once for all layers that share x: Q, K and V keep one x̂.
    const Packer packer(&grid_option(), fmt::format("{} {} {}", form_, grid_, call.input_group));
    saved.keep_once("x_hat", packer, x.held(), [&] {
        const PhaseScope phase("compress");
        return std::make_shared<KeptRows>(reduce_x(x, call));
    });
}

LinearGrads PatchRule::backward(const LinearGradient& gy, const Saved& saved,
                                const LinearCall& call) const {
    LinearGrads grads;
    if (!call.needs.gw && !call.needs.gx) return grads;
    Tensor g_hat;
    {
        const PhaseScope phase(call.needs.gw ? "g_w" : "g_x");
        g_hat = reduce_g(gy, call);
    }
    if (call.needs.gw) {
        const PhaseScope phase("g_w");
        grads.gw = gw(g_hat, saved.tensor("x_hat"), call);
    }
    if (call.needs.gx) {
        const PhaseScope phase("g_x");
        grads.gx = gx(g_hat, call);
    }
    return grads;
}

Tensor PatchRule::gw(const Tensor& g_hat, const Tensor& x_hat, const LinearCall&) const {
    return matmul_sum(g_hat, x_hat);  // (Cy,B·n)·(B·n,Cx)
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
