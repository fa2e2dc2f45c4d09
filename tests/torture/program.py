"""Runs slimgrad as a shell would, under limits of time and memory, and tells what happened."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO


class Fault(Exception):
    """The program did what it must not do."""


@dataclass
class Outcome:
    words: list[str]
    status: int  # negative: ended by that signal
    stdout: str
    stderr: str
    seconds: float
    peak: int  # bytes of memory at most
    timed_out: bool

    @property
    def lines(self) -> list[str]:
        return self.stderr.strip().splitlines()

    def describe(self) -> str:
        shown = " | ".join(self.lines[-3:]) or "nothing on standard error"
        end = "took too long" if self.timed_out else f"status {self.status}"
        return f"{end} after {self.seconds:.1f} s, {self.peak >> 20} MiB: {shown[-600:]}"

    def check_refusal(self) -> None:
        """Bad input ends with status 2 and one line that begins with the program's name."""
        own = [line for line in self.lines if line.startswith("slimgrad: ")]
        if self.timed_out or self.status != 2 or own != self.lines[-1:] or len(own[0]) > 2000:
            raise Fault(f"expected one line and status 2: {self.describe()}")


class Program:
    """`with_limits` words are those of every call; the environment is that of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def start(
        self,
        words: list[str],
        cwd: Path,
        *,
        stdout: int | IO[bytes] | None = subprocess.DEVNULL,
        stderr: int | IO[bytes] | None = subprocess.DEVNULL,
        memory: int = 0,
        file_size: int = 0,
        closed: tuple[int, ...] = (),
    ) -> subprocess.Popen[bytes]:
        """`memory`: limit of the address space; `file_size`: of each file that is written, as a
        disk that is full sets one; `closed`: descriptors that the program does not get."""

        def prepare() -> None:
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            if file_size:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
            for descriptor in closed:
                os.close(descriptor)

        return subprocess.Popen(
            [self.path, *words], cwd=cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            preexec_fn=prepare,
        )  # fmt: skip

    def run(self, words: list[str], cwd: Path, *, seconds: float = 60, **limits) -> Outcome:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            limits.setdefault("stdout", out)
            limits.setdefault("stderr", err)
            began = time.monotonic()
            process = self.start(words, cwd, **limits)
            late = threading.Event()

            def too_late() -> None:
                late.set()
                process.send_signal(signal.SIGKILL)

            timer = threading.Timer(seconds, too_late)
            timer.start()
            _, raw, usage = os.wait4(process.pid, 0)
            timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(raw)
            out.seek(0)
            err.seek(0)
            return Outcome(
                words, process.returncode, out.read().decode(errors="replace"),
                err.read().decode(errors="replace"), time.monotonic() - began,
                usage.ru_maxrss * 1024, late.is_set(),
            )  # fmt: skip

    def must(self, words: list[str], cwd: Path, **limits) -> Outcome:
        """Runs what cannot fail."""
        outcome = self.run(words, cwd, **limits)
        if outcome.status != 0:
            raise Fault(f"`{' '.join(words)}` failed: {outcome.describe()}")
        return outcome
