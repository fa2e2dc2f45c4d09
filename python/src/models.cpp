// The named models.

#include "nn/models/model.h"

#include "bind.h"
#include "lifetimes.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace python {

void bind_models(nb::module_& core, nb::module_& here) {
    nb::class_<BlockModel, Module>(here, "BlockModel", nb::type_slots(collected_layer()),
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
            "The blocks, in order.")
        .def(
            "file_names",
            [](BlockModel& self, const std::string& name) {
                return file_names(self.aliases(), name);
            },
            "name"_a,
            "Under which names a file may hold a parameter or buffer: slimgrad's own, and those of "
            "other libraries. Each is a list of tensors whose rows are its rows, in turn.");
    here.def(
        "make_model",
        [](const std::string& name, const Int& channels, const Int& height, const Int& width,
           const Int& classes, double dropout, double drop_path,
           const Natural& seed) -> nb::object {
            const ModelConfig config{channels, height, width, classes, dropout, seed, drop_path};
            std::unique_ptr<Module> model = make_model(name, config);
            auto* blocks = dynamic_cast<BlockModel*>(model.get());
            const nb::object object = blocks ? nb::cast(blocks, nb::rv_policy::take_ownership)
                                             : nb::cast(model.get(), nb::rv_policy::take_ownership);
            model.release();
            // What a copy is made from; see slimgrad/_modules.py.
            nb::dict made;
            made["name"] = name;
            made["channels"] = config.channels;
            made["height"] = config.height;
            made["width"] = config.width;
            made["classes"] = config.classes;
            made["dropout"] = config.dropout;
            made["drop_path"] = config.drop_path;
            object.attr("_made") = made;
            return object;
        },
        "name"_a, nb::kw_only(), "channels"_a = 3, "height"_a = 32, "width"_a = 32,
        "classes"_a = 10, "dropout"_a = 0.0, "drop_path"_a = 0.0, "seed"_a = 0,
        nb::sig(
            "def make_model(name: str, *, channels: int = 3, height: int = 32, width: int = 32, "
            "classes: int = 10, dropout: float = 0.0, drop_path: float = 0.0, seed: int = 0) -> "
            "Module"),
        "A named model: images (B, channels, height, width) in, logits (B, classes) out. The "
        "initial weights are a function of the seed; drop_path is the probability with which the "
        "deepest residual block is left out for a sample, in models that have it. Raises sg.Error "
        "for an unknown name and lists "
        "the known ones.");
    core.def("select_train_blocks", &select_train_blocks, "model"_a, "selection"_a,
             "Trains only the last K blocks ('last:K', with what comes after them), or 'all'.");
    if (sizeof(real) == 4) core.def("model_names", &model_names, "The models that make() knows.");
}

}  // namespace python
}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
