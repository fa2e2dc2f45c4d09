#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "autograd/function.h"
#include "autograd/observer.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

class Tape;

/// A value on a tape. The tape does not hold it: it dies with its last Var, unless a layer kept it.
class Var {
  public:
    Var() = default;
    const Tensor& value() const { return value_; }
    const Shape& shape() const { return value_.shape(); }
    std::int64_t size(std::int64_t axis) const { return value_.size(axis); }
    /// Throws Error for a Var that was made without a tape, or whose tape is gone.
    Tape& tape() const {
        require(tape_ != nullptr, "[var] this value is on no tape");
        require(!alive_.expired(), "[var] the tape of this value is gone");
        return *tape_;
    }
    bool requires_grad() const;
    /// A parameter itself, not something computed from it.
    bool is_parameter() const;

  private:
    friend class Tape;
    Var(Tape* tape, std::weak_ptr<const void> alive, std::size_t id, Tensor value)
        : tape_(tape), alive_(std::move(alive)), id_(id), value_(std::move(value)) {}

    Tape* tape_ = nullptr;
    std::weak_ptr<const void> alive_;  // dies with the tape
    std::size_t id_ = 0;
    Tensor value_;
};

/// How a tape executes.
struct TapeOptions {
    /// Training behaviour of layers that have one: Dropout drops, BatchNorm uses the batch's
    /// statistics, rules may compress. Evaluation is exact.
    bool training = true;
    /// Remember what backward needs. Without it nothing is saved.
    bool recording = true;
    /// BatchNorm moves its running statistics. Calibration must not.
    bool update_statistics = true;
    /// Random draws (dropout masks) are a function of the seed, the step, the index of the sample
    /// in its batch and the order of calls in the graph: the same in every method and however a
    /// batch is split.
    std::uint64_t seed = 0;
    std::uint64_t step = 0;
    std::int64_t first_sample = 0;
    /// Packs every activation that a layer keeps, in training alone; null keeps them as they are.
    std::shared_ptr<const Codec> codec = nullptr;
    /// GELU and SiLU keep their derivative in so many bits, 2 or 3, instead of their input: rounded
    /// at random, so that gradients are right on average. 0: their input.
    int derivative_bits = 0;
    /// LayerNorm keeps its output, which linear layers that read it keep too, instead of its input.
    /// Rounding of 1 / γ comes on top of that of the codec, if there is one.
    bool norm_keeps_output = false;
    /// Finds every change of a value between forward and backward, and functions that change what
    /// they are given, by digests of all bytes: for debugging, since it reads all that is kept
    /// twice. Without it only changes are found that the library was told of (Tensor::changed).
    bool check_saved = false;
    /// Watches the calls; it must outlive the tape.
    TapeObserver* observer = nullptr;
};

/// How the values of a model are tokens, as the model states it: nobody guesses it from shapes.
struct TokenLayout {
    /// The grid of patches or pixels that the tokens come from, row by row; 0 if there is none.
    std::int64_t rows = 0, columns = 0;
    /// Tokens before those of the grid: a class token.
    std::int64_t extra = 0;
    /// (B, L): 1 where a token is padding, else 0. Undefined if there is none.
    Tensor padding{};
};

/// The record of one forward pass, and the backward pass that consumes it.
class Tape {
  public:
    explicit Tape(TapeOptions options = {});
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;

    const TapeOptions& options() const { return options_; }
    bool training() const { return options_.training; }

    /// A value without gradient.
    Var constant(Tensor value);
    /// A value whose gradient can be asked for after backward.
    Var input(Tensor value);
    /// A parameter; backward adds to its `grad`. It must outlive the tape and stay where it is.
    Var parameter(Parameter& parameter);

    /// Executes a function and records it if any input needs a gradient. Throws Error if the
    /// function counts no FLOPs (it must say meter().add(0) if it has none) or gives no value.
    Var apply(std::shared_ptr<const Function> function, const std::vector<Var>& inputs);

    /// Backward from `y` with the gradient `gy` (default: 1 for a y with one element). Records are
    /// consumed from the end and what they saved is freed at once; a tape runs backward only once.
    /// Throws Error, naming the function, for gradients that do not have the shape of its inputs,
    /// for values that were changed after they had been kept, and for parameters whose value has
    /// another shape than in forward.
    void backward(const Var& y, Tensor gy = {});
    /// The gradient of an input after backward; zeros if y did not depend on it. Throws Error for
    /// what is no input, or was made after backward.
    Tensor gradient(const Var& input) const;

    /// What holds for the values that are made now.
    const TokenLayout& tokens() const { return tokens_; }

    /// Numbers the random layers of a graph in order of execution.
    std::uint32_t next_draw() { return draws_++; }
    /// Calls recorded and not yet consumed.
    std::size_t size() const { return calls_; }

  private:
    friend class Var;
    friend class TokenScope;
    /// What the tape knows of one value, which it does not hold.
    struct Node {
        Shape shape;
        bool requires_grad;
        bool is_input = false;
        Parameter* parameter = nullptr;  // null for other values
        Grad gradient{};                 // the sum of what has come so far; a parameter has its own
        // The call that gave the value, if backward needs it; its inputs are numbers of nodes.
        std::shared_ptr<const Function> function{};
        std::unique_ptr<Saved> saved{};
        std::vector<std::size_t> inputs{};
    };
    Var make(Tensor value, bool requires_grad);
    bool owns(const Var& var) const { return var.tape_ == this && var.alive_.lock() == alive_; }
    std::vector<Grad> run_backward(const std::string& name, const Node& node,
                                   const Tensor& gy) const;
    void deposit(const std::string& where, Node& node, Grad grad);

    TapeOptions options_;
    TokenLayout tokens_;
    PackCache cache_;
    std::vector<Node> nodes_;  // in order of execution: inputs come before what is made of them
    std::size_t calls_ = 0;
    std::optional<std::size_t> consumed_;  // how many nodes there were when backward ran
    std::uint32_t draws_ = 0;
    std::shared_ptr<const void> alive_ = std::make_shared<char>();
};

/// States the layout of the tokens of all that is put on a tape while the scope is open.
class TokenScope {
  public:
    TokenScope(Tape& tape, TokenLayout layout)
        : tape_(tape), outer_(std::exchange(tape.tokens_, std::move(layout))) {}
    ~TokenScope() { tape_.tokens_ = std::move(outer_); }
    TokenScope(const TokenScope&) = delete;
    TokenScope& operator=(const TokenScope&) = delete;

  private:
    Tape& tape_;
    TokenLayout outer_;
};

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
