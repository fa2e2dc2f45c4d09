// Folders of pictures: a path, a zero, what stands there, a zero, and so on; "/" at the end of a
// path makes a folder. "=" stands for a picture that can be read.
#include "data/picture_loader.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;
namespace fs = std::filesystem;

namespace {

/// The smallest picture: a grey PNG of one pixel.
constexpr std::string_view png(
    "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9c"
    "c`\0\0\0\2\0\1H\xaf\xa4q\0\0\0\0IEND\xae"
    "B`\x82",
    67);

/// Whether a file system takes the name, inside the directory.
bool is_usable(const fs::path& path) {
    if (path.empty() || path.is_absolute() || path.string().size() > 200) return false;
    return std::ranges::none_of(path, [](const fs::path& part) { return part == ".."; });
}

}  // namespace

void slimgrad::fuzz::read(std::string_view input) {
    const Directory directory;
    const bool skips = take_choice(input) % 2 == 1;
    for (int i = 0; i < 32 && !input.empty(); ++i) {
        const fs::path path(take_part(input));
        const std::string_view content = take_part(input);
        if (!is_usable(path)) continue;
        std::error_code none;
        fs::create_directories(directory.path() / path.parent_path(), none);
        if (path.has_filename()) directory.put(path.c_str(), content == "=" ? png : content);
    }
    refuse_or_accept([&] {
        const PictureSplits splits = read_picture_folder(directory.path(), 20, 20);
        expect(splits.train->classes() == splits.test->classes(), "both splits have one list");
        PictureLoaderOptions options{.side = 4, .batch_size = 2, .augment = true};
        if (skips) options.skipped = std::make_shared<SkippedPictures>();
        const Batch batch = PictureLoader(splits.train, options).batch(3);
        expect(batch.x.shape() == Shape{2, 3, 4, 4}, "a batch has its shape");
        for (const std::int32_t label : batch.labels)
            expect(label >= 0 && label < std::ssize(splits.train->classes()), "labels are classes");
    });
}
