// The laboratory: one layer differentiated once, and Appendix C. The functions return plain
// dictionaries; slimgrad/lab.py and slimgrad/_snr.py give them names and types.

#include "instant/lab/lab.h"

#include "bind.h"
#include "instant/codec/automatic_bits.h"
#include "instant/lab/snr_source.h"
#include "instant/methods/gact.h"
#include "method_options.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

using Rank = std::optional<Int>;

nb::object array_or_none(const Tensor& tensor) {
    return tensor.defined() ? to_numpy(tensor) : nb::none();
}

nb::object side_or_none(const std::optional<Side>& side) {
    return side ? nb::cast(to_string(*side)) : nb::none();
}

std::vector<CalibrationPair> to_pairs(nb::handle calibration) {
    std::vector<CalibrationPair> pairs;
    for (const nb::handle item : calibration) {
        require(nb::isinstance<nb::sequence>(item) && nb::len(item) == 2,
                "[lab.linear] expected calibration as a list of pairs (x, gy)");
        pairs.push_back({to_tensor(item[0], "lab.linear calibration"),
                         to_tensor(item[1], "lab.linear calibration")});
    }
    return pairs;
}

nb::dict to_dict(const LabResult& r) {
    nb::dict flops;
    flops["forward"] = r.flops.forward;
    flops["compress"] = r.flops.compress;
    flops["g_w"] = r.flops.g_w;
    flops["g_x"] = r.flops.g_x;
    nb::dict d;
    d["y"] = to_numpy(r.y);
    d["gx"] = to_numpy(r.gx);
    d["gw"] = to_numpy(r.gw);
    d["gb"] = array_or_none(r.gb);
    d["P"] = array_or_none(r.p);
    d["Q"] = array_or_none(r.q);
    d["U"] = array_or_none(r.u);
    d["kept"] = r.kept;
    d["rank_x"] = r.rank_x;
    d["rank_g"] = r.rank_g;
    d["side_x"] = side_or_none(r.side_x);
    d["side_g"] = side_or_none(r.side_g);
    d["saved_bytes"] = r.saved_bytes;
    d["projector_bytes"] = r.projector_bytes;
    d["flops"] = flops;
    d["calibrate_flops"] = r.flops.calibrate;
    return d;
}

nb::dict linear(nb::handle x, nb::handle w, nb::handle gy, const std::string& method,
                nb::handle calibration, nb::handle bias,
                const std::optional<std::pair<Int, Int>>& grid, const Natural& seed,
                const nb::kwargs& method_options) {
    LabOptions options;
    options.method = to_method_options("lab.linear", method, method_options);
    if (!calibration.is_none()) options.calibration = to_pairs(calibration);
    if (!bias.is_none()) options.bias = to_tensor(bias, "lab.linear bias");
    if (grid) options.layout = {.rows = grid->first, .columns = grid->second};
    options.seed = seed;
    const Tensor x_ = to_tensor(x, "lab.linear x"), w_ = to_tensor(w, "lab.linear w"),
                 gy_ = to_tensor(gy, "lab.linear gy");
    LabResult result;
    {
        const nb::gil_scoped_release release;
        result = lab_linear(x_, w_, gy_, std::move(options));
    }
    return to_dict(result);
}

SnrOptions snr_options(double epsilon, const Int& oversample, const Rank& rank,
                       const std::string& offset, std::optional<double> alpha,
                       const std::string& side, double confidence) {
    SnrOptions options{.epsilon = epsilon,
                       .oversample = oversample,
                       .rank = rank ? std::optional<std::int64_t>(*rank) : std::nullopt,
                       .offset = parse_snr_offset(offset),
                       .alpha = alpha,
                       .confidence = confidence};
    const std::optional<Side> chosen = parse_side(side);
    require(chosen.has_value(), "[snr] expected side 'token' or 'channel', got '{}'", side);
    options.side = *chosen;
    return options;
}

nb::dict to_dict(const SnrTheory& theory, const SnrMeasured& measured, const GradientModes& modes) {
    nb::dict d;
    d["predicted"] = theory.predicted;
    d["exact"] = theory.exact;
    d["measured"] = measured.value;
    d["interval"] = nb::make_tuple(measured.low, measured.high);
    d["samples"] = measured.samples;
    d["rank"] = theory.rank;
    d["alpha"] = theory.alpha;
    d["best_alpha"] = theory.best_alpha;
    d["best_alpha_w"] = theory.best_alpha_w;
    d["S"] = theory.S;
    d["N"] = theory.N;
    d["Sw"] = theory.Sw;
    d["Nw"] = theory.Nw;
    d["sigma"] = modes.sigma;
    d["weighted"] = modes.weighted;
    return d;
}

nb::dict snr_of_samples(nb::handle g, nb::handle w, double epsilon, const Int& oversample,
                        const Rank& rank, const std::string& offset, std::optional<double> alpha,
                        const std::string& side, double confidence) {
    const SnrOptions options =
        snr_options(epsilon, oversample, rank, offset, alpha, side, confidence);
    const Tensor g_ = to_tensor(g, "snr gy_samples"), w_ = to_tensor(w, "snr w");
    Snr result;
    {
        const nb::gil_scoped_release release;
        result = snr(g_, w_, options);
    }
    return to_dict(result.theory, result.measured, result.modes);
}

