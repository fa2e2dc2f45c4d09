#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/file.h"
#include "data/safetensors_header.h"
#include "tensor/tensor.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A safetensors file, open for reading. Opening checks the whole header; values are read when they
/// are asked for. The file must not be cut short while it is open (replacing it is fine).
class SafeTensors {
  public:
    /// Throws Error that says what is wrong with the file and where.
    static SafeTensors open(const std::filesystem::path& path);

    const std::string& file() const { return file_; }
    /// In the order of their values in the file.
    const std::vector<TensorEntry>& entries() const { return header_.tensors; }
    std::vector<std::string> names() const;
    bool contains(const std::string& name) const { return index_.contains(name); }
    /// Throws Error for an unknown name, here and below.
    const TensorEntry& entry(const std::string& name) const;
    const Shape& shape(const std::string& name) const { return entry(name).shape; }
    const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

    /// The values as `real`, whatever the type they are stored in; rounded if it is wider.
    Tensor tensor(const std::string& name) const;
    /// Throws Error that names the place of the first value that is not finite as `real`, if the
    /// tensor holds one: of a weight it would spoil all that is computed.
    void require_finite(const std::string& name) const;
    /// The values of an I64 tensor, exactly. Throws Error for other types.
    std::vector<std::int64_t> integers(const std::string& name) const;
    /// The bytes of a tensor of any type, as they stand in the file, as long as this object lives.
    std::span<const std::uint8_t> bytes(const std::string& name) const;

  private:
    SafeTensors() = default;

    std::string file_;
    std::shared_ptr<const MappedFile> mapped_;
    SafeTensorsHeader header_;
    std::map<std::string, std::size_t> index_;
};

/// Collects tensors and writes them as one safetensors file. Tensors are stored as `real`: F32, or
/// F64 in the double build, so a checkpoint loses nothing.
class SafeTensorsWriter {
  public:
    /// Shares the values until write(). Throws Error for an undefined tensor.
    void add(const std::string& name, const Tensor& tensor);
    /// Stored as I64 and U8, of one dimension.
    void add_integers(const std::string& name, std::span<const std::int64_t> values);
    void add_bytes(const std::string& name, std::span<const std::uint8_t> values);
    void set_metadata(const std::string& key, const std::string& text) { metadata_[key] = text; }

    /// Writes the file as a whole or not at all (see AtomicFile). The same content gives the same
    /// bytes. Throws Error for two equal names, names that are not UTF-8, a full disk.
    void write(const std::filesystem::path& path) const;

  private:
    struct Item {
        TensorEntry entry;
        Tensor tensor;                     // or
        std::vector<std::uint8_t> copied;  // these
        std::span<const std::uint8_t> values() const;
    };
    void add_copy(const std::string& name, Dtype dtype, std::int64_t count, const void* values);

    std::vector<Item> items_;
    std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
    std::string name;
    Tensor tensor;
};

/// Writes tensors under their names.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Copies the values of the file into the targets of the same names. Names in the file that end in
/// one of `ignored` may have no target (PyTorch's "num_batches_tracked", say). Throws one Error
/// that lists all names that are missing, unexpected or of another shape, or that names a value
/// that is not finite, before any value is copied.
void load_tensors(const SafeTensors& file, std::span<const NamedTensor> targets,
                  std::span<const std::string> ignored = {});

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
