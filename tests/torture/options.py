#!/usr/bin/env python3
"""Gives every option of every command values that nobody means.

    tests/torture/options.py build/slimgrad [SECONDS]

The options are those that `slimgrad COMMAND --help` lists. Each value comes in by the command line, and by `--config`
and `--methods` where they take the option. A try may end with status 0, or with status 2 and one line on standard error
that names the option. Anything else is a finding: another status, a signal, a message of several lines, silence about a
value that has no meaning. What takes long, as a million epochs do, must end on SIGTERM. Tries come in a random order,
the same each time, so that a short run sees something of everything. Prints a line of JSON; status 1 means findings.
"""

import concurrent.futures
import dataclasses
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


@dataclasses.dataclass
class Try:
    command: str
    option: str
    what: str  # is given
    words: list
    refuse: bool  # anything but a refusal is wrong
    config: bytes = b""  # of the file that --config names


def run(words, directory):
    return subprocess.run(words, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True)


def options_of(program, command):
    """Names of the options, with what they take: N, X, WORD, TEXT or, if nothing, an empty text."""
    text = run([program, *command.split(), "--help"], ".").stdout.decode()
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
            raise SystemExit(f"slimgrad {command} --help lists no options")
        for name, kind in options:
            yield from by_command_line(command, arguments, given, name, kind)
            if command == "train" and kind and name not in ("config", "resume"):
                yield from by_config_and_spec(given, name, kind)
        if arguments and not arguments[0].startswith("-"):
            yield from by_argument(command, arguments, given)


def verdict(one, status, out, err):
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


def attempt(program, one):
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # noqa: E731
    # A run of `compare` that is killed may write for a moment yet.
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as root:
        directory = Path(root, "here")
        directory.mkdir()
        Path(directory, "c.json").write_bytes(one.config)
        child = subprocess.Popen([program, *one.words], cwd=directory, preexec_fn=limit,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for send in (child.terminate, child.kill):  # if it is not done by then
            try:
                out, err = child.communicate(timeout=SECONDS)
                break
            except subprocess.TimeoutExpired:
                send()
        else:
            child.communicate()
            return "does not end on SIGTERM", "killed"
        if send == child.kill:
            return f"takes more than {SECONDS} seconds" if one.refuse else "", "stopped"
        return verdict(one, child.returncode, out, err), child.returncode


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    program = str(Path(sys.argv[1]).resolve())
    end = time.monotonic() + float(sys.argv[2] if len(sys.argv) > 2 else "inf")
    os.environ["OMP_WAIT_POLICY"] = "passive"
    status, found = {}, []
    with tempfile.TemporaryDirectory(prefix="torture-") as root:
        arguments, given = base("")["train"]
        made = run([program, "train", *arguments, *(f"--{key}={value}" for key, value in given.items())], root)
        if made.returncode != 0:
            raise SystemExit(made.stderr.decode())
        tries = list(all_tries(program, str(Path(root, "run"))))
        random.Random(0).shuffle(tries)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            answers = pool.map(lambda one: attempt(program, one) if time.monotonic() < end else ("", None), tries)
            for one, (wrong, ended) in zip(tries, answers):
                status[str(ended)] = status.get(str(ended), 0) + 1
                if wrong:
                    found.append({"command": one.command, "option": one.option, "given": one.what, "wrong": wrong})
    left = status.pop("None", 0)
    print(json.dumps({"what": "options", "tried": len(tries) - left, "left": left, "status": status, "found": found}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