/// Theory from the population, measurement from samples that nothing else has seen.
nb::dict snr_of_source(const SnrSource& source, const Int& count, const Natural& draw,
                       double epsilon, const Int& oversample, const Rank& rank,
                       const std::string& offset, std::optional<double> alpha,
                       const std::string& side, double confidence) {
    const SnrOptions options =
        snr_options(epsilon, oversample, rank, offset, alpha, side, confidence);
    const std::int64_t samples = count;
    const std::uint64_t number = draw;
    require(samples >= 2, "[snr] expected at least 2 samples, got {}", samples);
    GradientModes modes;
    SnrTheory theory;
    SnrMeasured measured;
    {
        const nb::gil_scoped_release release;
        modes = source.modes(options.side);
        theory = snr_theory(modes, options);
        SnrMeasurement measurement(options.side, modes.basis, source.weight());
        measurement.add(source.draw(0, samples, number));
        measured = measurement.at(theory.rank, theory.alpha, options.confidence);
    }
    return to_dict(theory, measured, modes);
}

nb::dict quantise(nb::handle x, const std::string& bits, const std::string& scales,
                  const Int& group_size, const Natural& seed, const std::string& purpose,
                  const Natural& step) {
    MethodOptions options{.method = "gact"};
    const std::string where = "[lab.quantise]";
    options.own.set(where, bits_option(), bits);
    options.own.set(where, scales_option(), scales);
    options.own.set(where, group_size_option(), std::int64_t{group_size});
    const QuantisedForm form = gact_codec(options)->form();
    require(form.bits != GactCodec::off, "{} expected 1, 2, 4 or 8 bits, got {}", where, bits);
    const Tensor value = to_tensor(x, "lab.quantise");
    // Checked here: an Error must not leave the threads that draw.
    const std::uint64_t checked_seed = seed, checked_step = step;
    const LayerScope layer("lab.quantise");
    const Quantised packed(value, form, [&](std::int64_t sample) {
        return Stream(checked_seed, purpose, checked_step, static_cast<std::uint32_t>(sample));
    });
    std::int64_t bytes = 0;
    for (const auto& storage : packed.held()) bytes += static_cast<std::int64_t>(storage->bytes());
    nb::dict d;
    d["value"] = to_numpy(packed.unpack());
    d["variance"] = to_numpy(rounding_variance(value, form));
    d["saved_bytes"] = bytes;
    return d;
}

nb::dict allocate(const nb::dict& values, double average) {
    std::vector<Sensitivity> all;
    for (const auto [name, pair] : values) {
        const auto [elements, c] = nb::cast<std::pair<Int, double>>(pair);
        all.push_back({nb::cast<std::string>(name), elements, c});
    }
    nb::dict bits;
    const auto chosen = allocate_bits(all, average);
    for (const Sensitivity& value : all) bits[value.name.c_str()] = chosen.at(value.name);
    return bits;
}

void bind_source(nb::module_& here) {
    nb::class_<SnrSource>(
        here, "SnrSource",
        "Gaussian gradients g (L, Cy) whose covariance, and a weight W that meets it, are known in "
        "closed form. Mode i holds the energy decay**i. separable=True: every mode spreads it over "
        "the channels alike, so eq. 31 is exact. separable=False: the first `cut` modes meet small "
        "singular values of W and all others large ones, whose squares differ by `contrast`.")
        .def(
            "__init__",
            [](SnrSource* self, bool separable, const Int& tokens, const Int& out_channels,
               const Int& in_channels, double decay, double contrast, const Int& cut,
               const Natural& seed) {
                new (self) SnrSource(
                    {separable, tokens, out_channels, in_channels, decay, contrast, cut, seed});
            },
            nb::kw_only(), "separable"_a = true, "tokens"_a = 12, "out_channels"_a = 8,
            "in_channels"_a = 8, "decay"_a = 0.7, "contrast"_a = 16.0, "cut"_a = 0, "seed"_a = 0,
            "cut=0: the rank that epsilon = 0.95 chooses.")
        .def_prop_ro(
            "w", [](const SnrSource& s) { return to_numpy(s.weight().clone()); },
            nb::sig("def w(self) -> numpy.typing.NDArray"), "W: (Cy, Cx).")
        .def_prop_ro(
            "cut", [](const SnrSource& s) { return s.options().cut; },
            "The number of leading modes that meet small directions of W.")
        .def(
            "draw",
            [](const SnrSource& s, const Int& count, const Int& first, const Natural& draw) {
                return to_numpy(s.draw(first, count, draw));
            },
            "count"_a, "first"_a = 0, "draw"_a = 0,
            nb::sig("def draw(self, count: int, first: int = 0, draw: int = 0) -> "
                    "numpy.typing.NDArray"),
            "Samples first … first + count - 1 of the stream that (seed, draw) names: "
            "(count, L, Cy).");
}

}  // namespace

void bind_lab(nb::module_& here) {
    here.def("lab_linear", &linear, "x"_a.none(), "w"_a.none(), "gy"_a.none(), "method"_a,
             "calibration"_a.none(), "bias"_a.none(), "grid"_a.none(), "seed"_a, "options"_a,
             "See sg.lab.linear.");
    here.def("lab_quantise", &quantise, "x"_a.none(), "bits"_a, "scales"_a, "group_size"_a,
             "seed"_a, "purpose"_a, "step"_a, "See sg.lab.quantise.");
    here.def("lab_allocate_bits", &allocate, "values"_a, "average"_a, "See sg.lab.allocate_bits.");
    bind_source(here);
    here.def("snr_of_samples", &snr_of_samples, "g"_a.none(), "w"_a.none(), "epsilon"_a,
             "oversample"_a, "rank"_a.none(), "offset"_a, "alpha"_a.none(), "side"_a,
             "confidence"_a, "See sg.snr.");
    here.def("snr_of_source", &snr_of_source, "source"_a, "samples"_a, "draw"_a, "epsilon"_a,
             "oversample"_a, "rank"_a.none(), "offset"_a, "alpha"_a.none(), "side"_a,
             "confidence"_a, "See sg.snr.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
