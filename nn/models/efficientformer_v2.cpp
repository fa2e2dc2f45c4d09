#include "nn/models/efficientformer_v2.h"

#include <array>
#include <cmath>

#include "autograd/ops.h"
#include "nn/distance_bias.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr std::int64_t heads = 8;
constexpr std::int64_t key_width = 32, value_width = 128;  // of a head
constexpr std::int64_t halving_key_width = 16, halving_value_width = 64;

// The S0 of the paper.
constexpr std::array<std::int64_t, 4> widths{32, 48, 96, 176};
const std::array<std::vector<std::int64_t>, 4> expansions{
    {{4, 4}, {4, 4}, {4, 3, 3, 3, 4, 4}, {4, 3, 3, 4}}};
constexpr std::array<std::int64_t, 4> attention_strides{0, 0, 2, 1};  // 0: none in this stage
constexpr std::size_t attentions = 2;                                 // at the end of such a stage

struct Draw {
    std::uint64_t seed;
    const std::string& name;

    ConvNorm pointwise(const char* layer, std::int64_t in, std::int64_t out) const {
        return make({.in = in, .out = out, .kernel = 1, .bias = true}, layer);
    }
    ConvNorm depthwise(const char* layer, std::int64_t width, std::int64_t stride) const {
        return make({.in = width,
                     .out = width,
                     .kernel = 3,
                     .stride = stride,
                     .groups = width,
                     .bias = true},
                    layer);
    }
    Conv2d conv(const char* layer, std::int64_t width, const Conv2dOptions& options) const {
        return seeded(seed, name + layer,
                      [&](Stream& stream) { return Conv2d(width, width, options, stream); });
    }

  private:
    ConvNorm make(const ConvNorm::Options& options, const char* layer) const {
        return {options, seed, name + layer + ".conv"};
    }
};

Var apply(ConvNorm& step, const Var& x) { return step.norm.forward(step.conv.forward(x)); }

void show(Visitor& visitor, const std::string& name, ConvNorm& step) {
    visitor.module(name + ".conv", step.conv);
    visitor.module(name + ".bn", step.norm);
}

/// (B, heads · d, H, W) -> (B, heads, d, H · W).
Var by_head(const Var& x) {
    return reshape(x, {x.size(0), heads, x.size(1) / heads, x.size(2) * x.size(3)});
}

/// Qᵀ K / √d + bias of (B, heads, d, queries) and (B, heads, d, keys).
Var scores(const Var& q, const Var& k, const Var& bias) {
    const auto d = static_cast<real>(q.size(2));
    return matmul(q, k, Op::transpose) * (1 / std::sqrt(d)) + bias;
}

/// V Pᵀ as an image: (B, heads, d, keys), (B, heads, queries, keys) -> (B, heads · d, rows,
/// columns).
Var values(const Var& v, const Var& p, std::int64_t rows, std::int64_t columns) {
    return reshape(matmul(v, p, Op::none, Op::transpose),
                   {v.size(0), heads * v.size(2), rows, columns});
}

Parameter distance_numbers(std::int64_t distances) {
    return Parameter(Tensor::zeros({heads, distances}));
}

Linear classifier(const ModelConfig& config, const char* name) {
    return seeded(config.seed, name,
                  [&](Stream& stream) { return Linear(widths.back(), config.classes, stream); });
}

}  // namespace

TalkingAttention::TalkingAttention(const Options& o, std::uint64_t seed, const std::string& name)
    : rows_(o.rows / o.stride),
      columns_(o.columns / o.stride),
      attention_biases_(distance_numbers(rows_ * columns_)),
      upsample_(o.stride),
      q_(Draw{seed, name}.pointwise(".q", o.width, heads * key_width)),
      k_(Draw{seed, name}.pointwise(".k", o.width, heads * key_width)),
      v_(Draw{seed, name}.pointwise(".v", o.width, heads * value_width)),
      v_local_(Draw{seed, name}.depthwise(".v_local", heads * value_width, 1)),
      talking_head1_(Draw{seed, name}.conv(".talking_head1", heads, {.kernel = 1})),
      talking_head2_(Draw{seed, name}.conv(".talking_head2", heads, {.kernel = 1})),
      proj_(Draw{seed, name}.pointwise(".proj", heads * value_width, o.width)) {
    if (o.stride > 1)
        stride_conv_.reset(
            new ConvNorm(Draw{seed, name}.depthwise(".stride_conv", o.width, o.stride)));
}

