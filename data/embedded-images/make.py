#!/usr/bin/env python3
"""Makes the contact sheets of embedded-images from the IDX files of Fashion-MNIST.

    python3 make.py /usr/share/datasets/fashion-mnist

Needs numpy and Pillow. Takes the first images of each class in the order of the files, so the pixels
are the same wherever it runs (the compressed bytes may differ between versions of zlib).
"""
import gzip
import pathlib
import sys

import numpy as np
from PIL import Image

SIDE = 28
CLASSES = 10
# (split here, prefix of the files there, rows and columns of a sheet)
SPLITS = [("train", "train", 30, 20), ("test", "t10k", 15, 10)]


def read(directory, name, header):
    path = directory / name
    raw = path.read_bytes() if path.exists() else gzip.open(f"{path}.gz").read()
    return np.frombuffer(raw, np.uint8, offset=header)


def main():
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).resolve().parent
    for split, prefix, rows, columns in SPLITS:
        images = read(source, f"{prefix}-images-idx3-ubyte", 16).reshape(-1, SIDE, SIDE)
        labels = read(source, f"{prefix}-labels-idx1-ubyte", 8)
        for label in range(CLASSES):
            tiles = images[labels == label][: rows * columns]
            sheet = tiles.reshape(rows, columns, SIDE, SIDE).transpose(0, 2, 1, 3)
            sheet = sheet.reshape(rows * SIDE, columns * SIDE)
            Image.fromarray(sheet).save(target / f"{split}-{label}.png", optimize=True)


if __name__ == "__main__":
    main()
