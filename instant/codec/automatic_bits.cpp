#include "instant/codec/automatic_bits.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <set>
#include <tuple>

#include "nn/linear.h"
#include "tensor/meter.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

/// What is left of c with so many bits.
double variance(double c, int bits) {
    const double levels = std::exp2(bits) - 1;
    return c / (levels * levels);
}

double squared_distance(const Tensor& a, const Tensor& b) {
    double sum = 0;
    for (std::int64_t k = 0; k < a.numel(); ++k) {
        const double difference = double{a.data()[k]} - b.data()[k];
        sum += difference * difference;
    }
    meter().add(3 * a.numel());
    return sum;
}

double squared_distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    require(a.size() == b.size(), "[codec] two passes over one batch gave {} and {} gradients",
            a.size(), b.size());
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += squared_distance(a[i], b[i]);
    return sum;
}

double squared_norm(const Tensor& a) {
    double sum = 0;
    for (const real value : a.values()) sum += double{value} * value;
    meter().add(2 * a.numel());
    return sum;
}

/// The gradients of all parameters, taken from them.
std::vector<Tensor> take_gradients(Module& model) {
    std::vector<Tensor> all;
    for (Parameter* parameter : parameters(model)) {
        if (parameter->grad.defined()) all.push_back(parameter->grad.dense());
        parameter->grad = {};
    }
    return all;
}

/// Notes what a codec packs as P. Values of one name, of a layer that runs twice, are one.
template <class P>
class PackedValues : public TapeObserver {
  public:
    void kept(const KeptAs& as, const Packed& payload) override {
        const auto* packed = dynamic_cast<const P*>(&payload);
        if (as.kind != Keep::activation || !packed || !seen_.insert(packed).second) return;
        const auto known = std::ranges::find(values, as.name(), &Sensitivity::name);
        if (known == values.end())
            values.push_back({as.name(), numel(packed->shape())});
        else
            known->elements += numel(packed->shape());
    }
    std::vector<Sensitivity> values;

  private:
    std::set<const P*> seen_;  // a value that several keep has the name of the first
};

/// All values have the same bits for a while, also those that were left as they are.
class EqualBits {
  public:
    explicit EqualBits(GactCodec& codec) : codec_(codec), bits_(codec.bits()) {
        codec_.set_bits({});
    }
    ~EqualBits() { codec_.set_bits(bits_); }
    EqualBits(const EqualBits&) = delete;
    EqualBits& operator=(const EqualBits&) = delete;

  private:
    GactCodec& codec_;
    std::map<std::string, int> bits_;
};

/// Keeps values as they are, and gives them back so or, while it is probed, in 1 bit.
class ProbedValue final : public PackedTensor {
  public:
    ProbedValue(Tensor value, KeptAs as, QuantisedForm form)
        : value_(std::move(value)), as_(std::move(as)), form_(form) {
        form_.bits = 1;
    }
    Tensor unpack() const override {
        if (draw == 0) return value_;
        return Quantised(value_, form_,
                         [&](std::int64_t sample) {
                             return Stream(
                                 as_.seed, fmt::format("gact {} probe {}", as_.name(), draw),
                                 as_.step, static_cast<std::uint32_t>(as_.first_sample + sample));
                         })
            .unpack();
    }
    Shape shape() const override { return value_.shape(); }
    std::vector<std::shared_ptr<Storage>> held() const override { return {value_.storage()}; }

    const Tensor& value() const { return value_; }
    const QuantisedForm& form() const { return form_; }
    std::string name() const { return as_.name(); }

    mutable int draw = 0;  // 0: as it is

  private:
    Tensor value_;
    KeptAs as_;
    QuantisedForm form_;
};

/// Σ_bl ‖g_bl‖² Σ_c Var x̃_blc
double rounding_of_gw(const Tensor& gy, const ProbedValue& x) {
    const Tensor variances = rounding_variance(x.value(), x.form());
    const std::int64_t rows = gy.numel() / gy.size(-1), cy = gy.size(-1), cx = x.value().size(-1);
    double sum = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
        double g = 0, v = 0;
        for (std::int64_t c = 0; c < cy; ++c)
            g += double{gy.data()[row * cy + c]} * gy.data()[row * cy + c];
        for (std::int64_t c = 0; c < cx; ++c) v += variances.data()[row * cx + c];
        sum += g * v;
    }
    meter().add(2 * gy.numel() + x.value().numel() + 2 * rows);
    return sum;
}

/// Makes a codec's values ProbedValues, and probes those of each call that runs backward.
class CallProbe final : public Codec, public PackedValues<ProbedValue> {
  public:
    CallProbe(const GactCodec& codec, Module& model) : codec_(codec) {
        for (LinearMap* layer : linear_maps(model))
            if (dynamic_cast<Linear*>(layer)) linear_.insert(layer->path());
    }

    std::shared_ptr<const PackedTensor> pack(const Tensor& value, const KeptAs& as) const override {
        if (value.ndim() < 2) return nullptr;
        const Shape sample(value.shape().begin() + 1, value.shape().end());
        const auto form = codec_.form_of(as.name(), sample);
        return form ? std::make_shared<const ProbedValue>(value, as, *form) : nullptr;
    }

