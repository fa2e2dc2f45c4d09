#pragma once

#include <concepts>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "instant/methods/gact.h"
#include "instant/methods/method.h"
#include "tensor/option.h"

namespace slimgrad {

/// What `slimgrad cost` and `sg.cost` are asked. The words are those of TrainConfig.
struct CostOptions : MethodOptions {
    std::string model = "bert-base";  // an architecture (architectures.h) or a model of slimgrad
    std::int64_t tokens = 0;          // of transformer architectures; 0: their usual number
    std::int64_t channels = 3, height = 0,
                 width = 0;     // of the images of all others; 0: their usual
    std::int64_t classes = 10;  // models only
    std::string train_blocks = "all";
    std::string codec;         // see TrainConfig::codec
    bool whole_model = false;  // also bytes of what other layers keep

    std::int64_t calibrate_every = 200, calibrate_batches = 5;
};

/// Architectures, and models of images that slimgrad builds.
std::vector<std::string> cost_models();

/// Calls f(option, member) for every one of them, in the order in which help lists them.
template <class Options, class F>
requires std::same_as<std::remove_const_t<Options>, CostOptions>
void for_each_option(Options& o, F f) {
    constexpr std::int64_t million = 1'000'000, billion = 1'000'000'000;
    constexpr Integers side{0, 16'384};
    f({"model", Words{cost_models()}, "an architecture of the paper's tables, or a model of train"},
      o.model);
    f({"tokens", Integers{0, million}, "sequence length of a transformer (0: its usual one)"},
      o.tokens);
    f({"train_blocks", AnyText{}, "all, or last:K"}, o.train_blocks);
    f(name_option(), o.method);
    f(codec_option(), o.codec);
    for_each_method_option(method_part(o), [&](Option option, auto& value) {
        if (option.name == "rank_x")
            option.help = "rank of the x slot, at most the length of its axis";
        if (option.name == "rank_g") option.help = "rank of the g slot";
        for (const char* name : {"epsilon", "oversample", "offset"})  // ranks are given
            if (option.name == name) return;
        f(option, value);
    });
    f({"batch", batch_option().range, "samples over which once-a-batch terms are spread"}, o.batch);
    f({"calibrate_every", Integers{0, billion}, "steps between calibrations (0: once in all)"},
      o.calibrate_every);
    f({"calibrate_batches", Integers{1, million}, "batches of one calibration"},
      o.calibrate_batches);
    f({"channels", Integers{1, 4096}, "of the images"}, o.channels);
    f({"height", side, "of the images (0: as the model is made for)"}, o.height);
    f({"width", side, "of the images (0: as the model is made for)"}, o.width);
    f({"classes", Integers{1, 100'000}, "of the data set (models of train)"}, o.classes);
    f({"whole_model", YesNo{},
       "also the bytes that all layers keep, the loss included: builds the model and runs it"},
      o.whole_model);
}

/// "alpha has no effect: it changes no cost", for each of the given names that changes nothing.
std::vector<std::string> without_effect(const CostOptions& options,
                                        const std::vector<std::string>& given);

/// Throws Error for a key that is none of them, or a value that it may not have.
CostOptions cost_options_from_json(const nlohmann::json& json);

/// FLOPs and bytes of the linear maps that train, in closed form: one object for each convention of
/// docs/counting.md, `paper` and `executed`, a sample; docs/cost.md explains each field. With
/// `whole_model` also what all layers keep, in the object `whole_model`. Throws
/// Error for unknown words, listing the known ones, and for values out of range.
nlohmann::json cost_document(const CostOptions& options);

}  // namespace slimgrad
