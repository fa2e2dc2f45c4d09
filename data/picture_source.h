#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/image_data.h"
#include "data/image_file.h"

namespace slimgrad {
inline namespace SLIMGRAD_PRECISION {

/// A labelled set of pictures of any sizes, each decoded when it is asked for. Safe to use from
/// several threads.
class PictureSource {
  public:
    virtual ~PictureSource() = default;
    /// RGB. Throws Error that names the file if it cannot be read.
    virtual Picture picture(std::int64_t i) const = 0;
    /// What stands for a picture without decoding it: "cat/1.jpg", and how many bytes it has.
    virtual std::string describe(std::int64_t i) const = 0;

    const std::string& name() const { return name_; }
    const std::vector<std::string>& classes() const { return classes_; }
    const std::vector<std::int32_t>& labels() const { return labels_; }
    std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }

  protected:
    PictureSource(std::string name, std::vector<std::string> classes)
        : name_(std::move(name)), classes_(std::move(classes)) {}
    std::string name_;
    std::vector<std::string> classes_;
    std::vector<std::int32_t> labels_;
};

/// The data set that is such a folder.
inline constexpr const char* picture_folder_name = "image-folder";

struct PictureSplits {
    std::shared_ptr<const PictureSource> train, test;
};

/// Files in one folder a class, as torchvision's ImageFolder has them: DIR/train/cat/1.jpg,
/// DIR/val/cat/2.png. The test set is what stands in `val`, `valid`, `validation` or `test`, the
/// first that is there. Classes are the folders of `train` by name; files of any depth count if
/// they end in .jpg, .jpeg or .png, in order of their names; links to folders are followed. A limit
/// keeps the first so many pictures, a class after the other in turn, so that all classes stay; 0
/// keeps all.
///
/// Throws Error, one line, if a folder is absent, a class has no pictures, a link leads to a folder
/// of the class that is read already, or the test set has a class that `train` has not.
PictureSplits read_picture_folder(const std::filesystem::path& directory,
                                  std::int64_t limit_train = 0, std::int64_t limit_test = 0);

/// Images of one size that are in memory, as RGB: grey ones three times.
std::shared_ptr<const PictureSource> pictures_of(std::shared_ptr<const ImageData> images);

}  // namespace SLIMGRAD_PRECISION
}  // namespace slimgrad
