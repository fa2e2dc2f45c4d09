"""02: a function with a derivative of one's own, in NumPy, checked against finite differences."""

import numpy as np

import slimgrad as sg


class Softplus(sg.Function):
    """y = log(1 + eˣ),   g_x = g / (1 + e⁻ˣ)."""

    def forward(self, inputs, saved):
        """Keeps x; NumPy works on its memory."""
        (x,) = inputs
        saved.keep("x", x)
        sg.count(3 * x.size)  # exp, add, log: a function that forgets to count is an error
        return np.log1p(np.exp(np.asarray(x)))

    def backward(self, gy, saved):
        """g_x from what was kept."""
        x = np.asarray(saved["x"])
        sg.count(4 * x.size)
        return np.asarray(gy) / (1 + np.exp(-x))


class WrongSoftplus(Softplus):
    """The same with a mistake that is easy to make: the sign in the exponent."""

    def backward(self, gy, saved):
        """Wrong."""
        x = np.asarray(saved["x"])
        sg.count(4 * x.size)
        return np.asarray(gy) / (1 + np.exp(x))


def main() -> None:
    """Checks both."""
    x = np.random.default_rng(1).standard_normal((3, 5))  # float64, where the check is sharp

    def check(function):
        return sg.gradcheck(lambda tape, inputs: tape.apply(function, inputs), [x])

    print("softplus:", check(Softplus()))
    try:
        check(WrongSoftplus())
    except sg.Error as error:
        print("with the mistake it says:", error)
    else:
        raise SystemExit("the mistake went unnoticed")


if __name__ == "__main__":
    main()
