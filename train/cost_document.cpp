#include "train/cost_document.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "instant/cost/architectures.h"
#include "instant/cost/cost_model.h"
#include "instant/cost/kept.h"
#include "instant/methods/gact.h"
#include "nn/losses.h"
#include "nn/models/model.h"
#include "nn/models/text_model.h"
#include "tensor/error.h"
#include "train/option_json.h"

namespace slimgrad {
namespace {

using nlohmann::json;

bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
}

bool is_architecture(const std::string& model) { return contains(architecture_names(), model); }

/// A model of images or of texts that slimgrad can build, as a method trains it, and its loss.
struct Built {
    std::unique_ptr<Module> model;
    std::function<void(Tape& tape, std::int64_t batch)> loss;
};

Built built(const CostOptions& o, const MethodOptions& method) {
    const auto texts = text_model_names();
    Built all;
    if (contains(texts, o.model)) {
        BertConfig config = bert_preset(o.model);
        const std::int64_t length = o.tokens > 0 ? o.tokens : config.max_position_embeddings;
        config.max_position_embeddings = std::max(config.max_position_embeddings, length);
        auto model = make_text_model(config);
        all.loss = [length, texts = model.get()](Tape& tape, std::int64_t batch) {
            const auto count = static_cast<std::size_t>(batch * length);
            const Tokens tokens{.length = length,
                                .ids = std::vector<std::int32_t>(count, 1),
                                .types = std::vector<std::int32_t>(count, 0),
                                .key_padding = Tensor::zeros({batch, length})};
            cross_entropy(texts->forward(tape, tokens),
                          std::vector<std::int32_t>(static_cast<std::size_t>(batch), 0));
        };
        all.model = std::move(model);
    } else {
        const std::vector<std::string> images = model_names();
        require(contains(images, o.model),
                "[cost] '{}' is known by its shapes alone: a whole model is one of {}, {}", o.model,
                fmt::join(images, ", "), fmt::join(texts, ", "));
        constexpr std::int64_t most_pixels = 1 << 24;  // the model is built and run
        const std::int64_t height = o.height > 0 ? o.height : usual_side(o.model);
        const std::int64_t width = o.width > 0 ? o.width : usual_side(o.model);
        require(o.channels * height * width <= most_pixels,
                "[cost] expected channels * height * width up to {}, got {}", most_pixels,
                o.channels * height * width);
        all.model = make_model(
            o.model,
            {.channels = o.channels, .height = height, .width = width, .classes = o.classes});
        const Shape image{o.channels, height, width};
        all.loss = [image, model = all.model.get()](Tape& tape, std::int64_t batch) {
            const Var x = tape.constant(Tensor::zeros({batch, image[0], image[1], image[2]}));
            cross_entropy(model->forward(x),
                          std::vector<std::int32_t>(static_cast<std::size_t>(batch), 0));
        };
    }
    select_train_blocks(*all.model, o.train_blocks);
    adapt(*all.model, method, 0);
    return all;
}

std::vector<LinearShape> traced_shapes(const Built& all) {
    return trace_linear_maps(*all.model, [&] {
        Tape tape({.update_statistics = false});
        all.loss(tape, 2);
    });
}

/// The linear maps of an architecture known by its shapes, or of a model that slimgrad can build,
/// as `method` trains it.
std::vector<LinearShape> shapes_of(const CostOptions& o, const MethodOptions& method) {
    const bool known = is_architecture(o.model);
    require(o.tokens == 0 || known,
            "[cost] '{}' takes images: leave out tokens and give height and width", o.model);
    if (!known) return traced_shapes(built(o, method));
    const auto shapes = architecture(o.model, o.tokens, o.train_blocks);
    const auto& adapted_shapes = find_method(method.method).adapted_shapes;
    return adapted_shapes ? adapted_shapes(shapes, method) : shapes;
}

/// An integer where the batch divides it, as it always does on the token side.
json a_sample(std::int64_t total, std::int64_t batch) {
    if (total % batch == 0) return total / batch;
    return static_cast<double>(total) / static_cast<double>(batch);
}

json or_null(const auto& optional) { return optional ? json(*optional) : json(nullptr); }

json ratio(double numerator, double denominator) {
    return denominator > 0 ? json(numerator / denominator) : json(nullptr);
}

json cost_json(const LinearCost& cost, std::int64_t batch) {
    return {{"forward", a_sample(cost.forward, batch)},
            {"compress", a_sample(cost.compress, batch)},
            {"g_w", a_sample(cost.g_w, batch)},
            {"g_x", a_sample(cost.g_x, batch)},
            {"backward", a_sample(cost.backward(), batch)},
            {"total", a_sample(cost.forward + cost.backward(), batch)},
            {"saved_bytes", a_sample(cost.saved_bytes, batch)},
            {"projector_bytes", std::int64_t{cost.projector_bytes}}};
}

json calibration_json(const CalibrationCost& cost) {
    return {{"passes", std::int64_t{cost.passes}},
            {"gram", std::int64_t{cost.gram}},
            {"decomposition", std::int64_t{cost.decomposition}},
            {"total", std::int64_t{cost.total()}}};
}

json layer_json(const ModelCost::Row& row, std::int64_t batch) {
    const Compression& c = row.compression;
    json layer = cost_json(row.cost, batch);
    layer["name"] = row.layer.name;
    layer["L"] = row.layer.tokens;
    layer["Cx"] = row.layer.in_channels;
    layer["Cy"] = row.layer.out_channels;
    layer["compressible"] = row.layer.compressible && row.layer.tokens > 1;
    layer["needs_gx"] = row.layer.needs_gx;
    layer["input_group"] = row.layer.input_group;
    layer["break_even_rank"] = break_even_rank(row.layer);
    // A slot exists where there is something to break even with: no g slot without a g_x.
    const auto slot = [&](const std::string& name, const auto& limit, const auto& rank,
                          const auto& left, Side side) {
        layer["break_even_" + name] = or_null(limit);
        layer["rank_" + name] = limit ? or_null(rank) : json(nullptr);
        layer["left_vanilla_" + name] = limit ? or_null(left) : json(nullptr);
        layer["side_" + name] = limit && rank ? json(to_string(side)) : json(nullptr);
    };
    slot("x", row.break_even_x, c.rank_x, c.left_x, c.side_x);
    slot("g", row.break_even_g, c.rank_g, c.left_g, c.side_g);
    // Saved bytes fall below another rank: x̂ has R·Cx numbers (R·L on the channel side) for held.
    layer["break_even_bytes_x"] = nullptr;
    if (row.break_even_x)
        layer["break_even_bytes_x"] =
            static_cast<double>(row.layer.held_elements) /
            static_cast<double>(c.side_x == Side::token ? row.layer.in_channels : row.layer.tokens);
    layer["side"] = layer["side_x"].is_null() ? layer["side_g"] : layer["side_x"];
    layer["calibration"] = calibration_json(row.calibration);
    return layer;
}

/// The maps that a method may compress, without heads, depthwise convolutions and what a model
/// leaves out: those that the paper's tables add up.
json compressible_json(const ModelCost& cost, std::int64_t batch) {
    LinearCost sum;
    for (const ModelCost::Row& row : cost.rows)
        if (row.layer.compressible) sum += row.cost;
    return cost_json(sum, batch);
}

/// Slots whose rank costs more FLOPs than it saves, and slots that were left exact for that.
json slots_json(const ModelCost& cost) {
    int beyond_x = 0, beyond_g = 0, left_x = 0, left_g = 0;
    for (const ModelCost::Row& row : cost.rows) {
        const auto beyond = [](const auto& rank, const auto& limit) {
            return int{rank && limit && static_cast<double>(*rank) > *limit};
        };
        beyond_x += beyond(row.compression.rank_x, row.break_even_x);
        beyond_g += beyond(row.compression.rank_g, row.break_even_g);
        left_x += int{row.break_even_x && row.compression.left_x};
        left_g += int{row.break_even_g && row.compression.left_g};
    }
    return {{"beyond_break_even", {{"x", beyond_x}, {"g", beyond_g}}},
            {"left_vanilla", {{"x", left_x}, {"g", left_g}}}};
}

json convention_json(const ModelCost& cost, const ModelCost& vanilla, const CostOptions& o) {
    const auto batch = static_cast<double>(o.batch);
    json result = cost_json(cost.total, o.batch);
    result["vanilla"] = cost_json(vanilla.total, o.batch);
    result["compressible"] = compressible_json(cost, o.batch);
    result["vanilla"]["compressible"] = compressible_json(vanilla, o.batch);
    result["slots"] = slots_json(cost);

    json calibration = calibration_json(cost.calibration);
    calibration["batches"] = o.calibrate_batches;
    calibration["every"] = o.calibrate_every;
    // A calibration once before training has no share of a step.
    calibration["per_sample"] = calibration["of_vanilla"] = calibration["of_method"] = nullptr;
    const auto backward = static_cast<double>(cost.total.backward()) / batch;
    const auto forward = static_cast<double>(cost.total.forward) / batch;
    json with_calibration = nullptr;
    if (o.calibrate_every > 0) {
        const double share = static_cast<double>(cost.calibration.total()) /
                             (batch * static_cast<double>(o.calibrate_every));
        calibration["per_sample"] = share;
        calibration["of_vanilla"] = ratio(share, result["vanilla"]["total"].get<double>());
        calibration["of_method"] = ratio(share, forward + backward);
        with_calibration = backward + share;
        result["total_with_calibration"] = forward + backward + share;
    } else {
        result["total_with_calibration"] = nullptr;
    }
    result["backward_with_calibration"] = with_calibration;
    result["calibration"] = calibration;

    const auto less = [&](const char* of, const json& value) -> json {
        return value.is_null() ? json(nullptr)
                               : ratio(result["vanilla"][of].get<double>(), value.get<double>());
    };
    result["times_less"] = {
        {"backward", less("backward", result["backward"])},
        {"backward_with_calibration", less("backward", with_calibration)},
        {"total_with_calibration", less("total", result["total_with_calibration"])},
        {"saved_bytes", less("saved_bytes", result["saved_bytes"])}};
    result["layers"] = json::array();
    for (const ModelCost::Row& row : cost.rows)
        result["layers"].push_back(layer_json(row, o.batch));
    return result;
}

/// Bytes that the whole model keeps for the batch, its embeddings, heads and loss included.
json whole_model_json(const CostOptions& o) {
    const auto bytes = [&](const MethodOptions& method, std::vector<KeptValue>& values) {
        const Built all = built(o, method);
        const TapeOptions tape = tape_options(method);
        values = trace_kept(*all.model, tape, all.loss);
        const std::vector<LinearShape> shapes = traced_shapes(all);
        return kept_bytes(
            values, tape.codec.get(),
            model_cost(shapes, compressions_of(shapes, method), o.batch, Convention::executed),
            o.batch);
    };
    std::vector<KeptValue> values, plain;
    const KeptBytes kept = bytes(o, values), vanilla = bytes({}, plain);
    std::vector<json> holders;
    for (std::size_t i = 0; i < values.size(); ++i)
        if (kept.of_value[i] > 0)
            holders.push_back({{"layer", values[i].layer},
                               {"slot", values[i].slot},
                               {"saved_bytes", a_sample(kept.of_value[i], o.batch)}});
    std::ranges::stable_sort(holders, std::greater(), [](const json& holder) {
        return holder.at("saved_bytes").get<double>();
    });
    return {{"saved_bytes", a_sample(kept.total, o.batch)},
            {"vanilla", {{"saved_bytes", a_sample(vanilla.total, o.batch)}}},
            {"times_less",
             {{"saved_bytes",
               ratio(static_cast<double>(vanilla.total), static_cast<double>(kept.total))}}},
            {"holders", holders}};
}

}  // namespace

