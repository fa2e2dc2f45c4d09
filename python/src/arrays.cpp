// Tensors and arrays of Python on the same memory, both ways.
//
// In:  any object with the buffer protocol (NumPy) or DLPack (PyTorch, JAX) on the CPU. Its memory
//      is used as it is if the values lie in row-major order, aligned, and may be written; else
//      they are copied. The tensor keeps the object alive.
// Out: NumPy arrays and DLPack capsules that keep the tensor's storage alive.

#include <map>

#include "bind.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

[[noreturn]] void wrong_dtype(const char* where, const std::string& got) {
    fail("[{}] expected {} values, got {}. Hint: {}", where, dtype_name, got,
         sizeof(real) == 4 ? "x.astype('float32'), or sg.float64 to compute in double"
                           : "x.astype('float64'), or sg itself to compute in single precision");
}

/// A view that Python's buffer protocol gives, released with the GIL held.
class Buffer {
  public:
    explicit Buffer(nb::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_FULL_RO) != 0) throw nb::python_error();
    }
    ~Buffer() {
        if (!Py_IsInitialized()) return;
        const nb::gil_scoped_acquire gil;
        PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    Py_buffer& view() { return view_; }
    Shape shape() const { return {view_.shape, view_.shape + view_.ndim}; }
    /// Whether a tensor may use the memory as it is.
    bool usable() const {
        return !view_.readonly && PyBuffer_IsContiguous(&view_, 'C') &&
               reinterpret_cast<std::uintptr_t>(view_.buf) % alignof(real) == 0;
    }

  private:
    Py_buffer view_{};
};

/// The storages that Python has seen, by their addresses: an array that comes back from there must
/// not be counted as a second buffer. Used with the GIL held.
class Exported {
  public:
    void add(const std::shared_ptr<Storage>& storage) {
        if (known_.size() >= limit_) {
            std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
            limit_ = 2 * known_.size() + 64;
        }
        known_[static_cast<const char*>(storage->data())] = storage;
    }

    /// The storage that holds these bytes, or null.
    std::shared_ptr<Storage> find(const void* data, std::size_t bytes) const {
        const auto* begin = static_cast<const char*>(data);
        auto next = known_.upper_bound(begin);
        if (next == known_.begin()) return nullptr;
        std::shared_ptr<Storage> storage = std::prev(next)->second.lock();
        if (!storage || storage->data() != std::prev(next)->first) return nullptr;
        return begin + bytes <= std::prev(next)->first + storage->bytes() ? storage : nullptr;
    }

  private:
    std::map<const char*, std::weak_ptr<Storage>> known_;
    std::size_t limit_ = 64;
};

Exported& exported() {
    static Exported& instance = *new Exported;
    return instance;
}

/// A tensor on memory that Python gave and `owner` keeps alive.
Tensor wrap(Shape shape, void* data, std::shared_ptr<const void> owner) {
    const std::size_t bytes = static_cast<std::size_t>(numel(shape)) * sizeof(real);
    std::shared_ptr<Storage> storage = exported().find(data, bytes);
    if (!storage) storage = std::make_shared<Storage>(data, bytes, std::move(owner));
    return Tensor::view(std::move(shape), std::move(storage), static_cast<real*>(data));
}

Tensor from_buffer(nb::handle object, const char* where) {
    const auto buffer = std::make_shared<Buffer>(object);
    Py_buffer& view = buffer->view();
    std::string format = view.format ? view.format : "B";
    if (format.starts_with('@') || format.starts_with('=') || format.starts_with('<'))
        format.erase(0, 1);
    if (format != (sizeof(real) == 4 ? "f" : "d"))
        wrong_dtype(where, nb::hasattr(object, "dtype") ? text(nb::object(object.attr("dtype")))
                                                        : fmt::format("format '{}'", format));
    if (!buffer->usable()) {
        Tensor copy(buffer->shape());
        if (PyBuffer_ToContiguous(copy.data(), &view, view.len, 'C') != 0) throw nb::python_error();
        return copy;
    }
    return wrap(buffer->shape(), view.buf, buffer);
}

using DlArray = nb::ndarray<nb::device::cpu>;

bool row_major(const DlArray& array) {
    std::int64_t expected = 1;
    for (std::size_t axis = array.ndim(); axis-- > 0; expected *= array.shape(axis))
        if (array.shape(axis) != 1 && array.stride(axis) != expected) return false;
    return true;
}

Tensor copy_strided(const DlArray& array, Shape shape) {
    Tensor copy(std::move(shape));
    const auto* from = static_cast<const real*>(array.data());
    for (std::int64_t i = 0; i < copy.numel(); ++i) {
        std::int64_t offset = 0, rest = i;
        for (std::size_t axis = array.ndim(); axis-- > 0;) {
            const auto length = static_cast<std::int64_t>(array.shape(axis));
            offset += rest % length * array.stride(axis);
            rest /= length;
        }
        copy.data()[i] = from[offset];
    }
    return copy;
}

Tensor from_dlpack(nb::handle object, const char* where) {
    DlArray array;
    require(nb::try_cast<DlArray>(object, array),
            "[{}] expected an array on the CPU that can be shared, got {}", where,
            text(object.type()));
    if (array.dtype() != nb::dtype<real>())
        wrong_dtype(where, nb::hasattr(object, "dtype") ? text(nb::object(object.attr("dtype")))
                                                        : "another type");
    Shape shape;
    for (std::size_t axis = 0; axis < array.ndim(); ++axis)
        shape.push_back(static_cast<std::int64_t>(array.shape(axis)));
    if (!row_major(array)) return copy_strided(array, shape);
    void* const data = array.data();
    const auto drop = [](const DlArray* held) {
        if (!Py_IsInitialized()) return;
        const nb::gil_scoped_acquire gil;
        delete held;
    };
    std::shared_ptr<const void> owner(new DlArray(std::move(array)), drop);
    return wrap(std::move(shape), data, std::move(owner));
}

}  // namespace

Tensor to_tensor(nb::handle value, const char* where) {
    if (nb::isinstance<Tensor>(value)) return nb::cast<Tensor>(value);
    if (PyObject_CheckBuffer(value.ptr())) return from_buffer(value, where);
    if (nb::hasattr(value, "__dlpack__")) return from_dlpack(value, where);
    if (nb::hasattr(value, "__array__")) return from_buffer(value.attr("__array__")(), where);
    fail("[{}] expected a tensor or an array of {}, got {}", where, dtype_name, text(value.type()));
}

Tensor to_tensor_or_scalar(nb::handle value, const char* where) {
    if (PyFloat_Check(value.ptr()) || PyLong_Check(value.ptr()))
        return Tensor::scalar(to_real(value, where));
    return to_tensor(value, where);
}

nb::object to_numpy(const Tensor& tensor) {
    require(tensor.defined(), "[tensor] this tensor is undefined and has no values");
    exported().add(tensor.storage());
    const nb::capsule owner(new Tensor(tensor),
                            [](void* held) noexcept { delete static_cast<Tensor*>(held); });
    std::vector<std::size_t> shape(tensor.shape().begin(), tensor.shape().end());
    return nb::cast(nb::ndarray<nb::numpy, real>(const_cast<real*>(tensor.data()), shape.size(),
                                                 shape.data(), owner));
}

nb::tuple to_tuple(const Shape& shape) {
    nb::list list;
    for (const std::int64_t length : shape) list.append(length);
    return nb::tuple(list);
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
