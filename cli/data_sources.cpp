#include "cli/data_sources.h"

#include <algorithm>
#include <set>
#include <system_error>

#include "cli/archive.h"
#include "cli/mat_file.h"
#include "data/file.h"
#include "tensor/error.h"
#include "tensor/option.h"
#include "train/directory_lock.h"

namespace slimgrad::cli {
namespace {

namespace fs = std::filesystem;

/// Moves pictures to where read_picture_folder looks for them: ROOT/split/class/FILE.
class Arranged {
  public:
    Arranged(fs::path from, fs::path root) : from_(std::move(from)), root_(std::move(root)) {}

    void put(const char* split, const std::string& label, const std::string& file) {
        const fs::path source = from_ / file, folder = root_ / split / label;
        std::error_code error;
        require(fs::is_regular_file(source, error), "[data] the archive lacks '{}'", file);
        if (folders_.insert(folder).second) fs::create_directories(folder, error);
        if (!error) fs::rename(source, folder / source.filename(), error);
        require(!error, "[data] cannot move '{}' into '{}': {}", source.string(), folder.string(),
                error.message());
    }
    const fs::path& root() const { return root_; }

  private:
    fs::path from_, root_;
    std::set<fs::path> folders_;
};

/// meta/train.txt and meta/test.txt: "apple_pie/1005649".
fs::path arrange_food(const fs::path& unpacked) {
    Arranged to(unpacked / "food-101" / "images", unpacked / "arranged");
    for (const char* const split : {"train", "test"})
        for (const std::string& line :
             read_lines(unpacked / "food-101" / "meta" / fmt::format("{}.txt", split))) {
            const std::size_t slash = line.find('/');
            require(slash != std::string::npos && slash > 0,
                    "[data] meta/{}.txt: expected class/picture, got {}", split, shown(line));
            to.put(split, line.substr(0, slash), line + ".jpg");
        }
    return to.root();
}

/// annotations/trainval.txt and test.txt: "Abyssinian_100 1 1 1", where the name begins with the
/// breed.
fs::path arrange_pets(const fs::path& unpacked) {
    Arranged to(unpacked / "images", unpacked / "arranged");
    for (const auto& [split, list] : {std::pair{"train", "trainval"}, {"test", "test"}})
        for (const std::string& line :
             read_lines(unpacked / "annotations" / fmt::format("{}.txt", list))) {
            if (line.starts_with('#')) continue;
            const std::string name = line.substr(0, line.find(' '));
            const std::size_t number = name.rfind('_');
            require(number != std::string::npos && number > 0,
                    "[data] annotations/{}.txt: expected breed_number, got {}", list, shown(line));
            to.put(split, name.substr(0, number), name + ".jpg");
        }
    return to.root();
}

/// imagelabels.mat: the class of each picture, from 1; setid.mat: which pictures are in a split.
fs::path arrange_flowers(const fs::path& unpacked) {
    const auto matrix = [&](const char* file, const char* name) {
        auto all = read_mat(unpacked / file);
        const auto found = all.find(name);
        require(found != all.end(), "[data] '{}': expected a matrix '{}'",
                (unpacked / file).string(), name);
        return std::move(found->second);
    };
    const std::vector<std::int64_t> labels = matrix("imagelabels.mat", "labels");
    Arranged to(unpacked / "jpg", unpacked / "arranged");
    for (const auto& [split, list] :
         {std::pair{"train", "trnid"}, {"train", "valid"}, {"test", "tstid"}})
        for (const std::int64_t id : matrix("setid.mat", list)) {
            require(id >= 1 && id <= std::ssize(labels),
                    "[data] setid.mat: expected pictures 1 to {}, got {}", labels.size(), id);
            to.put(split, fmt::format("{:03}", labels[static_cast<std::size_t>(id - 1)]),
                   fmt::format("image_{:05}.jpg", id));
        }
    return to.root();
}

Progress progress_of(const FetchOptions& options, const std::string& name, std::int64_t bytes) {
    return options.progress ? options.progress(name, bytes) : Progress();
}

/// Downloads a file, from the mirror if there is one; false if it was there.
bool bring(RemoteFile file, const fs::path& place, const FetchOptions& options) {
    const std::string name = file.name();
    if (!options.mirror.empty())
        file.url = options.mirror + (options.mirror.ends_with('/') ? "" : "/") + name;
    return download(file, place, progress_of(options, name, file.bytes));
}

bool is_archive(const std::string& name) {
    return name.ends_with(".tar.gz") || name.ends_with(".tgz");
}

void make_directories(const fs::path& directory) {
    std::error_code error;
    if (!directory.empty()) fs::create_directories(directory, error);
    require(!error, "[data] cannot make the directory '{}': {}", directory.string(),
            error.message());
}

/// Whether a data set is where it becomes one as a whole. Throws Error if something else has that
/// name.
bool is_made(const fs::path& target) {
    std::error_code error;
    const bool is_free = fs::symlink_status(target, error).type() == fs::file_type::not_found;
    require(is_free || fs::is_directory(target, error),
            "[data] '{}' is in the way: expected a directory or nothing", target.string());
    return !is_free && !fs::is_empty(target, error);
}

/// A data set of archives while it is fetched: all that is downloaded and unpacked lies in one
/// directory beside its own, which one process alone works in.
class Workshop {
  public:
    Workshop(const DataSource& source, fs::path directory, const FetchOptions& options)
        : source_(source),
          options_(options),
          directory_(std::move(directory)),
          target_(directory_ / source.folder),
          work_(target_.string() + ".fetching") {}

