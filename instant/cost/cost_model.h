#pragma once

#include <string>
#include <vector>

#include "instant/cost/trace.h"
#include "instant/methods/method.h"
#include "tensor/checked.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// FLOPs and bytes of linear maps in closed form, from INSTANT (Sec. 3.3, App. B.3, D) as restated
/// in the documentation. The meter and the ledger must agree with the `executed` figures to the
/// last unit; the tests hold them to it.
enum class Convention {
    paper,    // each layer alone, both products, its own copy of x
    executed  // what runs: x shared by a group is kept and projected once; no g_x below the first
              // trained
};

/// How one linear map is compressed. Ranks beyond the length of their axis are cut to it.
struct Compression {
    std::optional<std::int64_t> rank_x, rank_g;  // none: the slot is exact
    Side side_x = Side::token, side_g = Side::token;
    /// The rank of a slot that was left exact since it lies beyond break-even.
    std::optional<std::int64_t> left_x{}, left_g{};
};

/// What a method with fixed ranks does with a layer that stands alone: sides as asked for or the
/// shorter axis; nothing for layers that have no token axis or are not compressible. Throws Error
/// if a rank is missing.
Compression compression_of(const LinearShape& layer, const MethodOptions& options);
/// The same for the layers of a model, as it is executed: those that share one x break even
/// together.
std::vector<Compression> compressions_of(const std::vector<LinearShape>& layers,
                                         const MethodOptions& options);

/// The cost of one linear map for a whole batch. A number that does not fit into 64 bits throws
/// Error, here and below.
struct LinearCost {
    Checked forward = 0;   // 2 L Cx Cy a sample
    Checked compress = 0;  // what the x slot adds to forward
    Checked g_w = 0;
    Checked g_x = 0;
    Checked saved_bytes = 0;      // held for backward
    Checked projector_bytes = 0;  // P and Q, once whatever the batch

    /// What the paper's tables count: both products and the compression of x.
    Checked backward() const { return compress + g_w + g_x; }
    LinearCost& operator+=(const LinearCost& other);
};

/// One calibration: `batches` batches of `batch` samples.
struct CalibrationCost {
    Checked passes = 0;         // forward and exact backward, 6 B L Cx Cy each
    Checked gram = 0;           // autocorrelations, nominal: both triangles
    Checked decomposition = 0;  // nominal, ⌊4 n³ / 3⌋ each; the meter counts what really runs
    Checked total() const { return passes + gram + decomposition; }
    CalibrationCost& operator+=(const CalibrationCost& other);
};

/// The cost of `layer` for `batch` samples. `shares_x`: an earlier layer of its group already keeps
/// x (only the executed convention asks).
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

/// The cost of the trained linear maps (those with needs_gw or needs_gx) of a model, for a batch.
/// One compression for each layer.
ModelCost model_cost(const std::vector<LinearShape>& layers,
                     const std::vector<Compression>& compressions, std::int64_t batch,
                     Convention convention, std::int64_t calibrate_batches = 5);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
