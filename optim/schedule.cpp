#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

std::vector<std::string> schedule_names() { return {"constant", "step", "cosine", "linear"}; }

Schedule::Schedule(ScheduleOptions options) : options_(std::move(options)) {
    const std::vector<std::string> names = schedule_names();
    require(std::ranges::find(names, options_.name) != names.end(),
            "[schedule] unknown schedule '{}'. Known: {}", options_.name, fmt::join(names, ", "));
    require(options_.total_steps >= 0, "[schedule] expected total_steps >= 0, got {}",
            options_.total_steps);
    require(options_.warmup >= 0, "[schedule] expected warmup >= 0, got {}", options_.warmup);
    require(options_.step_size >= 0, "[schedule] expected step_size >= 0, got {}",
            options_.step_size);
    require(options_.gamma > 0 && std::isfinite(options_.gamma),
            "[schedule] expected a finite gamma > 0, got {}", options_.gamma);
    require(options_.min_lr_rate >= 0 && options_.min_lr_rate <= 1,
            "[schedule] expected a min_lr_rate from 0 to 1, got {}", options_.min_lr_rate);
    if (options_.step_size == 0)
        options_.step_size = std::max<std::int64_t>(1, (options_.total_steps + 2) / 3);
}

double Schedule::factor(std::int64_t step) const {
    require(step >= 0, "[schedule] expected step >= 0, got {}", step);
    if (step < options_.warmup)
        return static_cast<double>(step + 1) / static_cast<double>(options_.warmup);
    const std::int64_t t = step - options_.warmup;
    const std::int64_t length = std::max<std::int64_t>(1, options_.total_steps - options_.warmup);
    const double progress = std::min(1.0, static_cast<double>(t) / static_cast<double>(length));
    if (options_.name == "step") {
        const std::int64_t drops = t / options_.step_size;
        return std::pow(options_.gamma, static_cast<double>(drops));
    }
    const double m = options_.min_lr_rate;
    if (options_.name == "cosine")
        return m + (1 - m) * (1 + std::cos(std::numbers::pi * progress)) / 2;
    if (options_.name == "linear") return m + (1 - m) * (1 - progress);
    return 1;
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
