#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "tensor/config.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// What a buffer is held for. Every buffer is in exactly one category at a time.
enum class Category { parameters, gradients, saved, optimizer, projectors, workspace };
inline constexpr std::size_t category_count = 6;

/// The name of a category, as it stands in reports.
std::string_view name(Category category);

/// Bytes held now and the most that were held at once since the last reset.
struct Held {
    std::int64_t live = 0;
    std::int64_t peak = 0;
};

/// The byte ledger: what the library holds, by category. It counts buffers, not tensors, so a value
/// that several layers keep counts once. Storage and Hold keep it up to date; others only read it.
/// One ledger a process and precision; safe to use from several threads.
class Ledger {
  public:
    Held operator[](Category category) const;
    Held total() const;

    /// Bytes that each layer keeps for backward now. A buffer kept by several belongs to the first.
    std::map<std::string, std::int64_t> saved_by_layer() const;

    /// Starts a new measurement: peaks fall to the live values.
    void reset_peaks();

  private:
    // Storage calls these with the ledger's lock held.
    friend class Storage;
    void add(Category category, std::int64_t bytes);
    void add_saved(const std::string& layer, std::int64_t bytes);

    std::array<Held, category_count> held_{};
    Held total_;
    std::map<std::string, std::int64_t> saved_by_layer_;
};

Ledger& ledger();

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
