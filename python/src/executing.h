#pragma once

namespace slimgrad {

/// Which precision's tape is running a Python function on this thread: 32 or 64, 0 outside. What
/// such a function counts belongs to that precision's meter.
int& executing_bits();

/// Sets it while it lives.
class Executing {
  public:
    explicit Executing(int bits) : outer_(executing_bits()) { executing_bits() = bits; }
    ~Executing() { executing_bits() = outer_; }
    Executing(const Executing&) = delete;
    Executing& operator=(const Executing&) = delete;

  private:
    int outer_;
};

}  // namespace slimgrad
