#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "bench/projectors.h"
#include "bench/workload.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "tensor/meter.h"
#include "tensor/ops.h"

namespace slimgrad::bench {
namespace {

constexpr std::int64_t most_sets = 32;  // tiny layers would need thousands to be out of the cache

/// What one execution of the layers touches. Several of these, used in turn, are never in a cache.
/// Results stay until their set is used again, as gradients do.
struct Buffers {
    std::vector<Tensor> x, gy, w;  // by layer; layers of one input group share x
    std::vector<LinearGrads> grads;

    std::int64_t bytes() const {
        std::int64_t sum = 0;
        for (const auto* list : {&x, &gy, &w})
            for (const Tensor& t : *list) sum += t.bytes();
        return sum;
    }
    Buffers clone() const {
        Buffers copy;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const bool shared = i > 0 && x[i].data() == x[i - 1].data();
            copy.x.push_back(shared ? copy.x.back() : x[i].clone());
            copy.gy.push_back(gy[i].clone());
            copy.w.push_back(w[i].clone());
        }
        copy.grads.resize(x.size());
        return copy;
    }
};

std::int64_t last_level_cache() {
    const std::int64_t size = sysconf(_SC_LEVEL3_CACHE_SIZE);
    return size > 0 ? size : 32 << 20;
}

/// The sets that all variants of a case use in turn.
struct Sets {
    std::vector<Buffers> buffers;  // one until the first repetition
    std::int64_t count = 2;
    std::size_t next = 0;

    Buffers& turn() {
        while (std::ssize(buffers) < count) buffers.push_back(buffers.front().clone());
        next = (next + 1) % buffers.size();
        return buffers[next];
    }
};

Buffers draw(const std::vector<LinearShape>& shapes, std::int64_t batch, std::uint64_t seed) {
    Buffers b;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const LinearShape& s = shapes[i];
        const auto draw = [&](const char* what, Shape shape, real scale) {
            Stream stream(seed, what, i);
            return uniform(std::move(shape), -scale, scale, stream);
        };
        const bool shared = i > 0 && shapes[i - 1].input_group == s.input_group;
        b.x.push_back(shared ? b.x.back() : draw("x", {batch, s.tokens, s.in_channels}, 1));
        b.gy.push_back(draw("gy", {batch, s.tokens, s.out_channels}, 1));
        b.w.push_back(draw("w", {s.out_channels, s.in_channels}, real(0.1)));
    }
    b.grads.resize(shapes.size());
    return b;
}

/// Made once for all that ask while one of them lives: variants differ in their rules alone.
std::shared_ptr<Sets> sets_of(const std::vector<LinearShape>& shapes, std::int64_t batch,
                              std::uint64_t seed) {
    static std::map<std::string, std::weak_ptr<Sets>> made;
    std::string key = fmt::format("{} {}", batch, seed);
    for (const LinearShape& s : shapes)
        key += fmt::format(" {} {} {} {}", s.name, s.tokens, s.in_channels, s.out_channels);
    std::shared_ptr<Sets> sets = made[key].lock();
    if (sets) return sets;
    made[key] = sets = std::make_shared<Sets>();
    sets->buffers.push_back(draw(shapes, batch, seed));
    const std::int64_t bytes = sets->buffers.front().bytes();
    sets->count =
        std::clamp((2 * last_level_cache() + bytes - 1) / bytes, std::int64_t{2}, most_sets);
    return sets;
}

/// The linear maps of transformer blocks, from the last to the first as backward meets them.
/// "compress" is what saving x costs, "backward" makes g_w, g_x and g_b.
class Linears final : public Workload {
  public:
    Linears(const Case& which, const Variant& variant)
        : shapes_(linear_shapes(which, variant.fused)),
          variant_(variant),
          projectors_(random_projectors(shapes_, variant, which.size.batch)),
          sets_(sets_of(shapes_, which.size.batch, variant.seed)) {
        codec_ = tape_options(options_of(variant, {}, which.size.batch)).codec;
        for (std::size_t i = 0; i < shapes_.size(); ++i)
            rules_.push_back(make_rule(shapes_[i], variant, projectors_[i], which.size.batch));
    }

    /// The first repetition comes after one on every set: pages that results are the first to touch
    /// would cost more than the products.
    Seconds run() override {
        for (; warm_ < sets_->count; ++warm_) run_on(sets_->turn());
        return run_on(sets_->turn());
    }

    std::vector<NamedTensor> record() override {
        Buffers& b = sets_->buffers.front();
        run_on(b);
        std::vector<NamedTensor> all;
        const auto add = [&](const std::string& name, const Tensor& value) {
            if (value.defined()) all.push_back({name, value});
        };
        for (std::size_t i = 0; i < shapes_.size(); ++i) {
            const std::string& name = shapes_[i].name;
            add("in.x." + name, b.x[i]);
            add("in.gy." + name, b.gy[i]);
            add("w." + name, b.w[i]);
            if (projectors_[i].p) add("P." + name, projectors_[i].p->basis);
            if (projectors_[i].q) add("Q." + name, projectors_[i].q->basis);
            add("g.x." + name, b.grads[i].gx);
            add("g.w." + name, b.grads[i].gw.defined() ? b.grads[i].gw.dense() : Tensor());
            add("g.b." + name, b.grads[i].gb);
        }
        return all;
    }

    std::int64_t sets() const override { return sets_->count; }

  private:
    Seconds run_on(Buffers& b) const {
        for (LinearGrads& old : b.grads) old = {};  // what comes next may take their place
        double compress = 0, backward = 0;
        Seconds parts;
        PackCache cache;
        std::vector<Saved> saved;
        for (std::size_t i = 0; i < shapes_.size(); ++i) {
            const LayerScope scope(shapes_[i].name);
            const LinearCall call = call_of(shapes_[i], variant_, b.x[i].shape(), b.w[i]);
            saved.emplace_back(std::vector<bool>{true, true},
                               SavedOptions{.codec = codec_.get(),
                                            .cache = &cache,
                                            .as = {.layer = call.layer, .seed = call.seed}});
            Stopwatch watch;
            rules_[i]->save({call.op, b.x[i]}, saved.back(), call);
            parts.emplace_back("compress." + shapes_[i].name, watch.lap());
            compress += parts.back().second;
        }
        for (std::size_t i = shapes_.size(); i-- > 0;) {
            const LayerScope scope(shapes_[i].name);
            Stopwatch watch;
            const LinearCall call = call_of(shapes_[i], variant_, b.x[i].shape(), b.w[i]);
            b.grads[i] = backward_by(*rules_[i], b.gy[i], saved[i], call);
            parts.emplace_back("backward." + shapes_[i].name, watch.lap());
            backward += parts.back().second;
        }
        parts.insert(parts.begin(), {{"compress", compress}, {"backward", backward}});
        return parts;
    }

    std::vector<LinearShape> shapes_;
    Variant variant_;
    std::vector<Projectors> projectors_;
    std::vector<std::shared_ptr<const BackwardRule>> rules_;
    std::shared_ptr<const Codec> codec_;
    std::shared_ptr<Sets> sets_;
    std::int64_t warm_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_linears(const Case& which, const Variant& variant) {
    return std::make_unique<Linears>(which, variant);
}

}  // namespace slimgrad::bench
