"""Damaged files of every kind that slimgrad reads: each must be refused in one line, or read, in little time and memory."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from program import Fault, Program

MEMORY = 4 << 30  # address space; what is really used is held to a good deal less
PEAK = 400 << 20
SECONDS = 20


@dataclass
class Reader:
    """A kind of file: where it stands in a directory that holds all a command needs."""

    name: str
    make: Callable[[Program, Path], None]  # fills the directory
    file: str
    command: list[str]
    packed: bool = False  # damaged inside its gzip, as often as outside


def text_run(program: Program, place: Path) -> None:
    program.must(
        "train --data embedded-text --model bert-tiny --limit-train 16 --limit-test 8 --batch 8 "
        "--max-length 16 --steps 2 --threads 1 --quiet --out run".split(), place)  # fmt: skip
    run, bert = place / "run", place / "bert"
    (run / "model").rename(bert)
    (run / "model.safetensors").rename(bert / "model.safetensors")
    shutil.rmtree(run)
    glue = place / "RTE"
    glue.mkdir()
    rows = [f"{i}\tThe cat sat on mat {i}.\tA cat sat.\t{label}"
            for i, label in enumerate(["entailment", "not_entailment"] * 4)]  # fmt: skip
    for split in ("train", "dev"):
        (glue / f"{split}.tsv").write_text(
            "\n".join(["index\tsentence1\tsentence2\tlabel", *rows]) + "\n")  # fmt: skip


def image_run(program: Program, place: Path) -> None:
    program.must(
        "train --limit-train 32 --limit-test 8 --batch 16 --steps 2 --method instant --threads 1 --quiet "
        "--out run".split(), place)  # fmt: skip
    (place / "run" / "summary.json").rename(place / "summary.json")  # so that it can be resumed


def finished_run(program: Program, place: Path) -> None:
    image_run(program, place)
    (place / "summary.json").rename(place / "run" / "summary.json")


def cifar(_: Program, place: Path) -> None:
    record = bytes([3]) + bytes(range(256)) * 12
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        (place / name).write_bytes(record * 10000)
    (place / "batches.meta.txt").write_text("".join(f"class{i}\n" for i in range(10)))


def fashion(_: Program, place: Path) -> None:
    for split, count in (("train", 64), ("t10k", 16)):
        images = struct.pack(">IIII", 0x803, count, 28, 28) + bytes(count * 784)
        labels = struct.pack(">II", 0x801, count) + bytes(i % 10 for i in range(count))
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            (place / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(content, 1))


def npy(place: Path, name: str, shape: tuple[int, ...]) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    count = 1
    for length in shape:
        count *= length
    values = struct.pack(f"<{count}f", *((i * 37 % 101) / 50 - 1 for i in range(count)))
    (place / name).write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values)  # fmt: skip


def arrays(_: Program, place: Path) -> None:
    npy(place, "gy.npy", (8, 6, 5))
    npy(place, "w.npy", (5, 4))


EVAL_TEXT = "eval --data rte --data-dir RTE --max-length 16 --batch 4 --threads 1 --allow-fresh --from bert".split()
EVAL_RUN = "eval --from run --threads 1".split()
RESUME = "train --resume run --quiet".split()
CIFAR = "train --data cifar10 --data-dir . --limit-train 32 --limit-test 8 --batch 16 --steps 1 --threads 1 " \
        "--quiet --overwrite --out made".split()
FASHION = [word.replace("cifar10", "fashion-mnist") for word in CIFAR]

READERS = [
    Reader("config.json of a BERT", text_run, "bert/config.json", EVAL_TEXT),
    Reader("vocab.txt", text_run, "bert/vocab.txt", EVAL_TEXT),
    Reader("model.safetensors of a BERT", text_run, "bert/model.safetensors", EVAL_TEXT),
    Reader("GLUE's TSV", text_run, "RTE/dev.tsv", EVAL_TEXT),
    Reader("config.json of a run", image_run, "run/config.json", RESUME),
    Reader("checkpoint", image_run, "run/checkpoint.safetensors", RESUME),
    Reader("metrics.jsonl, resuming", image_run, "run/metrics.jsonl", RESUME),
    Reader("weights of a run", finished_run, "run/model.safetensors", EVAL_RUN),
    Reader("summary.json", finished_run, "run/summary.json", "report run --out page.html".split()),
    Reader("metrics.jsonl, reporting", finished_run, "run/metrics.jsonl",
           "report run --out page.html".split()),
    Reader("CIFAR-10", cifar, "data_batch_1.bin", CIFAR),
    Reader("Fashion-MNIST, images", fashion, "train-images-idx3-ubyte.gz", FASHION, packed=True),
    Reader("Fashion-MNIST, labels", fashion, "t10k-labels-idx1-ubyte.gz", FASHION, packed=True),
    Reader("npy", arrays, "gy.npy", "snr --source gy.npy --weight w.npy --threads 1".split()),
]  # fmt: skip

NUMBERS = [b"-1", b"0", b"1e999", b"NaN", b"1e-320", b"4611686018427387904", b"9223372036854775807",
           b"99999999999999999999999", b'"1"', b"null", b"[]", b"1000000000"]  # fmt: skip


def damage(content: bytes, random: Random) -> bytes:
    """One wound of a random kind."""
    data = bytearray(content)
    kind = random.choice("cut flip zero copy number word bytes empty grow".split())
    at = random.randrange(len(data) or 1)
    if random.random() < 0.5:  # headers are where it hurts
        at = min(at, random.randrange(400))
    size = random.choice([1, 2, 4, 8, 64, 4096])
    if kind == "cut":
        del data[at:]
    elif kind == "flip":
        for _ in range(random.choice([1, 1, 3, 20])):
            place = random.randrange(at, len(data)) if at < len(data) else 0
            if data:
                data[place] ^= 1 << random.randrange(8)
    elif kind == "zero":
        data[at : at + size] = bytes(len(data[at : at + size]))
    elif kind == "copy":
        data[at:at] = data[at : at + size] * random.choice([1, 2, 50])
    elif kind == "number":
        digits = [i for i in range(min(len(data), 1 << 16)) if chr(data[i]).isdigit()]
        if digits:
            begin = end = random.choice(digits)
            while begin > 0 and chr(data[begin - 1]).isdigit():
                begin -= 1
            while end < len(data) and chr(data[end]).isdigit():
                end += 1
            data[begin:end] = random.choice(NUMBERS)
    elif kind == "word":
        data[at : at + size] = random.choice([b'"', b"{", b"[" * 5000, b"\n\n", b"\t", b"\xff\xfe", b"\x00"])
    elif kind == "bytes":
        data[at : at + size] = random.randbytes(size)
    elif kind == "empty":
        data.clear()
    else:
        data += random.choice([b"x", b"\n", bytes(100000), random.randbytes(1000)])
    return bytes(data)


def bomb(content: bytes) -> bytes:
    """A gzip that unpacks to what its content says, and then to half a gigabyte of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(content)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(512)]
    return b"".join([*parts, packer.flush()])


