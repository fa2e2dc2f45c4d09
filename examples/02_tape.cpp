// 02: the tape, and a function with a derivative of its own. A Function writes forward and backward
// side by side and says what it keeps between them; gradcheck compares the result with finite
// differences. This example is built in double, where that comparison is sharp.

#include <fmt/core.h>

#include <cmath>
#include <memory>

#include "slimgrad.h"

using namespace slimgrad;

// y = log(1 + eˣ)
//   g_x = g σ(x),  σ(x) = 1 / (1 + e⁻ˣ)
class Softplus : public Function {
  public:
    std::string name() const override { return "softplus"; }

    Tensor forward(std::span<const Tensor> in, Saved& saved) const override {
        const Tensor& x = in[0];
        Tensor y(x.shape());
        for (std::int64_t i = 0; i < x.numel(); ++i)
            y.data()[i] = std::log1p(std::exp(x.data()[i]));
        meter().add(3 *
                    x.numel());  // exp, add, log: an operation that forgets to count is an error
        saved.keep(Keep::activation, "x", x);
        return y;
    }

    std::vector<Grad> backward(const Tensor& gy, const Saved& saved) const override {
        const Tensor x = saved.tensor("x");
        Tensor gx(x.shape());
        for (std::int64_t i = 0; i < x.numel(); ++i)
            gx.data()[i] = gy.data()[i] * slope(x.data()[i]);
        meter().add(5 * x.numel());
        return {Grad(gx)};
    }

  protected:
    virtual real slope(real x) const { return 1 / (1 + std::exp(-x)); }
};

/// The same with a mistake that is easy to make: the sign in the exponent.
class WrongSoftplus final : public Softplus {
  protected:
    real slope(real x) const override { return 1 / (1 + std::exp(x)); }
};

int main() {
    Stream stream(1, "example");
    const Tensor x = normal({3, 5}, 0, 1, stream);

    Tape tape;
    const Var input = tape.input(x);
    const Var y = sum(tape.apply(std::make_shared<Softplus>(), {input}));
    fmt::print("y = {:.4f}; until backward the tape holds {} bytes\n", y.value().item(),
               ledger()[Category::saved].live);
    tape.backward(y);
    fmt::print("backward used them up: {} bytes left, g_x[0] = {:.4f}\n",
               ledger()[Category::saved].live, tape.gradient(input).at({0, 0}));

    const auto check = [&](std::shared_ptr<const Function> function) {
        return gradcheck(function->name(),
                         [&](Tape& t, const std::vector<Var>& in) { return t.apply(function, in); },
                         {x});
    };
    const GradcheckReport report = check(std::make_shared<Softplus>());
    fmt::print("gradcheck: {} entries agree, largest relative error {:.1e}\n", report.checked,
               report.max_error);
    try {
        check(std::make_shared<WrongSoftplus>());
    } catch (const Error& error) {
        fmt::print("with the mistake it says: {}\n", error.what());
        return 0;
    }
    return 1;  // the mistake went unnoticed
}