Var TalkingAttention::forward(const Var& x) {
    const Var bias =
        distance_bias(path() + ".bias", x.tape().parameter(attention_biases_), {rows_, columns_});
    const Var h = stride_conv_ ? apply(*stride_conv_, x) : x;
    const Var v = apply(v_, h);
    const Var s =
        talking_head1_.forward(scores(by_head(apply(q_, h)), by_head(apply(k_, h)), bias));
    const Var p = talking_head2_.forward(softmax_.forward(s));
    const Var y = values(by_head(v), p, rows_, columns_) + apply(v_local_, v);
    return apply(proj_, gelu_.forward(stride_conv_ ? upsample_.forward(y) : y));
}

void TalkingAttention::visit(Visitor& visitor) {
    visitor.parameter("attention_biases", attention_biases_);
    if (stride_conv_) show(visitor, "stride_conv", *stride_conv_);
    show(visitor, "q", q_);
    show(visitor, "k", k_);
    show(visitor, "v", v_);
    visitor.module("talking_head1", talking_head1_);
    visitor.module("softmax", softmax_);
    visitor.module("talking_head2", talking_head2_);
    show(visitor, "v_local", v_local_);
    if (stride_conv_) visitor.module("upsample", upsample_);
    visitor.module("gelu", gelu_);
    show(visitor, "proj", proj_);
}

HalvingStep::HalvingStep(const Options& o, std::uint64_t seed, const std::string& name)
    : rows_(o.rows),
      columns_(o.columns),
      conv_({.in = o.in, .out = o.out, .kernel = 3, .stride = 2, .bias = true}, seed,
            name + ".conv.conv") {
    conv_.conv.set_compressible(false);  // nor does the paper
    if (!o.attention) return;
    const std::int64_t keys = heads * halving_key_width, values = heads * halving_value_width;
    const std::string attn = name + ".attn";
    const Draw draw{seed, attn};
    const Conv2dOptions around{.kernel = 3, .stride = 2, .padding = 1, .groups = o.in};
    attention_.reset(new Attention{
        .attention_biases = distance_numbers(o.rows * o.columns),
        .pool = AvgPool2d({.kernel = 1, .stride = 2}),
        .local = draw.conv(".q.local", o.in, around),
        .q = draw.pointwise(".q.proj", o.in, keys),
        .k = draw.pointwise(".k", o.in, keys),
        .v = draw.pointwise(".v", o.in, values),
        .v_local = draw.depthwise(".v_local", values, 2),
        .softmax = Softmax(),
        .gelu = GELU(),
        .proj = draw.pointwise(".proj", values, o.out),
    });
    for (ConvNorm* step : {&attention_->q, &attention_->k, &attention_->v, &attention_->proj})
        step->conv.set_compressible(false);
}

Var HalvingStep::attend(Attention& a, const Var& x) const {
    const Var bias = distance_bias(path() + ".bias", x.tape().parameter(a.attention_biases),
                                   {rows_, columns_, 2});
    const Var q = apply(a.q, a.local.forward(x) + a.pool.forward(x));
    const Var v = apply(a.v, x);
    const Var p = a.softmax.forward(scores(by_head(q), by_head(apply(a.k, x)), bias));
    const Var y = values(by_head(v), p, q.size(2), q.size(3)) + apply(a.v_local, v);
    return apply(a.proj, a.gelu.forward(y));
}

Var HalvingStep::forward(const Var& x) {
    const Var y = apply(conv_, x);
    return attention_ ? attend(*attention_, x) + y : y;
}

void HalvingStep::visit(Visitor& visitor) {
    show(visitor, "conv", conv_);
    if (!attention_) return;
    Attention& a = *attention_;
    visitor.parameter("attn.attention_biases", a.attention_biases);
    visitor.module("attn.q.local", a.local);
    visitor.module("attn.q.pool", a.pool);
    show(visitor, "attn.q.proj", a.q);
    show(visitor, "attn.v", a.v);
    show(visitor, "attn.k", a.k);
    visitor.module("attn.softmax", a.softmax);
    show(visitor, "attn.v_local", a.v_local);
    visitor.module("attn.gelu", a.gelu);
    show(visitor, "attn.proj", a.proj);
}

EfficientFormerV2Block::EfficientFormerV2Block(const Options& o, const ModelConfig& config,
                                               const std::string& name)
    : fc1_(Draw{config.seed, name}.pointwise(".mlp.fc1", o.width, o.expand * o.width)),
      mid_(Draw{config.seed, name}.depthwise(".mlp.mid", o.expand * o.width, 1)),
      fc2_(Draw{config.seed, name}.pointwise(".mlp.fc2", o.expand * o.width, o.width)),
      ls2_(o.width),
      dropout_(config.dropout),
      drop_path_(o.drop_path) {
    if (o.attention_stride > 0)
        mixer_.reset(new Mixer{TalkingAttention({o.width, o.rows, o.columns, o.attention_stride},
                                                config.seed, name + ".token_mixer"),
                               LayerScale(o.width)});
}

