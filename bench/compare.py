#!/usr/bin/env python3
"""slimgrad against itself and against PyTorch: every figure of docs/performance.md.

    ./run bench                      everything (about an hour), tables on the screen and in docs/performance.md
    ./run bench steps tab11          these parts alone
    ./run bench --quick              small batches and few rounds: does it all work?
    ./run bench --no-torch           slimgrad alone
    ./run bench linears steps --isa avx2   both sides kept to AVX2, as on a processor without AVX-512
    ./run bench --against OLD/build/slimgrad   training steps of this build and of another one, in turn

Parts: linears, steps, tab11, calibration, memory, coretype, kernels, pictures,
vision. Results are compared before anything is
timed. Both sides run as processes that wait while the other works, and take turns repetition by repetition.
What was measured stands in OUT/results.json after each contest. After Ctrl-C the same command goes on where it
stopped; what another build of slimgrad has measured is measured again and left out of the tables.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import contest
import picture_folders
import report
from contest import Contestant, Sides

ROOT = Path(__file__).resolve().parent.parent
LINEARS = ["linear/bert-8x512x768", "linear/bert-32x128x768", "linear/vit-b32-64x50x768",
           "linear/minilm-32x128x384", "linear/vit-cifar-128x64x192"]
STEPS = ["step/bert-block-8x512x768", "step/bert-block-32x128x768", "step/minilm-32x128x384",
         "step/vit-cifar-128x64x192", "step/resnet20-128"]
METHODS = ["vanilla", "compress-x", "compress-gy", "instant"]
RANKS = [8, 16, 32, 64]
SKETCH_RANKS = [8, 16]  # x as it is
SKETCH_STEPS = [8, 12]  # x in 8 bits
# What all layers keep in few bits, alone and with a rule.
CHEAP = ":gelu-bits=2:norm-keeps=output"
CODECS = ["gact", "gact:bits=8", "gact" + CHEAP, "instant+gact", "sketch+gact", "sketch+gact" + CHEAP]
VISION = ["step/vit-b32-16x224", "step/resnet50-4x224"]
MEMORY = "step/minilm-32x128x384"
CORETYPES = ["", "Haswell", "SkylakeX"]


def coretypes() -> list:
    """Those whose instructions this processor has; another one would end the worker."""
    known = Path("/proc/cpuinfo")
    has_avx512 = known.exists() and " avx512f" in known.read_text()
    return [name for name in CORETYPES if has_avx512 or name != "SkylakeX"]


class Say:
    """One line on standard error that moves on a terminal."""

    def __init__(self, quiet: bool):
        self.quiet, self.stopped, self.moving = quiet, False, sys.stderr.isatty()
        self.last = ""

    def __call__(self, text: str) -> None:
        if self.quiet:
            return
        if self.moving:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif text.split(":")[0] != self.last:  # once a contest
            self.last = text.split(":")[0]
            print(f"[bench] {self.last}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.moving and not self.quiet:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def ranks(r: int) -> dict:
    return {"rank_x": r, "rank_g": r}


def linears(torch: bool, quick: bool) -> list:
    """Contestants for the linear maps of a block: Q, K and V as one product and as three."""
    all_ = [Contestant("vanilla", "slimgrad", {"method": "vanilla"}),
            Contestant("vanilla q,k,v", "slimgrad", {"method": "vanilla", "fused": False})]
    for r in RANKS[:2] if quick else RANKS:
        all_ += [Contestant(f"instant R{r}", "slimgrad", {"method": "instant", **ranks(r)}),
                 Contestant(f"instant R{r} q,k,v", "slimgrad",
                            {"method": "instant", "fused": False, **ranks(r)})]
        if torch:
            all_.append(Contestant(f"torch operator R{r}", "torch", {"method": "instant"}, "", f"instant R{r}"))
    for r in SKETCH_RANKS:
        all_ += [Contestant(f"sketch R{r}", "slimgrad", {"method": "sketch", **ranks(r)}),
                 Contestant(f"sketch R{r} q,k,v", "slimgrad", {"method": "sketch", "fused": False, **ranks(r)})]
    if torch:
        all_.append(Contestant("torch vanilla", "torch", {"method": "vanilla"}, "", "vanilla"))
    return all_


def rivals_of_a_step(resnet: bool) -> list:
    """PyTorch's own training step, in each of its optimizer's forms and its memory layouts."""
    return [Contestant(f"torch {optimizer}" + (" channels-last" if layout == "channels_last" else ""), "torch",
                       {"method": "vanilla", "optimizer": optimizer, "layout": layout}, "", "vanilla")
            for optimizer in ("adamw", "adamw-fused")
            for layout in (("default", "channels_last") if resnet else ("default",))]


def steps(case: str, torch: bool) -> list:
    """Contestants for a training step. A ResNet in PyTorch runs in either memory layout."""
    resnet = "resnet" in case
    all_ = [Contestant(m, "slimgrad", {"method": m, **ranks(16)}) for m in METHODS]
    if not resnet:
        all_ += [Contestant(f"sketch R{r}", "slimgrad", {"method": "sketch:keep-x=8", **ranks(r)})
                 for r in SKETCH_STEPS]
        all_ += [Contestant(m, "slimgrad", {"method": m, **ranks(8)}) for m in CODECS]
    if not torch:
        return all_
    all_ += rivals_of_a_step(resnet)
    if not resnet:
        all_.append(Contestant("torch operator", "torch",
                               {"method": "instant", "optimizer": "adamw-fused"}, "", "instant"))
    return all_


def vision(case: str, torch: bool) -> list:
    """Steps of models of images: of ViT-B/32 the methods of the paper's Table 6 at its ranks, of ResNet-50 INSTANT-5, whose
    ranks are 6 or more."""
    resnet = "resnet" in case
    instant = {"rank_x": 6, "rank_g": 6} if resnet else {"rank_x": 3, "rank_g": 2}
    all_ = [Contestant("vanilla", "slimgrad", {"method": "vanilla"}),
            Contestant(f"instant {instant['rank_x']}, {instant['rank_g']}", "slimgrad", {"method": "instant", **instant})]
    if not resnet:
        all_ += [Contestant(method, "slimgrad", {"method": method}) for method in
                 ("gradient-filter:patch=7", "lbp-wht:order=4")]
        all_.append(Contestant("sketch:keep-x=8 R8", "slimgrad", {"method": "sketch:keep-x=8", **ranks(8)}))
    return all_ + (rivals_of_a_step(resnet) if torch else [])


def tab11(torch: bool) -> list:
    """The ranks are those of the case."""
    all_ = [Contestant(m, "slimgrad", {"method": m}) for m in ("vanilla", "instant")]
    if torch:
        fused = {"optimizer": "adamw-fused"}
        all_ += [Contestant("torch adamw-fused", "torch", {"method": "vanilla", **fused}, "", "vanilla"),
                 Contestant("torch operator", "torch", {"method": "instant", **fused}, "", "instant")]
    return all_


def digest(program: Path) -> str:
    return hashlib.sha256(program.read_bytes()).hexdigest()[:12]


class Bench:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.say = Say(options.quiet)
        self.sides = Sides(options.program, torch=options.torch, pin=options.pin, isa=options.isa)
        self.file = options.out / "results.json"
        settings = {"quick": options.quick, "rounds": options.rounds, "pin": options.pin, "isa": options.isa}
        self.build = digest(options.program)
        self.results = {"settings": settings, "environment": {}, "contests": {}, "memory": {}}
        if self.file.exists() and not options.fresh:
            before = json.loads(self.file.read_text())
            if before.get("settings") == settings:
                self.results = before
        self.results["build"] = self.build

    def save(self) -> None:
        options = self.options
        options.out.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(self.results, indent=1) + "\n")
        new.replace(self.file)

    def has(self, kind: str, key: str) -> bool:
        """Whether this very program has been measured already, in all rounds."""
        found = self.results[kind].get(key, {})
        return found.get("build") == self.build and found.get("rounds", self.options.rounds) >= self.options.rounds

    def describe(self) -> None:
        with self.sides.slimgrad(1) as worker:
            hello = worker.ask(do="hello")
        environment = {"cpu": hello["cpu"], "slimgrad": hello["version"], "kernels": hello["kernels"],
                       "system": platform.platform(), "date": time.strftime("%Y-%m-%d")}
        revision = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        environment["revision"] = revision.stdout.strip()
        if self.sides.torch:
            with self.sides.rival(1) as rival, self.sides.slimgrad(1) as own:
                environment["torch"] = rival.ask(do="hello")["version"]
                contest.check_the_check({"slimgrad": own, "torch": rival})
        self.results["environment"] = environment

    def contest(self, case: str, threads: int, contestants: list, name: str = "", workers: dict = None) -> None:
        """Runs a contest unless its result is there already."""
        key = f"{name or case} @{threads}"
        if self.has("contests", key) or self.say.stopped:
            return
        started = {} if workers else {"slimgrad": self.sides.slimgrad(threads)}
        if not workers and any(c.side == "torch" for c in contestants):
            started["torch"] = self.sides.rival(threads)
        workers = workers or started
        for c in contestants:
            if self.options.quick and "batch" not in c.options and c.side != "torch":
                c.options["batch"] = 4
        try:
            for worker in workers.values():
                worker.ask(do="threads", threads=threads)
            outcome = contest.run(case, contestants, workers, self.options.rounds,
                                  1 if self.options.quick else 2, self.say)
        finally:
            for worker in started.values():
                worker.close()
        for contestant, why in outcome.refused.items():
            self.say.end()
            print(f"[bench] {key}: {contestant} was not timed: {why}", file=sys.stderr)
        if outcome.others > 0.05:
            self.say.end()
            print(f"[bench] {key}: other programs used {100 * outcome.others:.0f} % of the processors", file=sys.stderr)
        if outcome.rounds >= min(3, self.options.rounds):
            self.results["contests"][key] = outcome.document() | {"threads": threads, "build": self.build}
            self.save()

    def memory(self) -> None:
        """Each measurement has a process of its own."""
        more = {"batch": 4} if self.options.quick else {}
        for method in METHODS + CODECS + (["torch vanilla", "torch instant"] if self.sides.torch else []):
            if self.has("memory", method) or self.say.stopped:
                continue
            self.say(f"memory: {method}")
            rival = method.startswith("torch ")
            with self.sides.rival(2) if rival else self.sides.slimgrad(2) as worker:
                size = {"batch": more.get("batch", 32), "tokens": 128, "width": 384, "heads": 12, "blocks": 6}
                what = {"case": size, "rank": 16} if rival else {"case": MEMORY, **ranks(16), **more}
                used = worker.ask(do="memory", method=method.removeprefix("torch "), steps=4, **what)
            self.results["memory"][method] = used | {"build": self.build}
            self.save()

    def among(self, name: str, case: str, threads: int, start: dict, contestants: list) -> None:
        """A contest between several workers of slimgrad: `start` makes each of them."""
        if self.has("contests", f"{name} @{threads}"):
            return
        workers = {side: make() for side, make in start.items()}
        try:
            self.contest(case, threads, contestants, name, workers)
        finally:
            for worker in workers.values():
                worker.close()

    def coretype(self, threads: int) -> None:
        """The same program, its choice of kernels left alone and made by hand."""
        start = {kernels or "unset": partial(self.sides.slimgrad, threads, kernels) for kernels in coretypes()}
        for case, options in (("step/minilm-32x128x384", {"method": "vanilla"}),
                              ("step/minilm-32x128x384", {"method": "instant"}),
                              ("calibrate/bert-block-8x512x768", {"method": "instant"})):
            self.among(f"coretype {options['method']} {case}", case, threads, start,
                       [Contestant(kernels, kernels, {**options}) for kernels in start])

    def against(self, threads: int) -> None:
        """Training steps of this program and of another build."""
        other = Sides(self.options.against, torch=False, pin=self.options.pin, isa=self.options.isa)
        start = {"this": partial(self.sides.slimgrad, threads), "other": partial(other.slimgrad, threads)}
        for case in STEPS[2:] if self.options.quick else STEPS:
            self.among(f"against {digest(other.program)} {case}", case, threads, start,
                       [Contestant(f"{method} {side}", side, {"method": method, **ranks(16)})
                        for method in ("vanilla", "instant") for side in start])

    def kernels(self) -> None:
        program = self.options.program.parent / "bench" / "slimgrad_bench_kernels"
        if not program.exists():
            raise SystemExit(f"[bench] {program} is missing; ./run bench kernels builds it")
        self.options.out.mkdir(parents=True, exist_ok=True)
        least = ["--benchmark_min_time=0.02"] if self.options.quick else []
        subprocess.run([program, f"--benchmark_out={self.options.out / 'kernels.json'}",
                        "--benchmark_out_format=json", *least, *self.options.kernel_options],
                       check=True, env=contest.environment(max(self.options.threads), self.options.pin, isa=self.options.isa))

    def pictures(self) -> None:
        """Reading, on one thread."""
        try:
            folders = picture_folders.folders(self.options.pictures, self.options.out, self.options.quick)
        except ImportError as error:
            print(f"[bench] no pictures were read: {error}; give a folder of your own with --pictures", file=sys.stderr)
            return
        for folder in folders:
            contestants = [Contestant("slimgrad", "slimgrad", {"pictures": str(folder), "side": 224})]
            if self.sides.torch:
                contestants += [Contestant(rival, "torch", {"method": rival}, "", "slimgrad")
                                for rival in ("torchvision", "pillow")]
            self.contest(f"pictures/{folder.name}", 1, contestants)

    def run(self, parts: list) -> None:
        o, torch = self.options, self.sides.torch
        try:
            self.describe()
            if "kernels" in parts:
                self.kernels()
            if "memory" in parts:
                self.memory()
            if "pictures" in parts:
                self.pictures()
            for threads in o.threads:
                for part in parts:
                    if part == "linears":
                        for case in LINEARS[2:] if o.quick else LINEARS:
                            self.contest(case, threads, linears(torch, o.quick))
                    if part == "steps":
                        for case in STEPS[2:] if o.quick else STEPS:
                            self.contest(case, threads, steps(case, torch))
                    if part == "vision":
                        for case in VISION:
                            self.contest(case, threads, vision(case, torch), case.replace("step/", "vision/"))
                    if part == "tab11":
                        for case in ("tab11/linears", "tab11/blocks"):
                            self.contest(case, threads, tab11(torch))
                    if part in ("steps", "calibration"):  # a step of INSTANT has its share of a calibration
                        for case in STEPS[2:4] if o.quick else STEPS[:4]:
                            self.contest(case.replace("step/", "calibrate/"), threads,
                                         [Contestant("instant", "slimgrad", {"method": "instant", **ranks(16)})])
                    if part == "coretype":
                        self.coretype(threads)
                    if part == "against":
                        self.against(threads)
        except KeyboardInterrupt:
            self.say.stopped = True
        self.say.end()
        self.save()


PARTS = ["linears", "steps", "tab11", "calibration", "memory", "coretype", "kernels", "pictures", "vision"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="\n".join(__doc__.splitlines()[2:]),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small batches and few rounds; no file of docs is touched")
    parser.add_argument("--no-torch", dest="torch", action="store_false", help="slimgrad alone")
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="let the system move threads")
    parser.add_argument("--isa", choices=["avx2"], default="", help="keep both sides to these instructions")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has measured")
    parser.add_argument("--rounds", type=int, help="repetitions of each contestant (default: 11; 3 with --quick)")
    parser.add_argument("--threads", default="1,2", help="with commas (default: 1,2)")
    parser.add_argument("--out", type=Path, help="where results.json goes (default: runs/bench, with -quick and -avx2 after it)")
    parser.add_argument("--pictures", type=Path, metavar="DIR",
                        help="for the part of this name: a folder of pictures (default: made of noise, as JPEG and as PNG)")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "slimgrad")
    parser.add_argument("--against", type=Path, metavar="PROGRAM",
                        help="time training steps against those of another build, and nothing else")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "performance.md",
                        help="the page whose marked tables are replaced")
    parser.add_argument("--tables", action="store_true", help="measure nothing, print what has been measured")
    parser.add_argument("--quiet", action="store_true")
    options, rest = parser.parse_known_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown or any(not word.startswith("--benchmark_") for word in rest):
        parser.error(f"unknown part {(unknown + rest)[0]!r}. Known: {', '.join(PARTS)}")
    if options.against:
        if options.parts:
            parser.error("--against is a part of its own: leave the others away")
        if not options.against.is_file():
            parser.error(f"--against: expected a slimgrad program, {options.against} is none")
        options.parts, options.torch = ["against"], False
    options.kernel_options = rest
    options.threads = [int(n) for n in options.threads.split(",")]
    options.rounds = options.rounds or (3 if options.quick else 11)
    options.out = options.out or ROOT / "runs" / "-".join(
        ["bench", *(["quick"] if options.quick else []), *([options.isa] if options.isa else [])])
    bench = Bench(options)
    if not options.tables:
        try:
            bench.run(options.parts or [part for part in PARTS if part != "kernels"])
        except contest.WorkerError as error:
            bench.say.end()
            print(f"[bench] {error}", file=sys.stderr)
            return 1
    tables = report.tables(bench.results)
    if not tables:
        print("[bench] this build has measured nothing yet that makes a table", file=sys.stderr)
    for title, table in tables.values():
        print(f"{title}\n{report.text(table)}")
    if not options.quick and not options.against:
        report.update(options.docs, tables, bench.results)
    return 130 if bench.say.stopped else 0


if __name__ == "__main__":
    sys.exit(main())
