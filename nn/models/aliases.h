#pragma once

#include <string>
#include <vector>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What other libraries call the tensors of a part of a model: all whose names begin with `own`
/// here begin with `theirs` there, and go on alike. Several of theirs stand one below the other in
/// ours, as q, k and v in one matrix.
struct Alias {
    std::string own;
    std::vector<std::string> theirs;
};

/// Adds to each alias that begins with `prefix` there the same without it: a base model is saved
/// so.
void add_without_prefix(std::vector<Alias>& aliases, const std::string& prefix);

/// Under which names of a file a tensor of ours may stand: for each of them the tensors whose rows
/// are its rows, in turn. Its own name comes first.
std::vector<std::vector<std::string>> file_names(const std::vector<Alias>& aliases,
                                                 const std::string& name);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
