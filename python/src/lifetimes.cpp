#include "lifetimes.h"

#include <algorithm>
#include <unordered_map>

#include "function_adapter.h"
#include "nn/linear_map.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

/// What each nurse keeps alive, one reference each. Used with the GIL held.
std::unordered_map<PyObject*, std::vector<PyObject*>>& ties() {
    static auto& instance = *new std::unordered_map<PyObject*, std::vector<PyObject*>>;
    return instance;
}

/// The nurse is gone.
void untie(void* nurse) noexcept {
    const auto node = ties().extract(static_cast<PyObject*>(nurse));
    if (node.empty()) return;
    for (PyObject* patient : node.mapped()) Py_DECREF(patient);
}

/// Calls f for each layer with a rule of Python below a module that the object owns. Parts of the
/// library's own modules are C++ alone, so the walk touches no Python object.
template <class F>
void for_each_python_rule(PyObject* self, F f) {
    const auto [ready, owns] = nb::inst_state(self);
    if (!ready || !owns) return;
    for_each_module(*nb::inst_ptr<Module>(self), [&](const std::string&, Module& part) {
        auto* layer = dynamic_cast<LinearMap*>(&part);
        if (!layer) return;
        if (PyObject* rule = python_object_of(*layer->rule())) f(*layer, rule);
    });
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    if (PyObject** attributes = _PyObject_GetDictPtr(self)) Py_VISIT(*attributes);
    if (const auto found = ties().find(self); found != ties().end())
        for (PyObject* patient : found->second) Py_VISIT(patient);
    return 0;
}

// A rule's object is held by the layer's one pointer to it and shown once, here. Tapes may hold the
// rule too, but they keep the layer alive.
int traverse_layer(PyObject* self, visitproc visit, void* arg) {
    int result = traverse(self, visit, arg);
    for_each_python_rule(self, [&](LinearMap&, PyObject* rule) {
        if (result == 0) result = visit(rule, arg);
    });
    return result;
}

int clear(PyObject* self) {
    if (PyObject** attributes = _PyObject_GetDictPtr(self)) Py_CLEAR(*attributes);
    return 0;  // what it is tied to goes with it
}

int clear_layer(PyObject* self) {
    for_each_python_rule(
        self, [](LinearMap& layer, PyObject*) { layer.set_rule(ExactRule::instance()); });
    return clear(self);
}

}  // namespace

const PyType_Slot* collected() {
    static const PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                                        {Py_tp_clear, reinterpret_cast<void*>(clear)},
                                        {0, nullptr}};
    return slots;
}

const PyType_Slot* collected_layer() {
    static const PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse_layer)},
                                        {Py_tp_clear, reinterpret_cast<void*>(clear_layer)},
                                        {0, nullptr}};
    return slots;
}

void tie(nb::handle nurse, nb::handle patient) {
    if (nurse.is(patient)) return;
    std::vector<PyObject*>& patients = ties()[nurse.ptr()];
    if (std::ranges::find(patients, patient.ptr()) != patients.end()) return;
    if (patients.empty()) nb::keep_alive_cb(nurse, nurse.ptr(), untie);
    patients.push_back(patient.inc_ref().ptr());
}

Owners::Owners(nb::handle root, Module& model) {
    owners_.emplace_back("", nb::borrow(root));
    for_each_module(model, [&](const std::string& path, Module& part) {
        nb::object object = nb::find(&part);
        if (!path.empty() && object.is_valid() && nb::inst_state(object).second)
            owners_.emplace_back(path, std::move(object));
    });
}

nb::handle Owners::of(const std::string& path) const {
    // Parents come before their children.
    for (auto owner = owners_.rbegin(); owner != owners_.rend(); ++owner) {
        const std::string& name = owner->first;
        if (name.empty() || path == name || path.starts_with(name + ".")) return owner->second;
    }
    return owners_.front().second;
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
