// The named models.

#include "nn/models/model.h"

#include "bind.h"

namespace slimgrad::inline SLIMGRAD_PRECISION::python {

void bind_models(nb::module_& core, nb::module_& here) {
    nb::class_<BlockModel, Module>(here, "BlockModel",
                                   "A model that is a chain of blocks with something before and "
                                   "after them.")
        .def_prop_ro(
            "blocks",
            [](nb::handle_t<BlockModel> self) {
                nb::typed<nb::list, Module> list;
                for (Module* block : nb::cast<BlockModel&>(self).blocks())
                    list.append(part_of(self, block));
                return list;
            },
            "The blocks, in order.");
    here.def(
        "make_model",
        [](const std::string& name, std::int64_t channels, std::int64_t height, std::int64_t width,
           std::int64_t classes, double dropout, std::uint64_t seed) -> nb::object {
            std::unique_ptr<Module> model =
                make_model(name, {channels, height, width, classes, dropout, seed});
            if (auto* blocks = dynamic_cast<BlockModel*>(model.get())) {
                model.release();
                return nb::cast(blocks, nb::rv_policy::take_ownership);
            }
            return nb::cast(model.release(), nb::rv_policy::take_ownership);
        },
        "name"_a, nb::kw_only(), "channels"_a = 3, "height"_a = 32, "width"_a = 32,
        "classes"_a = 10, "dropout"_a = 0.0, "seed"_a = 0,
        nb::sig(
            "def make_model(name: str, *, channels: int = 3, height: int = 32, width: int = 32, "
            "classes: int = 10, dropout: float = 0.0, seed: int = 0) -> Module"),
        "A named model: images (B, channels, height, width) in, logits (B, classes) out. The "
        "initial weights are a function of the seed. Raises sg.Error for an unknown name and lists "
        "the known ones.");
    core.def("select_train_blocks", &select_train_blocks, "model"_a, "selection"_a,
             "Trains only the last K blocks ('last:K', with what comes after them), or 'all'.");
    if (sizeof(real) == 4) core.def("model_names", &model_names, "The models that make() knows.");
}

}  // namespace slimgrad::inline SLIMGRAD_PRECISION::python