Var EfficientFormerV2Block::forward(const Var& x) {
    Var y = x;
    if (mixer_) y = y + drop_path_.forward(mixer_->scale.forward(mixer_->attention.forward(y)));
    Var h = gelu_.forward(apply(fc1_, y));
    h = dropout_.forward(gelu_.forward(apply(mid_, h)));
    h = dropout_.forward(apply(fc2_, h));
    return y + drop_path_.forward(ls2_.forward(h));
}

void EfficientFormerV2Block::visit(Visitor& visitor) {
    if (mixer_) {
        visitor.module("token_mixer", mixer_->attention);
        visitor.module("ls1", mixer_->scale);
    }
    show(visitor, "mlp.fc1", fc1_);
    show(visitor, "mlp.mid", mid_);
    show(visitor, "mlp.fc2", fc2_);
    visitor.module("ls2", ls2_);
    visitor.module("gelu", gelu_);
    visitor.module("dropout", dropout_);
    visitor.module("drop_path", drop_path_);
}

EfficientFormerV2::EfficientFormerV2(const ModelConfig& config)
    : config_(config),
      stem1_({.in = config.channels, .out = widths[0] / 2, .kernel = 3, .stride = 2, .bias = true},
             config.seed, "stem.conv1.conv"),
      stem2_({.in = widths[0] / 2, .out = widths[0], .kernel = 3, .stride = 2, .bias = true},
             config.seed, "stem.conv2.conv"),
      norm_(widths.back()),
      head_(classifier(config, "head")),
      head_dist_(classifier(config, "head_dist")) {
    require(config.height % 32 == 0 && config.width % 32 == 0,
            "[efficientformer_v2] expected images whose sides are multiples of 32, got {}x{}",
            config.height, config.width);
    for (ConvNorm* stem : {&stem1_, &stem2_}) stem->conv.set_compressible(false);  // as the paper
    for (Linear* head : {&head_, &head_dist_}) head->set_compressible(false);
    std::int64_t rows = config.height / 4, columns = config.width / 4;
    std::size_t all = 0, number = 0;
    for (const auto& stage : expansions) all += stage.size();
    for (std::size_t s = 0; s < widths.size(); ++s) {
        const std::string name = fmt::format("stages.{}.", s);
        Stage& stage = stages_.emplace_back();
        if (s > 0) {
            const bool attention = s + 1 == widths.size();
            stage.downsample = std::make_unique<HalvingStep>(
                HalvingStep::Options{widths[s - 1], widths[s], rows, columns, attention},
                config.seed, name + "downsample");
            rows /= 2;
            columns /= 2;
        }
        const std::size_t depth = expansions[s].size();
        for (std::size_t i = 0; i < depth; ++i) {
            // The deeper a block, the likelier it is left out.
            const double drop =
                config.drop_path * static_cast<double>(number++) / static_cast<double>(all - 1);
            stage.blocks.push_back(std::make_unique<EfficientFormerV2Block>(
                EfficientFormerV2Block::Options{widths[s], expansions[s][i], rows, columns,
                                                i + attentions >= depth ? attention_strides[s] : 0,
                                                drop},
                config, name + fmt::format("blocks.{}", i)));
        }
    }
}

Var EfficientFormerV2::forward(const Var& x) {
    require_images(x, config_, path());
    Var h = gelu_.forward(apply(stem2_, gelu_.forward(apply(stem1_, x))));
    for (Stage& stage : stages_) {
        if (stage.downsample) h = stage.downsample->forward(h);
        for (const auto& block : stage.blocks) h = block->forward(h);
    }
    const Var pooled = pool_.forward(norm_.forward(h));
    return real(0.5) * (head_.forward(pooled) + head_dist_.forward(pooled));
}

void EfficientFormerV2::visit(Visitor& visitor) {
    show(visitor, "stem.conv1", stem1_);
    visitor.module("stem.gelu", gelu_);
    show(visitor, "stem.conv2", stem2_);
    for (std::size_t s = 0; s < stages_.size(); ++s) {
        const std::string name = fmt::format("stages.{}.", s);
        if (stages_[s].downsample) visitor.module(name + "downsample", *stages_[s].downsample);
        for (std::size_t i = 0; i < stages_[s].blocks.size(); ++i)
            visitor.module(name + fmt::format("blocks.{}", i), *stages_[s].blocks[i]);
    }
    visitor.module("norm", norm_);
    visitor.module("pool", pool_);
    visitor.module("head", head_);
    visitor.module("head_dist", head_dist_);
}

std::vector<Module*> EfficientFormerV2::blocks() {
    std::vector<Module*> all;
    for (const Stage& stage : stages_)
        for (const auto& block : stage.blocks) all.push_back(block.get());
    return all;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
