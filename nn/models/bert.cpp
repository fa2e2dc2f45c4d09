#include "nn/models/bert.h"

#include <algorithm>
#include <numeric>

#include "autograd/ops.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

constexpr real initial_spread = real(0.02);

const BertConfig& checked(const BertConfig& config) {
    check(config, fmt::format("[{}]", config.kind));
    return config;
}

GELU::Form form_of(const std::string& activation) {
    return activation == "gelu" || activation == "gelu_python" ? GELU::Form::erf : GELU::Form::tanh;
}

/// Layers draw initial values when they are made; Bert::initialise replaces them all.
Stream replaced() { return Stream(0, "replaced"); }

}  // namespace

PostNormBlock::PostNormBlock(const BertConfig& config) : PostNormBlock(config, replaced()) {}

PostNormBlock::PostNormBlock(const BertConfig& config, Stream stream)
    : attention_(config.hidden_size, config.num_attention_heads, stream,
                 {.dropout = config.attention_dropout}),
      attention_dropout_(config.distilled() ? 0 : config.hidden_dropout),
      norm1_(config.hidden_size, config.layer_norm_eps),
      fc1_(config.hidden_size, config.intermediate_size, stream),
      gelu_(form_of(config.activation)),
      fc2_(config.intermediate_size, config.hidden_size, stream),
      dropout_(config.hidden_dropout),
      norm2_(config.hidden_size, config.layer_norm_eps) {}

Var PostNormBlock::forward(const Var& x, const AttentionMask& mask) {
    const Var y = norm1_.forward(x + attention_dropout_.forward(attention_.forward(x, mask)));
    const Var h = fc2_.forward(gelu_.forward(fc1_.forward(y)));
    return norm2_.forward(y + dropout_.forward(h));
}

void PostNormBlock::visit(Visitor& visitor) {
    visitor.module("attention", attention_);
    visitor.module("attention_dropout", attention_dropout_);
    visitor.module("norm1", norm1_);
    visitor.module("fc1", fc1_);
    visitor.module("gelu", gelu_);
    visitor.module("fc2", fc2_);
    visitor.module("dropout", dropout_);
    visitor.module("norm2", norm2_);
}

Bert::Bert(const BertConfig& config) : Bert(checked(config), replaced()) {}

Bert::Bert(const BertConfig& config, Stream stream)
    : config_(config),
      word_(config.vocab_size, config.hidden_size, stream, config.pad_token_id),
      position_(config.max_position_embeddings, config.hidden_size, stream),
      token_type_(config.distilled() ? nullptr
                                     : std::make_unique<Embedding>(config.type_vocab_size,
                                                                   config.hidden_size, stream)),
      norm_(config.hidden_size, config.layer_norm_eps),
      dropout_(config.hidden_dropout),
      pooler_(config.hidden_size, config.hidden_size, stream),
      classifier_dropout_(config.classifier_dropout),
      classifier_(config.hidden_size, config.classes, stream) {
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i)
        blocks_.push_back(std::make_unique<PostNormBlock>(config));
    pooler_.set_compressible(false);
    classifier_.set_compressible(false);
    initialise();
}

/// Matrices and tables N(0, 0.02²), each from a stream that is named after it; LayerNorm stays 1
/// and 0, all other biases become 0.
void Bert::initialise() {
    for_each_parameter(*this, [&](const std::string& name, Parameter& parameter) {
        const Shape& shape = parameter.value.shape();
        if (shape.size() == 2)
            parameter = seeded(config_.seed, name, [&](Stream& stream) {
                return Parameter(normal(shape, 0, initial_spread, stream));
            });
        else if (name.ends_with("bias"))
            std::ranges::fill(parameter.value.values(), real(0));
    });
    std::fill_n(word_.weight().value.data() + config_.pad_token_id * config_.hidden_size,
                config_.hidden_size, real(0));
}

void Bert::require_fits(const Tokens& tokens) const {
    const std::int64_t length = tokens.length, count = std::ssize(tokens.ids);
    require(
        length >= 1 && count >= length && count % length == 0 && std::ssize(tokens.types) == count,
        "[{}] expected texts of one length, at least 1, with a type for each token; got length "
        "{}, {} ids and {} types",
        path(), length, count, tokens.types.size());
    require(length <= config_.max_position_embeddings,
            "[{}] expected texts of at most {} tokens, got {}. Hint: a smaller maximal length",
            path(), config_.max_position_embeddings, length);
}

Var Bert::embed(Tape& tape, const Tokens& tokens) {
    require_fits(tokens);
    const Shape shape = tokens.shape();
    std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens.length));
    std::iota(positions.begin(), positions.end(), 0);
    Var h = word_.forward(tape, tokens.ids, shape);  // (B, L, C)
    if (token_type_) h = h + token_type_->forward(tape, tokens.types, shape);
    h = h + position_.forward(tape, positions, {tokens.length});  // (L, C) for every text
    return dropout_.forward(norm_.forward(h));
}

Var Bert::classify(const Var& h) {
    const Var first = reshape(slice(h, 1, 0, 1), {h.size(0), config_.hidden_size});
    const Var pooled = pooler_.forward(first);
    const Var active = config_.distilled() ? relu_.forward(pooled) : tanh(pooled);
    return classifier_.forward(classifier_dropout_.forward(active));
}

Var Bert::forward(Tape& tape, const Tokens& tokens) {
    const AttentionMask mask{Tensor(), tokens.key_padding};
    Var h;
    {
        const TokenScope layout(tape, {.padding = tokens.key_padding});
        h = embed(tape, tokens);
        for (const auto& block : blocks_) h = block->forward(h, mask);
    }
    return classify(h);  // of the first token alone, which is none
}

std::vector<Var> Bert::hidden_states(Tape& tape, const Tokens& tokens) {
    const AttentionMask mask{Tensor(), tokens.key_padding};
    const TokenScope layout(tape, {.padding = tokens.key_padding});
    std::vector<Var> states{embed(tape, tokens)};
    for (const auto& block : blocks_) states.push_back(block->forward(states.back(), mask));
    return states;
}

void Bert::visit(Visitor& visitor) {
    visitor.module("embeddings.word", word_);
    visitor.module("embeddings.position", position_);
    if (token_type_) visitor.module("embeddings.token_type", *token_type_);
    visitor.module("embeddings.norm", norm_);
    visitor.module("embeddings.dropout", dropout_);
    for (std::size_t i = 0; i < blocks_.size(); ++i)
        visitor.module("blocks." + std::to_string(i), *blocks_[i]);
    visitor.module("pooler", pooler_);
    if (config_.distilled()) visitor.module("relu", relu_);
    visitor.module("dropout", classifier_dropout_);
    visitor.module("classifier", classifier_);
}

std::vector<Module*> Bert::blocks() {
    std::vector<Module*> all;
    for (const auto& block : blocks_) all.push_back(block.get());
    return all;
}

std::unique_ptr<TextModel> make_text_model(const BertConfig& config) {
    auto model = std::make_unique<Bert>(config);
    name_modules(*model);
    return model;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