std::vector<std::string> cost_models() {
    std::vector<std::string> names = architecture_names();
    for (const std::string& name : model_names())
        if (!contains(names, name)) names.push_back(name);
    return names;
}

CostOptions cost_options_from_json(const json& json) {
    CostOptions options;
    std::vector<std::string> known;
    for_each_option(options, [&](const Option& option, auto& value) {
        known.push_back(option.name);
        if (const auto found = json.find(option.name); found != json.end())
            read_option("[cost]", option, *found, value);
    });
    for (const auto& [key, value] : json.items())
        require(std::ranges::find(known, key) != known.end(), "[cost] unknown option {}. Known: {}",
                shown(key), fmt::join(known, ", "));
    return options;
}

std::vector<std::string> without_effect(const CostOptions& asked,
                                        const std::vector<std::string>& given) {
    CostOptions o = asked;
    if (!o.codec.empty()) add_codec(o, std::exchange(o.codec, ""), "[cost]");
    const bool known = is_architecture(o.model);
    std::vector<Idle> idle = idle_method_options(o);
    const Slots calibrated = calibrated_slots(o);
    const std::vector<Idle> others{
        {true, {"alpha", "scale", "moments", "redraw_every"}, "it changes no cost"},
        {true, {"tolerance", "budget"}, "such ranks follow gradients; this is of given ones"},
        {true, {"adapt_every", "sensitivity"}, "it changes no cost of a step"},
        {automatic_bits(o).has_value(),
         {"level"},
         "such bits follow sensitivities; these are the first"},
        {!o.whole_model, {"gelu_bits", "norm_keeps"}, "linear maps alone are counted"},
        {!calibrated.x && !calibrated.g,
         {"calibrate_every", "calibrate_batches"},
         "the method is " + o.method},
        {known,
         {"channels", "height", "width"},
         fmt::format("{} is counted by its tokens", o.model)},
        {known, {"classes"}, "an architecture has no classifier"}};
    idle.insert(idle.end(), others.begin(), others.end());
    return idle_notes(idle, given);
}

