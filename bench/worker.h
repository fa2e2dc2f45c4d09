#pragma once

#include <iosfwd>

namespace slimgrad::bench {

/// Serves a driver that times several programs in turn: one JSON object a line comes in, one goes
/// out for each, until "quit" or the end of input. Nothing runs between two commands.
///
///   {"do": "prepare", "id": ID, "case": NAME, ...}   makes a workload under ID. Options: "method",
///       "rank_x", "rank_g", "fused", "seed", "batch" as in `slimgrad bench`; "verify": compare it
///       with the dense formulas first; "record": FILE for its inputs, weights, results and
///       gradients (Workload::record) -> {"case": {...}} with the sizes, the FLOP ratio and the
///       number of sets of values
///   {"do": "prepare", "id": ID, "pictures": DIR, "side": N, "record": FILE}   the same of reading
///       pictures of DIR/train (bench/pictures.h)
///   {"do": "threads", "threads": N}                  -> {"threads": N}
///   {"do": "run", "id": ID}                          -> {"seconds": {phase: seconds}}
///   {"do": "drop", "id": ID}                         -> {}
///   {"do": "memory", "case": NAME, "steps": N, ...}  peak memory of N steps (bench/memory.h); for
///   a
///       process in which nothing else has run
///   {"do": "hello"}                                  -> {"name", "version", "cpu", "kernels"}
///   {"do": "quit"}
///
/// What cannot be done is answered with {"error": TEXT}, and the worker goes on.
void serve(std::istream& in, std::ostream& out);

}  // namespace slimgrad::bench
