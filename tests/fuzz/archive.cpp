// Archives of data sets: any bytes are one. What is unpacked stays in its folder. An input that
// begins as a MATLAB file is read as one too.
#include "cli/archive.h"

#include "cli/mat_file.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

void slimgrad::fuzz::read(std::string_view input) {
    const Directory directory;
    const std::filesystem::path file = directory.put("archive", input);
    refuse_or_accept([&] { cli::unpack(file, directory.path() / "inside"); });
    for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
        expect(entry.path().filename() == "archive" || entry.path().filename() == "inside",
               "an archive stays in its folder");
    refuse_or_accept([&] { cli::read_mat(file); });
}