    void differentiated(const Differentiated& call) override {
        for (std::size_t i = 0; i < call.grads.size(); ++i)
            if (call.of_parameters[i] && call.grads[i].defined())
                energy_ += squared_norm(call.grads[i].dense());
        for (const ProbedValue* value : call.saved.all<ProbedValue>()) probe(call, *value);
    }

    std::vector<Sensitivity> sensitivities() const {
        std::vector<Sensitivity> all = values;
        for (Sensitivity& value : all)
            for (const Found& found : found_)
                if (found.name == value.name)
                    value.c += found.own + found.share * (energy_ - found.energy);
        return all;
    }

  private:
    struct Found {
        std::string name;
        double own;     // added to the call's own parameters
        double share;   // of the gradient that it hands on
        double energy;  // of all parameters but those below
    };

    void probe(const Differentiated& call, const ProbedValue& value) {
        Found found{value.name(), 0, 0, energy_};
        if (linear_.contains(call.function.name())) {
            found.own = rounding_of_gw(call.gy, value);
        } else {
            double handed = 0;
            for (std::size_t i = 0; i < call.grads.size(); ++i)
                if (!call.of_parameters[i] && call.grads[i].defined())
                    handed += squared_norm(call.grads[i].dense());
            constexpr int draws = 2;
            for (value.draw = 1; value.draw <= draws; ++value.draw) {
                const std::vector<Grad> rounded = call.function.backward(call.gy, call.saved);
                for (std::size_t i = 0; i < rounded.size(); ++i) {
                    if (!rounded[i].defined() || !call.grads[i].defined()) continue;
                    const double d =
                        squared_distance(rounded[i].dense(), call.grads[i].dense()) / draws;
                    if (call.of_parameters[i])
                        found.own += d;
                    else if (handed > 0)
                        found.share += d / handed;
                }
            }
            value.draw = 0;
        }
        found_.push_back(std::move(found));
    }

    const GactCodec& codec_;
    std::set<std::string> linear_;  // layers y = x Wᵀ
    double energy_ = 0;
    std::vector<Found> found_;
};

}  // namespace

std::map<std::string, int> allocate_bits(const std::vector<Sensitivity>& values, double average) {
    require(average >= 1, "[codec] expected at least 1 bit on average, got {}", average);
    struct Step {
        double price;  // of a saved bit
        std::size_t value;
        int bits;                                  // where it leads
        bool operator<(const Step& other) const {  // the queue gives the largest first
            return std::tuple(price, value) > std::tuple(other.price, other.value);
        }
    };
    std::priority_queue<Step> steps;
    const auto offer = [&](std::size_t i, int bits) {
        if (bits == 1) return;
        const int below = bits == GactCodec::off ? 8 : bits / 2;
        const double added = variance(values[i].c, below) - variance(values[i].c, bits);
        const auto saved = static_cast<double>(values[i].elements * (bits - below));
        steps.push({added / saved, i, below});
    };
    std::map<std::string, int> chosen;
    double elements = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto& [name, count, c] = values[i];
        require(std::isfinite(c) && c >= 0, "[codec] the sensitivity of '{}' is {}", name, c);
        constexpr std::int64_t most = std::int64_t{1} << 48;
        require(count >= 0 && count <= most, "[codec] expected 0 to {} elements of '{}', got {}",
                most, name, count);
        require(chosen.emplace(name, GactCodec::off).second, "[codec] '{}' is there twice", name);
        elements += static_cast<double>(count);
        if (count > 0) offer(i, GactCodec::off);
    }
    double held = GactCodec::off * elements;
    while (held > average * elements && !steps.empty()) {
        const Step step = steps.top();
        steps.pop();
        const Sensitivity& value = values[step.value];
        int& bits = chosen.at(value.name);
        held -= static_cast<double>(value.elements * (bits - step.bits));
        bits = step.bits;
        offer(step.value, bits);
    }
    return chosen;
}

std::vector<Sensitivity> sensitivities_by_passes(const std::shared_ptr<GactCodec>& codec,
                                                 Module& model, const Rehearsal& rehearse) {
    PackedValues<Quantised> packed;
    {
        const EqualBits all(*codec);
        rehearse(codec, &packed);
        take_gradients(model);
    }
    for (Sensitivity& value : packed.values) {
        const auto gradients = [&](int bits, int draw) {
            const GactCodec::Probe probe(*codec, value.name, bits, draw);
            rehearse(codec, nullptr);
            return take_gradients(model);
        };
        const std::vector<Tensor> one = gradients(1, 1), other = gradients(1, 2);
        const double between = squared_distance(one, other);
        const std::vector<Tensor> fine = gradients(8, 1);
        value.c =
            std::max({between, 2 * squared_distance(one, fine), 2 * squared_distance(other, fine)});
    }
    return packed.values;
}

std::vector<Sensitivity> sensitivities_by_calls(const std::shared_ptr<GactCodec>& codec,
                                                Module& model, const Rehearsal& rehearse) {
    const EqualBits all(*codec);
    const auto probe = std::make_shared<CallProbe>(*codec, model);
    rehearse(probe, probe.get());
    take_gradients(model);
    return probe->sensitivities();
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