class Readers:
    """A sound directory for each kind of file, made once."""

    def __init__(self, program: Program, scratch: Path) -> None:
        self.program = program
        self.sound: dict[str, Path] = {}
        for reader in READERS:
            place = scratch / f"sound-{reader.make.__name__}"
            if not place.exists():
                place.mkdir()
                reader.make(program, place)
            self.sound[reader.name] = place
            with tempfile.TemporaryDirectory(dir=scratch) as copy:
                here = Path(copy) / "sound"
                shutil.copytree(place, here, copy_function=link_or_copy)
                program.must(reader.command, here)

    def trial(self, reader: Reader, scratch: Path, random: Random) -> str:
        place = scratch / "damaged"
        shutil.copytree(self.sound[reader.name], place, copy_function=link_or_copy)
        file = place / reader.file
        content = file.read_bytes()
        file.unlink()
        if reader.packed and random.random() < 0.02:
            content = bomb(gzip.decompress(content))
        elif reader.packed and random.random() < 0.5:
            content = gzip.compress(damage(gzip.decompress(content), random), 1)
        else:
            for _ in range(random.choice([1, 1, 1, 2, 5])):
                content = damage(content, random)
        file.write_bytes(content)
        outcome = self.program.run(reader.command, place, seconds=SECONDS, memory=MEMORY)
        if outcome.peak > PEAK + 4 * len(content):
            raise Fault(f"took too much memory: {outcome.describe()}")
        if outcome.status != 0:
            outcome.check_refusal()
            return "refused in one line"
        return "read"


def link_or_copy(source: str, target: str) -> None:
    """Large files of a sound directory are linked: only one file is damaged, and that one is
    replaced. Files that a run rewrites must be copies."""
    path = Path(source)
    if path.suffix in (".bin", ".gz"):
        Path(target).hardlink_to(path)
    else:
        shutil.copyfile(source, target)
