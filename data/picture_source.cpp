#include "data/picture_source.h"

#include <algorithm>
#include <array>
#include <set>
#include <system_error>

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {
namespace {

namespace fs = std::filesystem;

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

bool is_picture(const fs::path& file) {
    constexpr std::array endings{".jpg", ".jpeg", ".png"};
    return std::ranges::find(endings, lower(file.extension().string())) != endings.end();
}

[[noreturn]] void cannot_list(const fs::path& directory, const std::error_code& error) {
    fail("[data] cannot list '{}': {}", directory.string(), error.message());
}

/// The folders in a folder, by name.
std::vector<std::string> folders_in(const fs::path& directory) {
    std::vector<std::string> names;
    std::error_code error, none;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error))
        if (entry->is_directory(none)) names.push_back(entry->path().filename().string());
    if (error) cannot_list(directory, error);
    std::ranges::sort(names);
    return names;
}

/// The pictures below a folder, by name, and below those that its links lead to.
class PicturesBelow {
  public:
    explicit PicturesBelow(const fs::path& directory) {
        take(directory);
        std::ranges::sort(files_);
    }
    std::vector<fs::path> files() && { return std::move(files_); }

  private:
    void take(const fs::path& directory) {
        std::error_code error, none;
        const fs::path real = fs::canonical(directory, error);
        require(error || seen_.insert(real).second,
                "[data] '{}' leads to '{}', which is read already: a link goes round",
                directory.string(), real.string());
        for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
             entry.increment(error))
            if (entry->is_directory(none))
                take(entry->path());
            else if (is_picture(entry->path()) && entry->is_regular_file(none))
                files_.push_back(entry->path());
        if (error) cannot_list(directory, error);
    }

    std::set<fs::path> seen_;
    std::vector<fs::path> files_;
};

class FolderPictures final : public PictureSource {
  public:
    FolderPictures(const fs::path& directory, std::vector<std::string> classes, std::int64_t limit)
        : PictureSource(directory.string(), std::move(classes)), directory_(directory) {
        for (const std::string& folder : folders_in(directory))
            require(std::ranges::find(classes_, folder) != classes_.end(),
                    "[data] '{}': the training set has no class '{}'", directory.string(), folder);
        std::vector<std::vector<fs::path>> of_class;
        for (const std::string& name : classes_) {
            std::error_code none;
            require(fs::is_directory(directory / name, none),
                    "[data] expected pictures of the class '{}' in '{}'", name,
                    (directory / name).string());
            of_class.push_back(PicturesBelow(directory / name).files());
            require(!of_class.back().empty(),
                    "[data] '{}': expected files that end in .jpg, .jpeg or .png, got none",
                    (directory / name).string());
        }
        require(limit >= 0, "[data] {}: expected a limit of at least 0 images, got {}", name_,
                limit);
        const auto most = limit > 0 ? static_cast<std::size_t>(limit) : std::size_t(-1);
        for (std::size_t turn = 0, taken = 1; taken > 0 && files_.size() < most; ++turn) {
            taken = 0;
            for (std::size_t c = 0; c < of_class.size() && files_.size() < most; ++c)
                if (turn < of_class[c].size()) {
                    files_.push_back(of_class[c][turn]);
                    labels_.push_back(static_cast<std::int32_t>(c));
                    ++taken;
                }
        }
    }

    Picture picture(std::int64_t i) const override {
        return read_picture(files_.at(static_cast<std::size_t>(i)));
    }
    std::string describe(std::int64_t i) const override {
        const fs::path& file = files_.at(static_cast<std::size_t>(i));
        std::error_code none;
        return fmt::format("{} {}", file.lexically_relative(directory_).string(),
                           fs::file_size(file, none));
    }

  private:
    fs::path directory_;
    std::vector<fs::path> files_;
};

class MemoryPictures final : public PictureSource {
  public:
    explicit MemoryPictures(std::shared_ptr<const ImageData> images)
        : PictureSource(images->name, images->classes), images_(std::move(images)) {
        require(images_->channels == 1 || images_->channels == 3,
                "[data] {}: expected images of 1 or 3 channels, got {}", name_, images_->channels);
        labels_ = images_->labels;
    }

    Picture picture(std::int64_t i) const override {
        const std::span<const std::uint8_t> planes = images_->image(i);
        const std::int64_t pixels = images_->height * images_->width;
        Picture picture{images_->width, images_->height, {}};
        picture.pixels.resize(static_cast<std::size_t>(3 * pixels));
        for (std::int64_t c = 0; c < 3; ++c) {
            const std::uint8_t* plane = planes.data() + (images_->channels == 3 ? c * pixels : 0);
            for (std::int64_t p = 0; p < pixels; ++p)
                picture.pixels[static_cast<std::size_t>(3 * p + c)] = plane[p];
        }
        return picture;
    }
    std::string describe(std::int64_t i) const override {
        const auto bytes = images_->image(i);
        return {bytes.begin(), bytes.end()};
    }

  private:
    std::shared_ptr<const ImageData> images_;
};

}  // namespace

PictureSplits read_picture_folder(const fs::path& directory, std::int64_t limit_train,
                                  std::int64_t limit_test) {
    std::error_code none;
    require(!directory.empty(),
            "[data] image-folder needs data_dir, a directory with train and val");
    require(fs::is_directory(directory / "train", none),
            "[data] '{}': expected folders 'train' and 'val' with one folder a class",
            directory.string());
    constexpr std::array names{"val", "valid", "validation", "test"};
    const auto test = std::ranges::find_if(
        names, [&](const char* name) { return fs::is_directory(directory / name, none); });
    require(test != names.end(), "[data] '{}': expected a folder 'val' or 'test' beside 'train'",
            directory.string());
    const std::vector<std::string> classes = folders_in(directory / "train");
    require(classes.size() >= 2,
            "[data] '{}': expected one folder for each of two classes or more, got {}",
            (directory / "train").string(), classes.size());
    return {std::make_shared<FolderPictures>(directory / "train", classes, limit_train),
            std::make_shared<FolderPictures>(directory / *test, classes, limit_test)};
}

std::shared_ptr<const PictureSource> pictures_of(std::shared_ptr<const ImageData> images) {
    return std::make_shared<MemoryPictures>(std::move(images));
}

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