    std::vector<Fetched> run() {
        if (is_made(target_)) return {};
        make_directories(work_);
        const DirectoryLock lock(work_);
        std::vector<Fetched> files;
        if (!is_made(target_)) {  // by the process that had the lock before
            std::error_code none;
            fs::remove_all(unpacked(), none);  // half of it, by one that broke off
            require_room();
            for (const RemoteFile& file : source_.files)
                files.push_back({file.name(), bring(file, place_of(file), options_)});
            make();
        }
        std::error_code none;
        fs::remove_all(work_, none);
        return files;
    }

  private:
    fs::path unpacked() const { return work_ / "unpacked"; }
    /// A file that a user has put beside the data set is taken from there, and stays.
    fs::path place_of(const RemoteFile& file) const {
        const fs::path own = directory_ / file.name();
        return is_there(own) ? own : work_ / file.name();
    }

    /// Throws Error unless the disk has room for what is still to come.
    void require_room() const {
        std::error_code none;
        std::int64_t needed = source_.unpacked;
        for (const RemoteFile& file : source_.files) {
            fs::path there = place_of(file);
            if (!fs::exists(there, none)) there += ".part";
            needed += file.bytes;
            if (fs::exists(there, none))
                needed -= static_cast<std::int64_t>(fs::file_size(there, none));
        }
        const fs::space_info space = fs::space(work_, none);
        const auto gigabytes = [](auto bytes) { return static_cast<double>(bytes) / 1e9; };
        require(none || static_cast<double>(space.available) > static_cast<double>(needed),
                "[data] '{}' has {:.1f} GB left, and {} needs about {:.1f} GB. Hint: another "
                "--data-dir",
                directory_.string(), gigabytes(space.available), source_.name, gigabytes(needed));
    }

    void make() const {
        std::error_code error;
        make_directories(unpacked());
        for (const RemoteFile& file : source_.files)
            if (is_archive(file.name()))
                unpack(place_of(file), unpacked(),
                       progress_of(options_, "unpacking " + file.name(), file.bytes));
            else if (!fs::copy_file(place_of(file), unpacked() / file.name(), error))
                fail("[data] cannot write '{}': {}", (unpacked() / file.name()).string(),
                     error.message());
        const fs::path made =
            source_.arrange ? source_.arrange(unpacked()) : unpacked() / source_.folder;
        require(fs::is_directory(made, error), "[data] the archive of {} lacks the folder '{}'",
                source_.name, source_.folder);
        fs::rename(made, target_, error);
        require(!error, "[data] cannot make '{}': {}", target_.string(), error.message());
    }

    const DataSource& source_;
    const FetchOptions& options_;
    fs::path directory_, target_, work_;
};

}  // namespace

const std::vector<DataSource>& data_sources() {
    static const std::vector<DataSource> table{
        {"mrpc",
         "MRPC",
         "Microsoft Research Paraphrase Corpus (Dolan and Brockett 2005), MSR-SSLA: for "
         "non-commercial use, "
         "https://www.microsoft.com/en-us/download/details.aspx?id=52398",
         "--data mrpc",
         {{"https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_train.txt",
           1022669, "61a88818ec384d8465297dda1883b469f1b22d442ab90183d13e06233b180591"},
          {"https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_test.txt", 431156,
           "0360d0d3427a0ae14882e2b3a799df0fab6cb5203d5e8ee481949283da62acb6"},
          {"https://dl.fbaipublicfiles.com/glue/data/mrpc_dev_ids.tsv", 6222,
           "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7"}}},
        {"cifar10",
         "cifar-10-batches-bin",
         "CIFAR-10 (Krizhevsky 2009), https://www.cs.toronto.edu/~kriz/cifar.html: no licence "
         "stated",
         "--data cifar10",
         {{"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 170052171,
           "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}},
         184'400'000},
        {"cifar100",
         "cifar-100-binary",
         "CIFAR-100 (Krizhevsky 2009), https://www.cs.toronto.edu/~kriz/cifar.html: no licence "
         "stated",
         "--data cifar100",
         {{"https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", 168513733,
           "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"}},
         184'500'000},
        {"flowers102",
         "flowers-102",
         "Oxford 102 Flowers (Nilsback and Zisserman 2008), "
         "https://www.robots.ox.ac.uk/~vgg/data/flowers/102: pictures from the web, no licence "
         "stated",
         "--data image-folder",
         {{"https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz", 344862509,
           "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246"},
          {"https://www.robots.ox.ac.uk/~vgg/data/flowers/102/imagelabels.mat", 502,
           "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d"},
          {"https://www.robots.ox.ac.uk/~vgg/data/flowers/102/setid.mat", 14989,
           "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd"}},
         360'000'000,
         arrange_flowers},
        {"oxford-pets",
         "oxford-iiit-pet",
         "Oxford-IIIT Pet (Parkhi et al. 2012), https://www.robots.ox.ac.uk/~vgg/data/pets: CC "
         "BY-SA 4.0",
         "--data image-folder",
         {{"https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz", 791918971,
           "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d"},
          {"https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz", 19173078,
           "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91"}},
         880'000'000,
         arrange_pets},
        {"food101",
         "food-101",
         "Food-101 (Bossard et al. 2014), "
         "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101:"
         " pictures from Foodspotting, for scientific use",
         "--data image-folder",
         {{"http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", 4996278331,
           "d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4"}},
         5'200'000'000,
         arrange_food},
    };
    return table;
}

std::vector<Fetched> fetch(const DataSource& source, const fs::path& directory,
                           const FetchOptions& options) {
    if (source.unpacked > 0) return Workshop(source, directory, options).run();
    const fs::path target = directory / source.folder;
    make_directories(target);
    std::vector<Fetched> files;
    for (const RemoteFile& file : source.files)
        files.push_back({file.name(), bring(file, target / file.name(), options)});
    return files;
}

}  // namespace slimgrad::cli
