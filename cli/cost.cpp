#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"
#include "instant/cost_model.h"
#include "nn/models/model.h"
#include "tensor/error.h"

namespace slimgrad::cli {
namespace {

using nlohmann::json;

struct Options {
    bool json = false;
    std::string model = "bert-base", method = "vanilla", train_blocks = "all", side = "auto";
    std::int64_t tokens = 512, batch = 1, calibrate_batches = 5;
    std::int64_t channels = 3, height = 32, width = 32, classes = 10;
    std::optional<std::int64_t> rank_x, rank_g;
};

/// The linear maps of an architecture known by its shapes, or of a model that slimgrad can build.
std::vector<LinearShape> shapes_of(const Options& o) {
    const auto architectures = architecture_names();
    if (std::ranges::find(architectures, o.model) != architectures.end())
        return architecture(o.model, o.tokens, o.train_blocks);
    const auto models = model_names();
    require(std::ranges::find(models, o.model) != models.end(),
            "[cost] unknown model '{}'. Known: {}, {}", o.model, fmt::join(architectures, ", "),
            fmt::join(models, ", "));
    const auto model = make_model(
        o.model,
        {.channels = o.channels, .height = o.height, .width = o.width, .classes = o.classes});
    select_train_blocks(*model, o.train_blocks);
    return trace_linear_maps(*model, [&] {
        Tape tape({.update_statistics = false});
        model->forward(tape.constant(Tensor::zeros({2, o.channels, o.height, o.width})));
    });
}

/// An integer where the batch divides it, as it always does on the token side.
json a_sample(std::int64_t total, std::int64_t batch) {
    if (total % batch == 0) return total / batch;
    return static_cast<double>(total) / static_cast<double>(batch);
}

json cost_json(const LinearCost& cost, std::int64_t batch) {
    return {{"forward", a_sample(cost.forward, batch)},
            {"compress", a_sample(cost.compress, batch)},
            {"g_w", a_sample(cost.g_w, batch)},
            {"g_x", a_sample(cost.g_x, batch)},
            {"backward", a_sample(cost.backward(), batch)},
            {"saved_bytes", a_sample(cost.saved_bytes, batch)},
            {"projector_bytes", cost.projector_bytes}};
}

json calibration_json(const CalibrationCost& cost, std::int64_t batches) {
    return {{"batches", batches},
            {"passes", cost.passes},
            {"gram", cost.gram},
            {"decomposition", cost.decomposition},
            {"total", cost.total()}};
}

json convention_json(const ModelCost& cost, const Options& options) {
    const std::int64_t batch = options.batch;
    json result = cost_json(cost.total, batch);
    result["calibration"] = calibration_json(cost.calibration, options.calibrate_batches);
    json layers = json::array();
    for (const ModelCost::Row& row : cost.rows) {
        json layer = cost_json(row.cost, batch);
        layer["name"] = row.layer.name;
        layer["L"] = row.layer.tokens;
        layer["Cx"] = row.layer.in_channels;
        layer["Cy"] = row.layer.out_channels;
        layer["break_even_rank"] = break_even_rank(row.layer);
        layer["rank_x"] = layer["rank_g"] = layer["side"] = nullptr;
        if (row.compression.rank_x) layer["rank_x"] = *row.compression.rank_x;
        if (row.compression.rank_g) layer["rank_g"] = *row.compression.rank_g;
        if (row.compression.rank_x)
            layer["side"] = to_string(row.compression.side_x);
        else if (row.compression.rank_g)
            layer["side"] = to_string(row.compression.side_g);
        layers.push_back(layer);
    }
    result["layers"] = layers;
    return result;
}

std::string grouped(const json& number) {
    if (!number.is_number_integer()) return fmt::format("{:.1f}", number.get<double>());
    std::string digits = std::to_string(number.get<std::int64_t>());
    for (auto i = std::ssize(digits) - 3; i > 0; i -= 3)
        digits.insert(static_cast<std::size_t>(i), " ");
    return digits;
}

int cost(const Options& o) {
    require(o.tokens >= 1 && o.batch >= 1 && o.calibrate_batches >= 1,
            "[cost] expected tokens, batch and calibrate_batches of at least 1");
    require(o.channels >= 1 && o.height >= 1 && o.width >= 1 && o.classes >= 1,
            "[cost] expected channels, height, width and classes of at least 1");
    const MethodOptions method{
        .method = o.method, .rank_x = o.rank_x, .rank_g = o.rank_g, .side = parse_side(o.side)};
    validate(method);
    const std::vector<LinearShape> shapes = shapes_of(o);
    std::vector<Compression> compressions;
    for (const LinearShape& shape : shapes) compressions.push_back(compression_of(shape, method));

    json document{{"model", o.model},
                  {"method", o.method},
                  {"train_blocks", o.train_blocks},
                  {"batch", o.batch},
                  {"tokens", shapes.empty() ? 0 : shapes.front().tokens}};
    Table table{{{"per sample", "paper", "executed"}}};
    for (const auto& [name, convention] :
         {std::pair{"paper", Convention::paper}, {"executed", Convention::executed}}) {
        document[name] = convention_json(
            model_cost(shapes, compressions, o.batch, convention, o.calibrate_batches), o);
    }
    if (o.json) {
        fmt::print("{}\n", document.dump(2));
        return exit_done;
    }
    const auto add_row = [&](const std::string& what, const auto& value_of) {
        table.rows.push_back(
            {what, grouped(value_of(document["paper"])), grouped(value_of(document["executed"]))});
    };
    for (const auto& [row, key] : {std::pair{"forward FLOPs", "forward"},
                                   {"compress", "compress"},
                                   {"g_w", "g_w"},
                                   {"g_x", "g_x"},
                                   {"backward (compress + g_w + g_x)", "backward"},
                                   {"saved bytes", "saved_bytes"}})
        add_row(row, [key = key](const json& cost) { return cost.at(key); });
    if (o.method != "vanilla") {
        add_row("projectors, bytes in all",
                [](const json& cost) { return cost.at("projector_bytes"); });
        add_row(fmt::format("one calibration of {} batches of {}, in all", o.calibrate_batches,
                            o.batch),
                [](const json& cost) { return cost.at("calibration").at("total"); });
    }
    fmt::print("{} {} {}\n{}", o.model, o.train_blocks, o.method, table.text());
    return exit_done;
}

}  // namespace

Action add_cost(CLI::App& program) {
    auto o = std::make_shared<Options>();
    CLI::App* command = add_command(
        program, "cost", "FLOPs and bytes of the linear maps in closed form, in both conventions",
        "slimgrad cost --model bert-base --tokens 512 --train-blocks last:1 --method instant "
        "--rank-x 8 --rank-g 8",
        o->json);
    const auto add = [command](const char* name, auto& value, const char* what) {
        command->add_option(name, value, what)->capture_default_str();
    };
    add("--model", o->model, "architecture or model");
    add("--tokens", o->tokens, "sequence length (architectures)");
    add("--train-blocks", o->train_blocks, "all or last:K");
    add("--method", o->method, "backward method");
    command->add_option("--rank-x", o->rank_x, "rank of the x slot");
    command->add_option("--rank-g", o->rank_g, "rank of the g slot");
    add("--side", o->side, "token, channel or auto (the shorter axis)");
    add("--batch", o->batch, "samples over which once-a-batch terms are spread");
    add("--calibrate-batches", o->calibrate_batches, "batches of one calibration");
    add("--channels", o->channels, "of the images (models)");
    add("--height", o->height, "of the images (models)");
    add("--width", o->width, "of the images (models)");
    add("--classes", o->classes, "of the data set (models)");
    return [o] { return cost(*o); };
}

}  // namespace slimgrad::cli
