"""Gives every option of every command values that nobody means.

The options are those that `slimgrad COMMAND --help` lists. Each value comes in by the command line, and by `--config`
and `--methods` where they take the option. A try may end with status 0, or with status 2 and one line on standard error
that names the option. Anything else is a fault: another status, a signal, a message of several lines, silence about a
value that has no meaning. What takes long, as a million epochs do, must end on SIGTERM."""

from __future__ import annotations

import functools
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from random import Random

from program import Fault, Program

SECONDS, MEMORY = 10, 1 << 30  # of one try, and as many seconds again to end when it is asked to

NUMBERS = {  # no number that an option could mean
    "empty": "", "blank": " ", "word": "fast", "nan": "nan", "infinite": "inf", "too large": "1e999",
    "beyond 64 bits": "18446744073709551616", "wraps to 1": "4611686018427387905", "hexadecimal": "0x10", "plus": "+1",
    "blank before": " 1", "unit": "1k", "underscore": "1_000", "hole": "1,,2", "twice": "1,1", "comma": "1,",
    "letters": "ü☃", "not UTF-8": b"\xff\xfe", "two lines": "1\n2", "long": "9" * 100_000, "format": "{}%s%n",
}
SOMETIMES = {"minus one": "-1", "zero": "0", "one": "1", "huge": "9223372036854775807", "tiny": "1e-300", "half": "0.5",
             "million": "1000000", "3000": "3000"}
INTEGERS = ("beyond 64 bits", "wraps to 1", "long")  # no integers, and yet numbers
TEXTS = {"empty": "", "not UTF-8": b"\xff\xfe"}
TEXTS_SOMETIMES = {"letters": "ü☃", "two lines": "a\nb", "long": "x" * 100_000, "name too long": "x" * 300,
                   "format": "{}%s%n", "minus one": "-1", "no place": "/proc/self", "nothing": "/dev/null",
                   "hole": "a,,b", "up": "..", "colon": ":", "equals": "a:=", "endless": "/dev/zero", "quotes": "'\"\\"}
JSONS = {"null": b"null", "list": b"[1]", "object": b"{}", "too large": b"1e999", "minus": b"-1e300", "twice": b"",
         "deep": b"[" * 100_000, "half a number": b"1.", "not UTF-8": b'"\xff"', "wraps to 1": b"4611686018427387905"}


@dataclass
class Try:
    command: str
    option: str
    what: str  # is given
    words: list
    refuse: bool  # anything but a refusal is wrong
    config: bytes = b""  # of the file that --config names


def options_of(program, command):
    """Names of the options, with what they take: N, X, WORD, TEXT or, if nothing, an empty text."""
    text = program.must([*command.split(), "--help"], Path()).stdout
    return re.findall(r"^  --([\w-]+) (N|X|WORD|TEXT|)", text, re.M)


def base(run_directory):
    """What each command needs to be done soon."""
    train = {"model": "mlp", "limit-train": "16", "limit-test": "8", "batch": "8", "epochs": "1", "threads": "1"}
    return {
        "train": (["--quiet"], train | {"out": "run"}),
        "compare": ([], train | {"methods": "vanilla", "out": "runs"}),
        "eval": ([], {"from": run_directory, "threads": "1"}),
        "cost": ([], {"method": "instant", "rank-x": "4", "rank-g": "4"}),
        "snr": ([], {"samples": "50", "threads": "1"}),
        "trace": (["--quiet"], {name: value for name, value in train.items() if name != "limit-test"}
                  | {"methods": "vanilla", "warmup-steps": "1", "out": "trace.html", "chrome": "trace.json"}),
        "report": ([run_directory], {"out": "report.html"}),
        "bench": (["linear/tiny", "--quiet"], {"rounds": "1", "warmup": "0", "threads": "1"}),
        "data verify": (["embedded-text"], {}),
        "data get": (["mrpc"], {"mirror": "http://127.0.0.1:1"}),
    }


