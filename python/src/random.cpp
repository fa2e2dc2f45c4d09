// Random values, each a function of a seed and a purpose.

#include "tensor/random.h"

#include "bind.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

void bind_random(nb::module_& here) {
    here.def(
        "normal",
        [](const Ints& shape, const Natural& seed, const std::string& purpose, const Natural& a,
           const Integer<std::uint32_t>& b) {
            Stream stream(seed, purpose, a, b);
            return normal(to_shape(shape), 0, 1, stream);
        },
        "shape"_a, nb::kw_only(), "seed"_a, "purpose"_a = "python", "a"_a = 0, "b"_a = 0,
        "Standard normal values, a function of seed, purpose and the indices a and b (Philox): the "
        "same call gives the same bits.");
    here.def(
        "uniform",
        [](const Ints& shape, double low, double high, const Natural& seed,
           const std::string& purpose, const Natural& a, const Integer<std::uint32_t>& b) {
            Stream stream(seed, purpose, a, b);
            return uniform(to_shape(shape), to_real(low, "uniform"), to_real(high, "uniform"),
                           stream);
        },
        "shape"_a, "low"_a = 0.0, "high"_a = 1.0, nb::kw_only(), "seed"_a, "purpose"_a = "python",
        "a"_a = 0, "b"_a = 0, "Values in [low, high), a function of seed, purpose, a and b.");
    if (sizeof(real) == 4)
        here.def(
            "random_words",
            [](const Natural& count, const Natural& seed, const std::string& purpose,
               const Natural& a, const Integer<std::uint32_t>& b) {
                Stream stream(seed, purpose, a, b);
                std::vector<std::uint32_t> words(std::uint64_t{count});
                stream.fill(words);
                return words;
            },
            "count"_a, nb::kw_only(), "seed"_a, "purpose"_a = "python", "a"_a = 0, "b"_a = 0,
            "The 32-bit words that all draws of a stream are made from, as a list.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
