#pragma once

#include <string>
#include <vector>

#include "instant/cost/trace.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What goes into an architecture: tokens (0: its usual number) for transformers, an image for
/// convolutional networks, which ignore the other.
struct ArchitectureInput {
    std::int64_t tokens = 0;
    std::int64_t channels = 3, height = 32, width = 32;
};

/// The linear maps of a published architecture, known by their shapes without building it.
///
///   bert-base    12 blocks, width 768, MLP 3072; 512 tokens
///   distilbert   6 such blocks
///   minilm-l6    6 blocks, width 384, MLP 1536; 512 tokens
///   bert-small   4 blocks, width 512, MLP 2048
///   bert-tiny    2 blocks, width 128, MLP 512
///   vit-b32      12 blocks with one product for Q, K and V; 50 tokens (224x224, class token)
///   tinyllama    22 blocks, width 2048, K and V 256 wide, gated MLP 5632; 512 tokens
///   resnet50     torchvision's: stem 7x7/2 and pooling, 16 bottlenecks with the stride on the 3x3
///   mobilenetv2  torchvision's: stem, 17 inverted residuals, last 1x1 convolution
///
/// Embeddings, pooler and classifiers are left out. `train_blocks` is "all" or "last:K": layers of
/// frozen blocks, and the stem, are left out too, and what reads the first trained block's input
/// needs no g_x. Depthwise convolutions are not compressible. Throws Error for unknown words,
/// listing the known ones, and for sizes that are not positive.
std::vector<LinearShape> architecture(const std::string& name, const ArchitectureInput& input,
                                      const std::string& train_blocks);
std::vector<std::string> architecture_names();
/// Whether a named architecture takes tokens; the others take images.
bool takes_tokens(const std::string& architecture);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
