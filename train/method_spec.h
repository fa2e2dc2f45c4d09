#pragma once

#include <string>
#include <vector>

#include "train/config.h"

namespace slimgrad {

/// A run that a spec asks for, and the names of the options that the spec itself sets.
struct MethodRun {
    TrainConfig config;
    std::vector<std::string> given;
};

/// The run that `spec` asks for: a method and, if it has any, options of its own, which come before
/// those of `base`: "instant", "instant:oversample=7", "instant:side=token:train-blocks=last:1".
/// Throws Error that names the spec for an option that is unknown, given twice, not the method's to
/// choose (seed, out), or that may not have this value.
MethodRun with_method(const TrainConfig& base, const std::string& spec);

/// A spec as a part of a file's name.
std::string file_name(std::string spec);

}  // namespace slimgrad