json cost_document(const CostOptions& asked) {
    CostOptions o = asked;
    if (!o.codec.empty()) add_codec(o, std::exchange(o.codec, ""), "[cost]");
    for_each_option(
        o, [](const Option& option, const auto& value) { check_option("[cost]", option, value); });
    const MethodOptions& method = o;
    validate(method);
    const std::vector<LinearShape> shapes = shapes_of(o, method),
                                   plain = find_method(o.method).adapt ? shapes_of(o, {}) : shapes;
    const std::vector<Compression> compressions = compressions_of(shapes, method);
    const std::vector<Compression> exact(plain.size());

    json document{{"model", o.model},
                  {"method", o.method},
                  {"train_blocks", o.train_blocks},
                  {"break_even", o.break_even},
                  {"batch", o.batch},
                  {"tokens", shapes.empty() ? 0 : shapes.front().tokens}};
    for (const auto& [name, convention] :
         {std::pair{"paper", Convention::paper}, {"executed", Convention::executed}})
        document[name] = convention_json(
            model_cost(shapes, compressions, o.batch, convention, o.calibrate_batches),
            model_cost(plain, exact, o.batch, convention, o.calibrate_batches), o);
    if (o.whole_model) document["whole_model"] = whole_model_json(o);
    return document;
}

}  // namespace slimgrad
