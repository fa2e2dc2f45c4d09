#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/backward_rule.h"
#include "nn/module.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A layer whose core is y = x Wᵀ and whose backward is left to a rule: Linear and Conv2d. Methods
/// find these layers through for_each_module and give each its rule.
class LinearMap : public Module {
  public:
    const std::shared_ptr<const BackwardRule>& rule() const { return rule_; }
    void set_rule(std::shared_ptr<const BackwardRule> rule) { rule_ = std::move(rule); }

    /// Layers that multiply the same x (Q, K and V) name one group: they share one projection of
    /// it. By default a layer is alone in the group of its own path.
    std::string input_group() const {
        if (!input_group_.empty()) return input_group_;
        if (shared_with_) return shared_with_->input_group();
        return shared_in_ ? shared_in_->path() + ".qkv" : path();
    }
    void set_input_group(std::string group) { input_group_ = std::move(group); }
    /// The group that was set; empty if none was.
    const std::string& own_input_group() const { return input_group_; }
    /// Unless a group is set: that of Q, K and V of `attention`, which owns the layer and gets its
    /// path only when the model is whole.
    void share_input_in(const Module& attention) { shared_in_ = &attention; }
    /// Unless a group is set: that of `other`, which must outlive this layer.
    void share_input_with(const LinearMap& other) { shared_with_ = &other; }

    /// How many maps the rows of W are, one after the other: 3 where q, k and v are one layer.
    std::int64_t parts() const { return parts_; }
    void set_parts(std::int64_t parts) { parts_ = parts; }
    /// Whether something else trains in the place of W.
    virtual bool adapted() const { return false; }

    /// False for maps that no method compresses: grouped convolutions, and heads that a model
    /// excludes.
    bool compressible() const { return compressible_; }
    void set_compressible(bool compressible) { compressible_ = compressible; }

    /// Whether the layer is the output projection of an attention.
    bool attention_output() const { return attention_output_; }
    void set_attention_output(bool is) { attention_output_ = is; }

    virtual Parameter& weight() = 0;
    const Parameter& weight() const { return const_cast<LinearMap*>(this)->weight(); }
    /// Null if the layer has none.
    virtual Parameter* bias() = 0;
    const Parameter* bias() const { return const_cast<LinearMap*>(this)->bias(); }

  protected:
    /// Puts y = x Wᵀ + b on the tape of x. `op` is made for the shape of x, `layout` is that of its
    /// tokens. A grouped one is exact, unless the rule takes such operators.
    Var apply(const Var& x, std::shared_ptr<const LinearOperator> op, TokenLayout layout,
              bool grouped = false);

  private:
    std::shared_ptr<const BackwardRule> rule_ = ExactRule::instance();
    std::string input_group_;
    const Module* shared_in_ = nullptr;
    const LinearMap* shared_with_ = nullptr;
    std::int64_t parts_ = 1;
    bool compressible_ = true;
    bool attention_output_ = false;
};

/// The linear maps of a model, in order of visit.
std::vector<LinearMap*> linear_maps(Module& model);

/// Replaces the rules of a model's linear maps and puts the old ones back on destruction, also
/// when an exception passes.
class RuleSwap {
  public:
    using Replace = std::function<std::shared_ptr<const BackwardRule>(LinearMap& layer)>;
    RuleSwap(Module& model, const Replace& replace);
    ~RuleSwap();
    RuleSwap(const RuleSwap&) = delete;
    RuleSwap& operator=(const RuleSwap&) = delete;

  private:
    std::vector<std::pair<LinearMap*, std::shared_ptr<const BackwardRule>>> original_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
