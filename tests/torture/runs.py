"""Runs that are killed, stopped, starved of disk or started twice: each must end in the bits of the run that nobody
disturbed, and lose nothing on the way."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time
from pathlib import Path
from random import Random

from program import Fault, Program

COMMON = "--limit-test 16 --batch 16 --threads 1 --checkpoint-every 2 --quiet".split()
KINDS = {
    "images": "--limit-train 64 --epochs 3 --method instant --calibrate-every 5 --augment".split(),
    "texts": "--data embedded-text --model bert-tiny --limit-train 32 --max-length 24 --epochs 3"
             " --method compress-x --side token".split(),
}  # fmt: skip
STOPPED = 130


def bits(run: Path) -> str:
    """What two runs of one configuration must have in common: weights, figures and the history
    without its times."""
    digest = hashlib.sha256((run / "model.safetensors").read_bytes())
    summary = json.loads((run / "summary.json").read_text())
    kept = {key: summary[key] for key in ("accuracy", "loss", "flops", "layers")}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        record.pop("seconds", None)
        kept.setdefault("metrics", []).append(record)
    digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()


class Runs:
    """The undisturbed runs, and how long they take."""

    def __init__(self, program: Program, scratch: Path) -> None:
        self.program = program
        self.expected: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        for kind in KINDS:
            outcome = program.must(self.command(kind, scratch / f"undisturbed-{kind}"), scratch)
            self.expected[kind] = bits(scratch / f"undisturbed-{kind}")
            self.seconds[kind] = outcome.seconds

    def command(self, kind: str, out: Path) -> list[str]:
        return ["train", *KINDS[kind], *COMMON, "--out", str(out)]

    def go_on(self, kind: str, out: Path) -> list[str]:
        """The command that continues what was left in `out`."""
        if (out / "config.json").exists() or (out / "slimgrad-begin").exists():
            return ["train", "--resume", str(out), "--quiet"]
        return self.command(kind, out)

    def finish(self, kind: str, out: Path) -> None:
        """Lets the run end and compares its bits."""
        self.program.must(self.go_on(kind, out), out.parent)
        if bits(out) != self.expected[kind]:
            raise Fault(f"the {kind} run ended in other bits")
        left = [path.name for path in out.rglob("*") if "tmp" in path.name]
        if left:
            raise Fault(f"left behind: {', '.join(left)}")

    def moment(self, kind: str, random: Random) -> float:
        return random.uniform(0, 1.1 * self.seconds[kind])


def killed(runs: Runs, scratch: Path, random: Random) -> str:
    """kill -9, up to four times."""
    kind, out, kills = random.choice(list(KINDS)), scratch / "run", 0
    for _ in range(random.randint(1, 4)):
        process = runs.program.start(runs.go_on(kind, out), scratch)
        try:
            process.wait(runs.moment(kind, random))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    runs.finish(kind, out)
    return f"killed {kills} times, same bits" if kills != 1 else "killed once, same bits"


def stopped(runs: Runs, scratch: Path, random: Random) -> str:
    """Ctrl-C, a terminal that goes away, `kill`."""
    kind, out = random.choice(list(KINDS)), scratch / "run"
    name = random.choice(["SIGINT", "SIGTERM", "SIGHUP"])
    process = runs.program.start(runs.go_on(kind, out), scratch, stderr=subprocess.PIPE)
    time.sleep(runs.moment(kind, random))
    process.send_signal(getattr(signal, name))
    text = process.communicate(timeout=60)[1].decode()
    if process.returncode == STOPPED:
        if "--resume" not in text:
            raise Fault(f"{name}: stopped without saying how to go on: {text!r}")
        outcome = f"{name}: stopped, same bits"
    elif process.returncode == 0:
        outcome = "finished before the signal"
    elif process.returncode == -getattr(signal, name) and not (out / "config.json").exists():
        outcome = f"{name}: before anything was begun"
    else:
        raise Fault(f"{name}: status {process.returncode}: {text[-300:]!r}")
    runs.finish(kind, out)
    return outcome


class SmallDisk:
    """A file system of a few kilobytes, where this machine lets us mount one."""

    def __init__(self, place: Path, kilobytes: int) -> None:
        place.mkdir()
        self.place = place
        done = self.mount(kilobytes)
        if done.returncode != 0:
            raise OSError(done.stderr.decode().strip())

    def mount(self, kilobytes: int, *more: str) -> subprocess.CompletedProcess[bytes]:
        options = ",".join([*more, f"size={kilobytes}k"])
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place)]
        return subprocess.run(command, capture_output=True)

    def grow(self) -> None:
        self.mount(1 << 20, "remount")

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.place)], check=True)


def full_disk(runs: Runs, scratch: Path, random: Random) -> str:
    """A disk, or the largest file allowed, that is too small at some point of the run."""
    kind = random.choice(list(KINDS))
    undisturbed = scratch.parent / f"undisturbed-{kind}"
    need = sum(f.stat().st_size for f in undisturbed.rglob("*") if f.is_file())
    try:
        disk = SmallDisk(scratch / "disk", max(4, int(random.uniform(0, 1.5) * need) >> 10))
    except OSError:
        largest = (undisturbed / "model.safetensors").stat().st_size
        size = max(1, int(random.uniform(0, 2.5) * largest))
        outcome = runs.program.run(
            runs.command(kind, scratch / "run"), scratch, file_size=size)  # fmt: skip
        return after_refusal(runs, kind, scratch / "run", outcome, "File too large", "file size")
    with disk:
        out = disk.place / "run"
        outcome = runs.program.run(runs.command(kind, out), scratch)
        disk.grow()
        return after_refusal(runs, kind, out, outcome, "No space left on device", "disk")


def after_refusal(runs, kind: str, out: Path, outcome, words: str, what: str) -> str:
    if outcome.status == 0:
        return f"{what}: large enough"
    if outcome.status not in (1, 2) or words not in outcome.stderr or len(outcome.lines) > 2:
        raise Fault(f"{what}: {outcome.describe()}")
    runs.finish(kind, out)
    return f"{what}: full, one line, same bits later"


def twice(runs: Runs, scratch: Path, random: Random) -> str:
    """Two programs in one directory: one of them is refused, and the other undisturbed."""
    kind, out = random.choice(list(KINDS)), scratch / "run"
    first = runs.program.start(runs.command(kind, out), scratch, stderr=subprocess.PIPE)
    time.sleep(random.choice([0, runs.moment(kind, random)]))
    second = runs.program.start(runs.go_on(kind, out), scratch, stderr=subprocess.PIPE)
    texts = [process.communicate(timeout=120)[1].decode() for process in (first, second)]
    ends = sorted(process.returncode for process in (first, second))
    if ends == [0, 0]:  # the second found a finished run, or began when the first had ended
        outcome = "one after the other"
    elif ends == [0, 2]:
        text = texts[0 if first.returncode else 1]
        if "process" not in text and "pid" not in text and "holds another run" not in text:
            raise Fault(f"refused without naming the holder: {text!r}")
        outcome = "one refused"
    else:
        raise Fault(f"ended with {ends}: {texts}")
    if bits(out) != runs.expected[kind]:
        raise Fault("the run ended in other bits")
    return outcome


def no_reader(runs: Runs, scratch: Path, random: Random) -> str:
    """Standard streams that are closed, full, or that nobody reads."""
    kind, out = random.choice(list(KINDS)), scratch / "run"
    words = [word for word in runs.command(kind, out) if word != "--quiet"] + ["--json"]
    how = random.choice(["closed", "full", "no reader"])
    if how == "closed":
        streams = tuple(fd for fd in (0, 1, 2) if random.random() < 0.6) or (1,)
        outcome = runs.program.run(words, scratch, closed=streams)
        lost = 1 in streams
    elif how == "full":
        with open("/dev/full", "wb") as full:
            outcome = runs.program.run(words, scratch, stdout=full)
        lost = True
    else:
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        reader.wait()
        outcome = runs.program.run(words, scratch, stdout=reader.stdin)
        lost = True
    if outcome.status < 0 or outcome.timed_out or (outcome.status == 0) == lost:
        raise Fault(f"standard output {how}: {outcome.describe()}")
    if not (out / "summary.json").exists():
        raise Fault(f"standard output {how}: the run was lost: {outcome.describe()}")
    if bits(out) != runs.expected[kind]:
        raise Fault(f"standard output {how}: the run ended in other bits")
    return f"{how}: answer lost, said so, run kept" if lost else f"{how}: answered"


PARTS = {
    "kill -9": killed,
    "signals": stopped,
    "full disks": full_disk,
    "two programs in one directory": twice,
    "standard streams": no_reader,
}
