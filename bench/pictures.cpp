#include "bench/pictures.h"

#include <algorithm>

#include "data/picture_loader.h"

namespace slimgrad::bench {
namespace {

constexpr PixelScale as_read{{0, 0, 0}, {1, 1, 1}};

class Pictures final : public Workload {
  public:
    Pictures(std::shared_ptr<const PictureSource> source, std::int64_t side)
        : source_(std::move(source)),
          loader_(source_, {.side = side,
                            .batch_size = std::min<std::int64_t>(32, source_->size()),
                            .shuffle = false,
                            .drop_last = false,
                            .scale = as_read}) {}

    Seconds run() override {
        Stopwatch watch;
        for (std::int64_t step = 0; step < loader_.steps_per_epoch(); ++step) loader_.batch(step);
        const double read = watch.lap();
        for (std::int64_t i = 0; i < source_->size(); ++i) source_->picture(i);
        return {{"read", read}, {"read.decode", watch.lap()}};
    }

    std::vector<NamedTensor> record() override {
        const Tensor first = loader_.batch(0).x;
        Tensor all({source_->size(), first.size(1), first.size(2), first.size(3)});
        real* to = all.data();
        for (std::int64_t step = 0; step < loader_.steps_per_epoch(); ++step)
            to = std::ranges::copy(loader_.batch(step).x.values(), to).out;
        return {{"out.x", all}};
    }

  private:
    std::shared_ptr<const PictureSource> source_;
    PictureLoader loader_;
};

}  // namespace

std::unique_ptr<Workload> make_pictures(std::shared_ptr<const PictureSource> source,
                                        std::int64_t side) {
    return std::make_unique<Pictures>(std::move(source), side);
}

}  // namespace slimgrad::bench
