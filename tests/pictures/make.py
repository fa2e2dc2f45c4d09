#!/usr/bin/env python3
"""Makes the pictures beside this script, which tests/data_pictures_test.cpp reads: one image in every form.

    pip install pillow==13.0.0 numpy
    python tests/pictures/make.py
"""
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent


def image():
    """31 x 23 pixels of few colours, smooth enough for JPEG."""
    y, x = np.mgrid[0:23, 0:31]
    planes = 128 + 90 * np.sin(x / 6), 128 + 80 * np.cos(y / 5), 60 + 4 * x + 2 * y
    return (np.stack(planes, -1) / 24).round().astype(np.uint8) * 24


def deep_png(path, pixels):
    """16 bits a value, which Pillow does not write for colours; the upper byte is the pixel."""
    values = pixels.astype(">u2") * 256 + 7
    channels = values.shape[2] if values.ndim == 3 else 1
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2 if channels == 3 else 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9))
                     + chunk(b"IEND", b""))


def main():
    pixels = image()
    colour = Image.fromarray(pixels)
    colour.save(HERE / "colour.png")
    colour.save(HERE / "colour.jpg", quality=95, subsampling=0)
    colour.save(HERE / "progressive.jpg", quality=95, subsampling=0, progressive=True)
    colour.convert("CMYK").save(HERE / "cmyk.jpg", quality=95)
    colour.quantize(256).save(HERE / "palette.png")
    Image.fromarray(np.dstack([pixels, np.arange(23 * 31).reshape(23, 31) % 256]).astype(np.uint8)).save(
        HERE / "alpha.png")
    deep_png(HERE / "deep.png", pixels)
    grey = colour.convert("L")
    grey.save(HERE / "grey.png")
    grey.save(HERE / "grey.jpg", quality=95)
    deep_png(HERE / "grey16.png", np.asarray(grey))
    colour.crop((3, 2, 30, 21)).resize((12, 7), Image.BILINEAR).save(HERE / "smaller.png")
    colour.resize((50, 40), Image.BILINEAR).save(HERE / "larger.png")


if __name__ == "__main__":
    main()
