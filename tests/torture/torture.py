"""Ill-treats the program for some minutes and counts what happened: ./run torture [minutes].

Every trial is a function of the seed, its part and its number; `--only "kill -9:17"` repeats one. What is printed and
stored says how often each thing was tried and how it ended. Status 1 if the program did what it must not do."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import readers
import runs
from options import Options
from program import Fault, Program

Trial = Callable[[Path, Random], str]


def parts_of(program: Program, scratch: Path) -> dict[str, Trial]:
    """What can be tried, by name."""
    all_runs = runs.Runs(program, scratch)
    all_readers = readers.Readers(program, scratch)
    parts: dict[str, Trial] = {}
    for name, trial in runs.PARTS.items():
        parts[name] = lambda place, random, trial=trial: trial(all_runs, place, random)
    for reader in readers.READERS:
        parts[reader.name] = lambda place, random, reader=reader: all_readers.trial(
            reader, place, random)  # fmt: skip
    parts["values of options"] = Options(program, scratch).trial
    return parts


class Torture:
    def __init__(self, parts: dict[str, Trial], scratch: Path, seed: int) -> None:
        self.parts, self.scratch, self.seed = parts, scratch, seed
        self.ends: dict[str, Counter[str]] = {name: Counter() for name in parts}
        self.faults: list[str] = []

    def one(self, part: str, number: int) -> None:
        """A faulty trial leaves its directory."""
        place = self.scratch / f"{part}-{number}".replace(" ", "-").replace("/", "-")
        place.mkdir()
        try:
            end = self.parts[part](place, Random(f"{self.seed}/{part}/{number}"))
        except (Fault, OSError, ValueError, KeyError) as fault:
            self.ends[part]["FAULT"] += 1
            self.faults.append(f"{part}:{number}: {type(fault).__name__}: {fault}")
            print(self.faults[-1], file=sys.stderr, flush=True)
        else:
            self.ends[part][end] += 1
            shutil.rmtree(place)

    def go(self, minutes: float) -> None:
        """Each part in turn, that which has had the least of its share of time first: what concerns
        whole runs takes longer and is given more."""
        end, spent = time.monotonic() + 60 * minutes, {name: 0.0 for name in self.parts}
        numbers = dict.fromkeys(self.parts, 0)
        while time.monotonic() < end or 0 in numbers.values():
            part = min(self.parts, key=lambda name: spent[name] / (4 if name in runs.PARTS else 1))
            began = time.monotonic()
            self.one(part, numbers[part])
            numbers[part] += 1
            spent[part] += time.monotonic() - began
            tell(f"{sum(numbers.values())} trials, {len(self.faults)} faults", part)

    def table(self) -> str:
        lines = ["| tried | times | what happened |", "|---|---|---|"]
        for part, ends in self.ends.items():
            if ends:
                happened = "; ".join(f"{count} {end}" for end, count in sorted(ends.items()))
                lines.append(f"| {part} | {sum(ends.values())} | {happened} |")
        return "\n".join(lines)


def tell(*words: str) -> None:
    if sys.stderr.isatty():
        print("\r\033[K" + ", ".join(words), end="", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="./run torture")
    parser.add_argument("minutes", nargs="?", type=float, default=10, help="how long (default 10)")
    parser.add_argument("--program", type=Path, default=Path("build/slimgrad"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="PART[:NUMBER]", help="one part, or one trial of it")
    parser.add_argument("--out", type=Path, default=Path("runs/torture"), help="for results.json")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="trials-", dir=options.out.resolve()))
    began = time.monotonic()
    parts = parts_of(Program(options.program), scratch)
    if options.only:
        part, _, number = options.only.partition(":")
        if part not in parts:
            parser.error(f"unknown part '{part}'. Known: {', '.join(parts)}")
        parts = {part: parts[part]}
    torture = Torture(parts, scratch, options.seed)
    if options.only and number:
        torture.one(part, int(number))
    else:
        torture.go(options.minutes)
    tell("")
    print(torture.table())
    results = {
        "seed": options.seed, "minutes": (time.monotonic() - began) / 60,
        "ends": torture.ends, "faults": torture.faults,
    }  # fmt: skip
    (options.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    if torture.faults:
        print(f"{len(torture.faults)} faults; their directories are in {scratch}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
