#include "train/image_weights.h"

#include <algorithm>
#include <array>
#include <set>

#include "data/safetensors.h"
#include "nn/linear_map.h"
#include "nn/low_rank_adapter.h"
#include "nn/models/model.h"
#include "tensor/checked.h"

namespace slimgrad {
namespace {

/// What other libraries save beside weights: counts, and tables that follow from the sizes.
bool follows_from_sizes(std::string_view name) {
    constexpr std::array endings{"num_batches_tracked", "position_ids",
                                 "attention_bias_idxs", "relative_position_index",
                                 "attn_mask",           "relative_coords_table"};
    return std::ranges::any_of(endings, [&](const char* end) { return name.ends_with(end); });
}

/// Part of a head, for another purpose or other classes.
bool in_some_head(std::string_view name) {
    if (name.starts_with("vit.")) name.remove_prefix(4);
    constexpr std::array heads{"head",   "heads",      "head_dist",      "fc",
                               "pooler", "classifier", "cls_classifier", "distillation_classifier",
                               "aux1",   "aux2",       "aux_classifier"};
    return std::ranges::find(heads, name.substr(0, name.find('.'))) != heads.end();
}

/// Rows of several tensors, one below the other.
Tensor stacked(const SafeTensors& file, const std::vector<std::string>& parts) {
    if (parts.size() == 1) return file.tensor(parts[0]);
    Shape shape = file.shape(parts[0]);
    shape[0] = 0;
    for (const std::string& part : parts) shape[0] += file.shape(part)[0];
    Tensor all(shape);
    auto to = all.values().begin();
    for (const std::string& part : parts)
        to = std::ranges::copy(file.tensor(part).values(), to).out;
    return all;
}

/// The shape of those; empty if they are not rows of one matrix. Throws Error for more rows than
/// can be counted.
Shape stacked_shape(const SafeTensors& file, const std::vector<std::string>& parts) {
    Shape shape = file.shape(parts[0]);
    for (std::size_t i = 1; i < parts.size(); ++i) {
        const Shape& next = file.shape(parts[i]);
        if (shape.empty() || next.size() != shape.size() ||
            !std::equal(next.begin() + 1, next.end(), shape.begin() + 1))
            return {};
        shape[0] = Checked(shape[0]) + next[0];
    }
    return shape;
}

/// Whether it is a shape, or its axes after the first are one here.
bool fits(const Shape& of_file, const Shape& ours) {
    if (of_file == ours) return true;
    if (ours.size() != 2 || of_file.size() <= 2 || of_file[0] != ours[0]) return false;
    std::int64_t left = ours[1];
    for (std::size_t i = 1; i < of_file.size(); ++i) {
        if (of_file[i] <= 0 || left % of_file[i] != 0) return false;
        left /= of_file[i];
    }
    return left == 1;
}

/// "a.weight (3, 4), expected (3, 5)", of the first part that does not fit.
std::string misfit(const SafeTensors& file, const std::vector<std::string>& parts, Shape ours) {
    if (parts.size() > 1) ours[0] /= std::ssize(parts);
    const auto bad = std::ranges::find_if(
        parts, [&](const std::string& part) { return !fits(file.shape(part), ours); });
    const std::string& part = bad != parts.end() ? *bad : parts[0];
    return fmt::format("{} {}, expected {}", part, to_string(file.shape(part)), to_string(ours));
}

struct Copy {
    std::vector<std::string> from;
    Tensor to, resized;  // resized: instead of what stands in the file
};

/// Finds the place of every tensor.
class Plan {
  public:
    Plan(const SafeTensors& file, Module& model) : file_(file) {
        auto* const blocks = dynamic_cast<BlockModel*>(&model);
        const std::vector<Alias> aliases = blocks ? blocks->aliases() : std::vector<Alias>();
        if (blocks) heads_ = blocks->heads();
        const auto look_for = [&](const std::string& name, const Tensor& value) {
            place(blocks, name, file_names(aliases, name), value);
        };
        for_each_base_parameter(model, [&](const std::string& name, Parameter& parameter) {
            look_for(name, parameter.value);
        });
        for_each_buffer(model,
                        [&](const std::string& name, Tensor& buffer) { look_for(name, buffer); });
        for (const TensorEntry& entry : file.entries())
            if (!seen_.contains(entry.name) && !follows_from_sizes(entry.name))
                (in_some_head(entry.name) ? report_.unused : unexpected_).push_back(entry.name);
    }

    /// Copies all of it; before, all of it is looked at.
    LoadReport carry_out(const std::string& model) {
        std::string faults;
        append_names(faults, "missing", missing_);
        append_names(faults, "of another shape", misshapen_);
        append_names(faults, "unexpected", unexpected_);
        require(faults.empty(), "[weights] '{}' does not fit {}: {}", file_.file(), model, faults);
        for (const Copy& copy : copies_)
            for (const std::string& part : copy.from) file_.require_finite(part);
        for (Copy& copy : copies_) {
            const Tensor from = copy.resized.defined() ? copy.resized : stacked(file_, copy.from);
            std::ranges::copy(from.values(), copy.to.values().begin());
        }
        return std::move(report_);
    }

  private:
    void place(BlockModel* model, const std::string& name,
               const std::vector<std::vector<std::string>>& names, const Tensor& value) {
        const bool in_head = std::ranges::any_of(
            heads_, [&](const std::string& head) { return name.starts_with(head); });
        const auto found = std::ranges::find_if(names, [&](const auto& parts) {
            return std::ranges::all_of(
                parts, [&](const std::string& part) { return file_.contains(part); });
        });
        if (found == names.end()) {
            (in_head ? report_.missing : missing_).push_back(name);
            if (in_head) report_.fresh.push_back(name);
            return;
        }
        seen_.insert(found->begin(), found->end());
        const Shape shape = stacked_shape(file_, *found);
        if (fits(shape, value.shape())) return copies_.push_back({*found, value, {}});
        const Tensor resized = model && found->size() == 1
                                   ? model->resized(name, file_.tensor((*found)[0]))
                                   : Tensor();
        if (resized.defined()) return copies_.push_back({*found, value, resized});
        (in_head ? report_.misshapen : misshapen_).push_back(misfit(file_, *found, value.shape()));
        if (!in_head) return;
        report_.fresh.push_back(name);
        report_.unused.insert(report_.unused.end(), found->begin(), found->end());
    }

    const SafeTensors& file_;
    std::vector<std::string> heads_;  // what the names of classifiers begin with
    LoadReport report_;
    std::vector<std::string> missing_, misshapen_, unexpected_;
    std::set<std::string> seen_;
    std::vector<Copy> copies_;
};

}  // namespace

LoadReport load_image_weights(const std::filesystem::path& file, Module& model,
                              const std::string& name) {
    const SafeTensors weights = SafeTensors::open(file);
    return Plan(weights, model).carry_out(name);
}

}  // namespace slimgrad
