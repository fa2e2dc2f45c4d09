// Data sets, batches, safetensors files.

#include <nanobind/stl/map.h>

#include "bind.h"
#include "data/loader.h"
#include "data/safetensors.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {
namespace {

template <class T>
nb::object view_of(nb::handle owner, std::vector<T>& values, std::vector<std::size_t> shape) {
    return nb::cast(nb::ndarray<nb::numpy, T>(values.data(), shape.size(), shape.data(), owner));
}

template <class T>
nb::object copy_of(const std::vector<T>& values) {
    auto* copy = new std::vector<T>(values);
    const nb::capsule owner(copy, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return view_of(owner, *copy, {copy->size()});
}

void bind_images(nb::module_& here) {
    nb::class_<ImageData>(here, "ImageData", "A labelled set of images of one size, as bytes.")
        .def_ro("name", &ImageData::name, "The name of the set.")
        .def_ro("classes", &ImageData::classes, "The names of the classes, by label.")
        .def_ro("mean", &ImageData::mean, "Of each channel on the scale 0 … 1.")
        .def_ro("std", &ImageData::std, "Of each channel on the scale 0 … 1.")
        .def_prop_ro(
            "shape",
            [](const ImageData& d) { return nb::make_tuple(d.channels, d.height, d.width); },
            nb::sig("def shape(self) -> tuple[int, int, int]"), "Of an image: (C, H, W).")
        .def_prop_ro(
            "images",
            [](nb::handle_t<ImageData> self) {
                auto& d = nb::cast<ImageData&>(self);
                const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
                return view_of(self, d.pixels,
                               {size(d.size()), size(d.channels), size(d.height), size(d.width)});
            },
            nb::sig("def images(self) -> numpy.typing.NDArray[numpy.uint8]"),
            "The bytes (N, C, H, W), without a copy.")
        .def_prop_ro(
            "labels",
            [](nb::handle_t<ImageData> self) {
                auto& d = nb::cast<ImageData&>(self);
                return view_of(self, d.labels, {d.labels.size()});
            },
            nb::sig("def labels(self) -> numpy.typing.NDArray[numpy.int32]"),
            "The labels (N,), without a copy.")
        .def(
            "__len__", [](const ImageData& d) { return d.labels.size(); }, "How many images.")
        .def(
            "head",
            [](const ImageData& d, const Int& limit) {
                ImageData first = d;
                first.truncate(limit);
                return first;
            },
            "limit"_a, "The first `limit` images, as a set of their own.");
    nb::class_<ImageSplits>(here, "ImageSplits", "The training and the test part of a data set.")
        .def_ro("train", &ImageSplits::train, "To train on.")
        .def_ro("test", &ImageSplits::test, "To evaluate on.");
    here.def("load_images", &load_images, "name"_a, "directory"_a = "", no_gil(),
             "A data set by name, from a directory.");
}

void bind_batches(nb::module_& here) {
    nb::class_<Batch>(here, "Batch", "Some samples of a data set.")
        .def_ro("x", &Batch::x, nb::rv_policy::copy, "(B, C, H, W), normalised.")
        .def_prop_ro(
            "labels", [](const Batch& b) { return copy_of(b.labels); },
            nb::sig("def labels(self) -> numpy.typing.NDArray[numpy.int32]"), "The labels (B,).")
        .def_prop_ro(
            "indices", [](const Batch& b) { return copy_of(b.indices); },
            nb::sig("def indices(self) -> numpy.typing.NDArray[numpy.int64]"),
            "Which samples of the data set these are (B,).")
        .def_ro("step", &Batch::step, "The step that it belongs to.")
        .def(
            "part",
            [](const Batch& b, const Int& begin, const Int& count) { return b.part(begin, count); },
            "begin"_a, "count"_a, "Samples begin … begin + count - 1, on the same memory.")
        .def("__len__", &Batch::size, "How many samples.");
    nb::class_<Loader>(here, "Loader",
                       "Batches as a pure function of the step: order and augmentation are drawn "
                       "from the seed, the epoch and the sample.")
        .def(
            "__init__",
            [](Loader* self, const ImageData& data, const Int& batch_size, bool shuffle,
               bool drop_last, bool augment, bool flip, const Natural& seed) {
                new (self) Loader(std::make_shared<const ImageData>(data),
                                  {batch_size, shuffle, drop_last, augment, flip, seed});
            },
            "data"_a, "batch_size"_a = 128, nb::kw_only(), "shuffle"_a = true, "drop_last"_a = true,
            "augment"_a = false, "flip"_a = true, "seed"_a = 0,
            "drop_last: leave out the samples that do not fill a batch. augment: random crops, and "
            "mirror images if flip.")
        .def_prop_ro("steps_per_epoch", &Loader::steps_per_epoch, "Batches in an epoch.")
        .def(
            "__len__",
            [](const Loader& l) { return static_cast<std::size_t>(l.steps_per_epoch()); },
            "Batches in an epoch.")
        .def(
            "batch", [](const Loader& l, const Int& step) { return l.batch(step); }, "step"_a,
            no_gil(), "The batch of a step 0, 1, …: always the same one.");
}

void bind_files(nb::module_& core, nb::module_& here) {
    here.def(
        "load_safetensors",
        [](const std::string& path) {
            nb::dict tensors;
            const SafeTensors file = SafeTensors::open(path);
            for (const std::string& name : file.names())
                tensors[name.c_str()] = nb::cast(file.tensor(name));
            return tensors;
        },
        "path"_a, nb::sig("def load_safetensors(path: str) -> dict[str, Tensor]"),
        "All tensors of a safetensors file, in this precision.");
    here.def(
        "save_safetensors",
        [](const std::string& path, const nb::dict& tensors,
           const std::map<std::string, std::string>& metadata) {
            std::vector<NamedTensor> list;
            for (const auto [name, value] : tensors)
                list.push_back({nb::cast<std::string>(name), to_tensor(value, "safetensors")});
            write_safetensors(path, list, metadata);
        },
        "path"_a, "tensors"_a, "metadata"_a = std::map<std::string, std::string>{},
        nb::sig("def save_safetensors(path: str, tensors: dict[str, Tensor], metadata: dict[str, "
                "str] = {}) -> None"),
        "Writes tensors under their names, the whole file or nothing.");
    if (sizeof(real) == 4)
        core.def("image_data_names", &image_data_names, "The data sets that load() knows.");
}

}  // namespace

void bind_data(nb::module_& core, nb::module_& here) {
    bind_images(here);
    bind_batches(here);
    bind_files(core, here);
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
