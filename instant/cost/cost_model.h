#pragma once

#include <string>
#include <vector>

#include "instant/cost/linear_cost.h"
#include "instant/methods/method.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// FLOPs and bytes of linear maps in closed form, from INSTANT (Sec. 3.3, App. B.3, D) as restated
/// in the documentation. The meter and the ledger must agree with the `executed` figures to the
/// last unit; the tests hold them to it.
enum class Convention {
    paper,  // each layer alone, both products, its own copy of x; of a frozen W with an adapter g_x
    executed  // what runs: x shared by a group is kept and projected once; no g_x below the first
              // trained
};

/// What a method does with a layer that stands alone: the closed form of its entry, or the ranks
/// and sides of its calibrated slots (sides as asked for or the shorter axis); nothing for layers
/// that have no token axis or are not compressible. Throws Error if a rank is missing.
Compression compression_of(const LinearShape& layer, const MethodOptions& options);
/// The same for the layers of a model, as it is executed: those that share one x break even
/// together.
std::vector<Compression> compressions_of(const std::vector<LinearShape>& layers,
                                         const MethodOptions& options);

/// One calibration: `batches` batches of `batch` samples.
struct CalibrationCost {
    Checked passes = 0;         // forward and exact backward, 6 B L Cx Cy each
    Checked gram = 0;           // autocorrelations, nominal: both triangles
    Checked decomposition = 0;  // nominal, ⌊4 n³ / 3⌋ each; the meter counts what really runs
    Checked total() const { return passes + gram + decomposition; }
    CalibrationCost& operator+=(const CalibrationCost& other);
};

/// The cost of `layer` for `batch` samples, by convention: the paper's counts both products.
/// `shares_x`: an earlier layer of its group already keeps x (only the executed convention asks).
LinearCost linear_cost(const LinearShape& layer, const Compression& compression, std::int64_t batch,
                       Convention convention, bool shares_x = false);

CalibrationCost calibration_cost(const LinearShape& layer, const Compression& compression,
                                 std::int64_t batch, std::int64_t batches, Convention convention,
                                 bool shares_x = false);

/// The break-even rank of either slot of a layer that stands alone (break_even.h).
double break_even_rank(const LinearShape& layer, Side side = Side::token, std::int64_t batch = 1);

/// A model's linear maps with what each costs, in order.
struct ModelCost {
    struct Row {
        LinearShape layer;
        Compression compression;
        LinearCost cost;
        CalibrationCost calibration;
        /// Of each slot that a method could compress, on its side: alone in the paper's convention;
        /// executed, an x slot breaks even with all that share its x.
        std::optional<double> break_even_x{}, break_even_g{};
    };
    std::vector<Row> rows;
    LinearCost total;
    CalibrationCost calibration;
};

/// The cost of the trained linear maps (those with needs_gw, needs_gx or an adapter) of a model,
/// for a batch. One compression for each layer.
ModelCost model_cost(const std::vector<LinearShape>& layers,
                     const std::vector<Compression>& compressions, std::int64_t batch,
                     Convention convention, std::int64_t calibrate_batches = 5);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
