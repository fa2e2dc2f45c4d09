#pragma once

#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// y = x Φ(x), any shape: by the error function, or by Hendrycks and Gimpel's tanh approximation,
/// which BERT's first code used. Keeps x.
class GELU final : public Module {
  public:
    enum class Form { erf, tanh };

    explicit GELU(Form form = Form::erf) : form_(form) {}
    Var forward(const Var& x) override;
    void visit(Visitor&) override {}
    std::string kind() const override { return "gelu"; }
    Form form() const { return form_; }

  private:
    Form form_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