def by_command_line(command, arguments, given, name, kind):
    rest = [word for key, value in given.items() if key != name for word in (f"--{key}", value)]
    words = [*command.split(), *arguments, *rest]
    if not kind:
        yield from (Try(command, name, f"flag: {what}", [*words, f"--{name}={what}"], True)
                    for what in ("", "2", "-1", "fast", "9" * 30))
        return
    never, sometimes = {"N": (NUMBERS | {"half": "0.5"}, SOMETIMES), "X": (NUMBERS, SOMETIMES),
                        "WORD": (NUMBERS | TEXTS_SOMETIMES, {}), "TEXT": (TEXTS, TEXTS_SOMETIMES)}[kind]
    for what, value in {**sometimes, **never}.items():
        refuse = what in never and not (what in INTEGERS and (kind == "X" or name == "seed"))
        yield Try(command, name, what, [*words, f"--{name}", value], refuse)
    yield Try(command, name, "no value", [*words, f"--{name}"], True)
    yield Try(command, name, "an option", [*words, f"--{name}", "--json"], True)
    one = {"N": "1", "X": "0.5"}.get(kind, "a")
    yield Try(command, name, "given twice", [*words, f"--{name}", one, f"--{name}", one], True)


def by_argument(command, arguments, given):
    rest = [word for key, value in given.items() for word in (f"--{key}", value)]
    for what, value in (TEXTS | TEXTS_SOMETIMES).items():
        yield Try(command, "", what, [*command.split(), value, *arguments[1:], *rest], what in TEXTS)


def by_config_and_spec(given, name, kind):
    rest = [word for key, value in given.items() if key != name for word in (f"--{key}", value)]
    pair = b'"%s": ' % name.replace("-", "_").encode()
    for what, value in JSONS.items():
        content = b"{%s}" % (pair + b"1, " + pair + b"1" if what == "twice" else pair + value)
        fine = what in INTEGERS and (kind == "X" or name == "seed")
        yield Try("train", name, f"config: {what}", ["train", *rest, "--config", "c.json"], not fine, content)
    for what, value in (NUMBERS if kind in ("N", "X") else TEXTS).items():
        if isinstance(value, str) and "," not in value and len(value) < 1000 and name not in ("out", "seed", "method"):
            words = ["compare", *rest, "--methods", f"vanilla:{name}={value}"]
            yield Try("compare", name, f"spec: {what}", words, not (what in INTEGERS and kind == "X"))


def all_tries(program, run_directory):
    for command, (arguments, given) in base(run_directory).items():
        options = options_of(program, command)
        if not options:
            raise Fault(f"slimgrad {command} --help lists no options")
        for name, kind in options:
            yield from by_command_line(command, arguments, given, name, kind)
            if command == "train" and kind and name not in ("config", "resume"):
                yield from by_config_and_spec(given, name, kind)
        if arguments and not arguments[0].startswith("-"):
            yield from by_argument(command, arguments, given)


def fault_of(one, status, out, err):
    """What is wrong with the way a try has ended; empty if nothing."""
    lines = err.decode(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("slimgrad: ")]
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    if status == 1 and (one.command == "data get" or any("memory" in line for line in errors)):
        return ""  # the network, or more than the try may have, is no fault of the option
    if status not in (0, 2):
        return f"status {status}: {lines[-1:]}"
    if status == 0:
        return "accepted" if one.refuse else ""
    if out or len(errors) != 1 or lines[-1] != errors[0] or (one.refuse and len(lines) > 1):
        return f"not one line on standard error: {lines[:3]}"
    named = re.sub("[-_]", "", one.option) in re.sub("[-_]", "", errors[0]) or "c.json' " in errors[0]
    return "" if named or not one.refuse else f"the message does not name the option: {errors[0][:200]}"


class Options:
    def __init__(self, program: Program, scratch: Path) -> None:
        self.program, self.scratch = program, scratch

    @functools.cached_property
    def tries(self) -> list[Try]:
        arguments, given = base("")["train"]
        directory = self.scratch / "options"
        directory.mkdir()
        self.program.must(
            ["train", *arguments, *(f"--{key}={value}" for key, value in given.items())], directory)
        return list(all_tries(self.program, str(directory / "run")))

    def trial(self, place: Path, random: Random) -> str:
        one = random.choice(self.tries)
        (place / "c.json").write_bytes(one.config)
        child = self.program.start(one.words, place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, memory=MEMORY)
        for send in (child.terminate, child.kill):  # if it is not done by then
            try:
                out, err = child.communicate(timeout=SECONDS)
                break
            except subprocess.TimeoutExpired:
                send()
        else:
            child.communicate()
            raise Fault(f"{one}: does not end on SIGTERM")
        if send == child.kill:
            fault, end = f"takes more than {SECONDS} seconds" if one.refuse else "", "long work, stopped by SIGTERM"
        else:
            fault = fault_of(one, child.returncode, out, err)
            end = {0: "accepted, as it may be", 2: "refused in one line"}.get(child.returncode, "no network or memory")
        if fault:
            raise Fault(f"{one}: {fault}"[:1000])
        return end
