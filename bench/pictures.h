#pragma once

#include <memory>

#include "bench/workload.h"
#include "data/picture_source.h"

namespace slimgrad::bench {

/// Pictures read as a test set is (PictureLoader without augmentation), one batch after the other
/// on the calling thread. `read` is all of it, `read.decode` what decoding takes when it runs
/// alone. record() has the images as "out.x", (pictures, 3, side, side), values 0 … 1.
std::unique_ptr<Workload> make_pictures(std::shared_ptr<const PictureSource> source,
                                        std::int64_t side);

}  // namespace slimgrad::bench
