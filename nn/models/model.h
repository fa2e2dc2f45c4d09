#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/models/aliases.h"
#include "nn/module.h"
#include "tensor/random.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What a model must know about its data and its randomness.
struct ModelConfig {
    std::int64_t channels = 3;
    std::int64_t height = 32;
    std::int64_t width = 32;
    std::int64_t classes = 10;
    double dropout = 0;
    std::uint64_t seed = 0;  // of the initial weights
    /// The probability with which the deepest residual block of a sample is left out, falling to 0
    /// at the first (models that have stochastic depth).
    double drop_path = 0;
};

/// A model that is a chain of blocks with something before and after them. It visits its parameters
/// in the order in which they are executed.
class BlockModel : public Module {
  public:
    virtual std::vector<Module*> blocks() = 0;
    /// What the names of its classifiers begin with: "fc.". By default the last linear map is one.
    virtual std::vector<std::string> heads();
    /// Under which other names files may hold its parameters and buffers.
    virtual std::vector<Alias> aliases() { return {}; }
    /// What a tensor of a file becomes in a model for images of another size, as positions do.
    /// Undefined if `name` is none that depends on it, or this one cannot be made to fit.
    virtual Tensor resized(const std::string& /*name*/, const Tensor& /*of_file*/) { return {}; }
};

/// The models that make_model knows, in the order in which help lists them.
std::vector<std::string> model_names();

/// Builds a named model ("mlp", "vit-micro", "vit-tiny", "resnet20" …) with PyTorch's default
/// initialisation; images (B, C, H, W) in, logits (B, classes) out. Throws Error for an unknown
/// name and lists the known ones, and for sizes that are not positive.
std::unique_ptr<Module> make_model(const std::string& name, const ModelConfig& config);

/// The side, in pixels, of the images that a named model was published for. Throws Error for an
/// unknown name and lists the known ones.
std::int64_t usual_side(const std::string& name);

/// Trains only the last K blocks ("last:K", with what comes after them) or everything ("all").
/// Throws Error for another word, for K < 1 and for more blocks than the model has.
void select_train_blocks(Module& model, const std::string& selection);

/// Makes a layer whose initial values come from a stream of its own, named after it: changing one
/// layer of a model leaves the initial values of the others as they were.
template <class Make>
auto seeded(std::uint64_t seed, const std::string& layer, Make make) {
    Stream stream(seed, "init " + layer);
    return make(stream);
}

/// Throws Error, in the name of `model`, unless x is (B, C, H, W) as configured.
void require_images(const Var& x, const ModelConfig& config, const std::string& model);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
