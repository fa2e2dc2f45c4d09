#include <slimgrad.h>  // alone, so that this also shows that it needs no other header

#include <cmath>
#include <cstdio>

// y = sum(x Wᵀ): every entry of g_x is then a column sum of W.
int main() {
    using namespace slimgrad;
    Stream stream(0, "consumer");
    Linear layer(3, 2, stream, false);
    Tape tape;
    const Var x = tape.input(Tensor::full({4, 3}, 1));
    const Var y = layer.forward(x);
    tape.backward(y, Tensor::full(y.shape(), 1));
    const Tensor& w = layer.weight().value;
    const real expected = w.at({0, 1}) + w.at({1, 1});
    const real got = tape.gradient(x).at({2, 1});
    std::printf("%zu-byte reals, g_x = %g, expected %g\n", sizeof(real), double(got),
                double(expected));
    return std::abs(got - expected) < 1e-5 ? 0 : 1;
}
