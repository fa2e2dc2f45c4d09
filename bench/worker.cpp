#include "bench/worker.h"

#include <fmt/ranges.h>

#include <istream>
#include <limits>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <ostream>

#include "bench/measure.h"
#include "bench/memory.h"
#include "bench/pictures.h"
#include "bench/workload.h"
#include "data/json.h"
#include "tensor/blas.h"
#include "tensor/error.h"
#include "train/json_file.h"

namespace slimgrad::bench {
namespace {

using nlohmann::json;

json describe(const Case& which, const Variant& variant) {
    constexpr const char* kinds[] = {"linears", "blocks", "images", "calibration"};
    const Size& s = which.size;
    json layers = json::array();
    if (which.kind == Kind::linears)
        for (const LinearShape& layer : linear_shapes(which, variant.fused))
            layers.push_back(layer.name);
    return {{"name", which.name},        {"kind", kinds[static_cast<int>(which.kind)]},
            {"model", which.model.name}, {"batch", s.batch},
            {"tokens", s.tokens},        {"width", s.width},
            {"heads", s.heads},          {"blocks", s.blocks},
            {"layers", layers},          {"flop_ratio", flop_ratio(which, variant)}};
}

constexpr Integers sizes{1, 1'000'000};

std::int64_t integer(const json& command, const char* key, Integers range, std::int64_t otherwise) {
    const auto found = command.find(key);
    return found == command.end() ? otherwise : read_integer("[worker]", {key, range}, *found);
}

class Worker {
  public:
    json answer(const json& command) {
        require(command.is_object() && command.contains("do"),
                "[worker] expected an object with \"do\", got {}", command.dump());
        const std::string what = command.at("do");
        if (what == "hello") return hello();
        if (what == "prepare") return prepare(command);
        if (what == "threads") {
            set_threads(integer(command, "threads", {1, max_threads()}, 0));
            return {{"threads", threads()}};
        }
        if (what == "run") return run(find(command)->second);
        if (what == "memory") return memory(command);
        if (what == "drop") {
            workloads_.erase(find(command));
            return json::object();
        }
        fail(
            "[worker] unknown command '{}'; known: hello, prepare, threads, run, drop, "
            "memory, quit",
            what);
    }

  private:
    using Workloads = std::map<std::string, std::unique_ptr<Workload>>;

    static json hello() {
        return {{"name", "slimgrad"},
                {"version", SLIMGRAD_VERSION},
                {"cpu", cpu_name()},
                {"kernels", blas().kernels}};
    }

    /// The case and the variant that a command speaks of.
    static std::pair<Case, Variant> subject(const json& command) {
        Case which = find_case(command.at("case"));
        which.size.batch = integer(command, "batch", sizes, which.size.batch);
        Variant variant = variant_of(command.value("method", "vanilla"));
        variant.ranks.x = integer(command, "rank_x", sizes, variant.ranks.x);
        variant.ranks.g = integer(command, "rank_g", sizes, variant.ranks.g);
        variant.fused = command.value("fused", true);
        variant.seed = static_cast<std::uint64_t>(
            integer(command, "seed", {0, std::numeric_limits<std::int64_t>::max()}, 0));
        return {which, variant};
    }

    static json memory(const json& command) {
        const auto [which, variant] = subject(command);
        const std::int64_t steps = integer(command, "steps", {1, 1'000'000}, 3);
        return to_json(measure_memory(which, variant, static_cast<int>(steps)));
    }

    json prepare(const json& command) {
        const std::string id = command.at("id");
        auto [workload, description] =
            command.contains("pictures") ? pictures(command) : of_case(command);
        if (command.contains("record"))
            write_safetensors(command.at("record").get<std::string>(), workload->record());
        description["sets"] = workload->sets();
        workloads_[id] = std::move(workload);
        return {{"case", description}};
    }

    using Made = std::pair<std::unique_ptr<Workload>, json>;  // and what it is

    static Made of_case(const json& command) {
        const auto [which, variant] = subject(command);
        if (command.value("verify", false)) verify(which, variant);
        return {make_workload(which, variant), describe(which, variant)};
    }

    static Made pictures(const json& command) {
        const std::string directory = command.at("pictures");
        const std::int64_t side = integer(command, "side", {1, 4096}, 224);
        const auto source = read_picture_folder(directory).train;
        json description = {{"name", "pictures"},     {"kind", "pictures"},
                            {"directory", directory}, {"pictures", source->size()},
                            {"side", side},           {"flop_ratio", 1}};
        return {make_pictures(source, side), std::move(description)};
    }

    static json run(const std::unique_ptr<Workload>& workload) {
        json seconds = json::object();
        for (const auto& [name, value] : workload->run()) seconds[name] = value;
        return {{"seconds", seconds}};
    }

    Workloads::iterator find(const json& command) {
        const std::string id = command.at("id");
        const auto found = workloads_.find(id);
        if (found == workloads_.end()) {
            std::vector<std::string> known;
            for (const auto& [name, workload] : workloads_) known.push_back(name);
            fail("[worker] no workload '{}'; known: {}", id, fmt::join(known, ", "));
        }
        return found;
    }

    Workloads workloads_;
};

}  // namespace

void serve(std::istream& in, std::ostream& out) {
    Worker worker;
    for (std::string line; std::getline(in, line);) {
        json answer;
        try {
            const json command = parse_json(line, "[worker] the command");
            if (command.is_object() && command.value("do", json()) == "quit") return;
            answer = worker.answer(command);
        } catch (const Error& error) {
            answer = {{"error", error.what()}};
        } catch (const json::exception& error) {
            answer = {{"error", std::string("[worker] bad command: ") + error.what()}};
        } catch (const std::bad_alloc&) {
            answer = {{"error", "[worker] out of memory"}};
        }
        out << answer.dump() << std::endl;
    }
}

}  // namespace slimgrad::bench
