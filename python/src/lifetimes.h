#pragma once

#include "bind.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

// Which Python objects keep others alive. Python's garbage collector must see it: a model, its
// optimiser, a rule and a value of a tape easily come to refer to each other.

/// For nb::type_slots of the classes that tie() ties: their objects show the collector what they
/// keep alive and their attributes.
const PyType_Slot* collected();
/// The same for layers, which also hold the rules that were written in Python and given to them.
const PyType_Slot* collected_layer();

/// `nurse`, of a collected class, keeps `patient` alive.
void tie(nb::handle nurse, nb::handle patient);

/// The Python objects of a model that own their part of it. What they own is alive as long as they
/// are, not as long as the model: users may replace parts.
class Owners {
  public:
    Owners(nb::handle root, Module& model);
    /// The innermost owner of what has this path in the model.
    nb::handle of(const std::string& path) const;
    const std::vector<std::pair<std::string, nb::object>>& all() const { return owners_; }

  private:
    std::vector<std::pair<std::string, nb::object>> owners_;
};

/// A Python object for a part of what `owner` owns, which it keeps alive. An object that owns the
/// part itself needs no owner, and tied to one that holds it would never be freed.
template <class T>
nb::object part_of(nb::handle owner, T* part) {
    nb::object object = nb::cast(part, nb::rv_policy::reference);
    if (!nb::inst_state(object).second) tie(object, owner);
    return object;
}

/// Objects of this class say, instead of a copy, why there is none.
template <class T, class... Extra>
void refuse_copies(nb::class_<T, Extra...>& type, const char* what, const char* hint) {
    type.def(
        "__reduce__",
        [what, hint](nb::handle) -> nb::object {
            fail("[{}] it can be neither copied nor pickled. Hint: {}", what, hint);
        },
        nb::sig("def __reduce__(self) -> typing.NoReturn"), "Raises sg.Error.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
