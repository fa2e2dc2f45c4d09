#include "train/recipes.h"

#include <nlohmann/json.hpp>

namespace slimgrad {
namespace {

using nlohmann::json;

/// As Doan et al. fine-tune, by their text and the code that they published.
const json& recipes() {
    static const json all{
        {"instant-vision",
         {{"image_size", 224},
          {"augment", true},
          {"batch", 64},
          {"epochs", 50},
          {"optimizer", "adamw"},
          {"lr", 1e-4},
          {"weight_decay", 1e-5},
          {"schedule", "cosine"},
          {"min_lr_rate", 0.01},
          {"warmup", 1000},
          {"clip", 5},
          {"epsilon", 0.95},
          {"calibrate_every", 200},
          {"calibrate_batches", 5}}},
        {"instant-language",
         {{"max_length", 512},
          {"batch", 32},
          {"epochs", 10},
          {"optimizer", "adamw"},
          {"lr", 2e-5},
          {"weight_decay", 0.01},
          {"schedule", "linear"},
          {"warmup", 50},
          {"epsilon", 0.95},
          {"calibrate_every", 50},
          {"calibrate_batches", 5}}},
    };
    return all;
}

}  // namespace

Option recipe_option() {
    std::vector<std::string> names;
    for (const auto& [name, options] : recipes().items()) names.push_back(name);
    return {"recipe", Words{names, true},
            "begin from the options of a paper; those given here come first"};
}

json recipe(const std::string& name, const std::string& where) {
    check_word(where, recipe_option(), name);
    return recipes().value(name, json::object());
}

}  // namespace slimgrad
