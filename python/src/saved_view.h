#pragma once

#include "bind.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

/// What Python sees of a Saved: valid as long as the call that it was made for.
class SavedView {
  public:
    explicit SavedView(Saved& saved) : saved_(&saved), readonly_(false) {}
    explicit SavedView(const Saved& saved) : saved_(const_cast<Saved*>(&saved)), readonly_(true) {}

    const Saved& reading() const {
        require(saved_ != nullptr, "[saved] it may be used only inside the call that it came with");
        return *saved_;
    }
    Saved& writing() const {
        require(saved_ == nullptr || !readonly_, "[saved] backward may read, not keep");
        return const_cast<Saved&>(reading());
    }
    void expire() { saved_ = nullptr; }

  private:
    Saved* saved_;
    bool readonly_;
};

/// A SavedView as a Python object that expires at the end of the scope.
class SavedScope {
  public:
    template <class S>
    explicit SavedScope(S& saved) : object_(nb::cast(SavedView(saved))) {}
    ~SavedScope() { nb::cast<SavedView&>(object_).expire(); }
    SavedScope(const SavedScope&) = delete;
    SavedScope& operator=(const SavedScope&) = delete;

    const nb::object& object() const { return object_; }

  private:
    nb::object object_;
};

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
