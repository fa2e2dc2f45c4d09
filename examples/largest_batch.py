#!/usr/bin/env python3
"""The largest batch that trains within some memory, for several methods (docs/gact.md).

Each try is a real run of two steps, by the program itself, that either ends or does not. It runs in a memory control
group (version 1 or 2) if this user may make one, else under a limit of the address space, which counts more than is
touched.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def size(text: str) -> int:
    try:
        return int(float(text[:-1]) * UNITS[text[-1].upper()]) if text[-1].upper() in UNITS else int(text)
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(f"expected a size such as 1G or 512M, got '{text}'") from None


class Group:
    """A memory control group; without the right to make one, a limit of addresses."""

    def __init__(self, limit: int):
        self.limit, self.place = limit, None
        name = f"slimgrad-{os.getpid()}"
        for root, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            place = Path(root) / name
            try:
                place.mkdir()
                if (place / file).exists():
                    (place / file).write_text(str(limit))
                    self.place = place
                    return
                place.rmdir()
            except OSError:
                with contextlib.suppress(OSError):
                    place.rmdir()

    @property
    def kind(self) -> str:
        return "a memory control group" if self.place else "a limit of the address space"

    def enter(self) -> None:
        """In the child, before it becomes the program."""
        if self.place:
            (self.place / "cgroup.procs").write_text(str(os.getpid()))
        else:
            resource.setrlimit(resource.RLIMIT_AS, (self.limit, self.limit))

    def close(self) -> None:
        if self.place:
            with contextlib.suppress(OSError):
                self.place.rmdir()


def method_options(spec: str) -> list[str]:
    """Options of train, of a method as compare spells it: sketch+gact:rank=8:keep-x=4."""
    name, *parts = spec.split(":")
    options: list[str] = []
    for part in parts:  # gact:L2 is one value
        if "=" in part:
            options.append(part)
        elif options:
            options[-1] += f":{part}"
    words = ["--method", name]
    for option in options:
        key, _, value = option.partition("=")
        words += [f"--{key.replace('_', '-')}", value]
    return words


def fits(program: str, options: list[str], spec: str, batch: int, group: Group) -> int | None:
    """Peak resident bytes of a run with this batch, or None if it does not fit. Other failures end the program."""
    out = Path(tempfile.mkdtemp(prefix="slimgrad-batch-"))
    try:
        words = [program, "train", *options, *method_options(spec), "--batch", str(batch), "--steps", "2",
                 "--limit-train", str(2 * batch), "--limit-test", "1", "--calibrate-batches", "1",
                 "--calibrate-split", str(min(batch, 32)), "--quiet", "--out", str(out / "run")]
        run = subprocess.run(words, preexec_fn=group.enter, capture_output=True, text=True, check=False)
        if run.returncode == 0:
            return json.loads((out / "run" / "summary.json").read_text())["bytes"]["rss_peak"]
        if run.returncode == -signal.SIGKILL or "[allocator]" in run.stderr or "memory" in run.stderr:
            return None
        sys.exit(f"{' '.join(words)}\nended with status {run.returncode}: {run.stderr.strip()}")
    finally:
        shutil.rmtree(out, ignore_errors=True)


def largest(try_batch, most: int, show) -> tuple[int, int]:
    """The largest batch that fits, to one in sixteen, and its peak."""
    low, peak, high = 0, 0, 1
    while high <= most:
        show(high)
        found = try_batch(high)
        if found is None:
            break
        low, peak, high = high, found, 2 * high
    high = min(high, most + 1)
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        show(middle)
        found = try_batch(middle)
        if found is None:
            high = middle
        else:
            low, peak = middle, found
    return low, peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="What follows -- are options of slimgrad train: -- --data mrpc --data-dir DIR --from BERT")
    parser.add_argument("--program", default="build/slimgrad", help="the program (default: build/slimgrad)")
    parser.add_argument("--memory", type=size, default=size("1G"), help="bytes, or with K, M, G (default: 1G)")
    parser.add_argument("--methods", default="vanilla,gact,sketch+gact:rank=8:gelu-bits=2:norm-keeps=output",
                        help="as in slimgrad compare")
    parser.add_argument("--most", type=int, default=4096, help="no batch larger than this (default: 4096)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("options", nargs="*", help="options of train, after --")
    args = parser.parse_args()
    group = Group(args.memory)
    rows = []
    try:
        for spec in args.methods.split(","):
            def show(batch: int, spec: str = spec) -> None:
                print(f"{spec}: batch {batch}", file=sys.stderr)
            batch, peak = largest(lambda b, spec=spec: fits(args.program, args.options, spec, b, group), args.most, show)
            rows.append({"method": spec, "batch": batch, "rss_peak": peak})
    finally:
        group.close()
    document = {"memory": args.memory, "limit": group.kind, "options": args.options, "methods": rows}
    if args.json:
        print(json.dumps(document, indent=1))
        return
    print(f"within {args.memory / 2**20:.0f} MiB, by {group.kind}; to one in sixteen\n")
    print("| method | largest batch | times the first's | peak of the process, MiB |\n|---|---|---|---|")
    for row in rows:
        times = row["batch"] / rows[0]["batch"] if rows[0]["batch"] else float("nan")
        print(f"| {row['method']} | {row['batch']} | {times:.2f} | {row['rss_peak'] / 2**20:.0f} |")


if __name__ == "__main__":
    main()
