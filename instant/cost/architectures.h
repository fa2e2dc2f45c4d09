#pragma once

#include <string>
#include <vector>

#include "instant/cost/trace.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// The linear maps of a published transformer of texts, known by their shapes without building it.
///
///   bert-base    12 blocks, width 768, MLP 3072; 512 tokens
///   distilbert   6 such blocks
///   minilm-l6    6 blocks, width 384, MLP 1536; 512 tokens
///   bert-small   4 blocks, width 512, MLP 2048
///   bert-tiny    2 blocks, width 128, MLP 512
///   tinyllama    22 blocks, width 2048, K and V 256 wide, gated MLP 5632; 512 tokens
///
/// `tokens`: 0 is the usual number. Embeddings, pooler and classifiers are left out. `train_blocks`
/// is "all" or "last:K": layers of frozen blocks are left out too, and what reads the first trained
/// block's input needs no g_x. Throws Error for unknown words, listing the known ones, and for
/// sizes that are not positive.
std::vector<LinearShape> architecture(const std::string& name, std::int64_t tokens,
                                      const std::string& train_blocks);
std::vector<std::string> architecture_names();

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
