// IDX files: any bytes are one, and any bytes are what gzip packed.
#include <zlib.h>

#include "data/idx.h"
#include "tests/fuzz/fuzz.h"

using namespace slimgrad;

namespace {

std::string gzip(std::string_view bytes) {
    z_stream stream{};
    fuzz::expect(
        deflateInit2(&stream, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK,
        "zlib begins");
    std::string packed(deflateBound(&stream, bytes.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    fuzz::expect(deflate(&stream, Z_FINISH) == Z_STREAM_END, "zlib ends");
    packed.resize(packed.size() - stream.avail_out);
    deflateEnd(&stream);
    return packed;
}

}  // namespace

void slimgrad::fuzz::read(std::string_view input) {
    const unsigned choice = take_choice(input);
    const std::int64_t dimensions = choice & 1 ? 3 : 1;
    refuse_or_accept([&] {
        const std::string packed = choice & 2 ? gzip(input) : std::string(input);
        const IdxArray array = parse_idx(bytes_of(packed), "fuzz", dimensions);
        std::int64_t count = 1;
        for (const std::int64_t length : array.shape) count *= length;
        expect(std::ssize(array.values) == count, "the shape says how many values there are");
        if (choice & 2 || !input.starts_with("\x1f\x8b"))
            expect(std::ssize(input) == count + 4 + 4 * dimensions, "every byte is read");
    });
}
