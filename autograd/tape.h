#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "autograd/function.h"

namespace slimgrad::inline SLIMGRAD_PRECISION {

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
    /// Packs every activation that a layer keeps; null keeps them as they are.
    std::shared_ptr<const Codec> codec = nullptr;
    /// Finds every change of a value between forward and backward, and functions that change what
    /// they are given, by digests of all bytes: for debugging, since it reads all that is kept
    /// twice. Without it only changes are found that the library was told of (Tensor::changed).
    bool check_saved = false;
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

    /// Numbers the random layers of a graph in order of execution.
    std::uint32_t next_draw() { return draws_++; }
    /// Calls recorded so far.
    std::size_t size() const { return records_.size(); }

  private:
    friend class Var;
    struct Record {
        std::shared_ptr<const Function> function;
        std::unique_ptr<Saved> saved;
        std::vector<std::size_t> inputs;
        std::size_t output;
    };
    /// What the tape knows of a value, which it does not hold.
    struct Entry {
        Shape shape;
        bool requires_grad;
        bool is_input = false;
        Parameter* parameter = nullptr;  // null for other values
    };
    Var make(Tensor value, bool requires_grad);
    bool owns(const Var& var) const { return var.tape_ == this && var.alive_.lock() == alive_; }
    std::vector<Grad> run_backward(const std::string& name, const Record& record,
                                   const Tensor& gy) const;
    void deposit(const std::string& where, std::size_t id, Grad grad, std::vector<Grad>& pending);

    TapeOptions options_;
    PackCache cache_;
    std::vector<Record> records_;
    std::vector<Entry> entries_;     // by id
    std::vector<Tensor> gradients_;  // by id, after backward
    std::uint32_t draws_ = 0;
    bool consumed_ = false;
    std::shared_ptr<const void> alive_ = std::make_shared<char>();
};

}  // namespace slimgrad::inline SLIMGRAD_PRECISION
