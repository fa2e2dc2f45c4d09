"""Tables from what bench/compare.py has measured, on the screen and between the marks of docs/performance.md.

A ratio is that of the two times of one round; its median and quartiles are those over all rounds."""

import re
from pathlib import Path
from statistics import median, quantiles

# The shares of the FLOP ratio that we set ourselves as goals, by R.
GOALS = {"linear/bert-8x512x768": {8: 55, 16: 75}, "linear/bert-32x128x768": {8: 75, 16: 85},
         "linear/vit-b32-64x50x768": {8: 85, 16: 90}, "linear/minilm-32x128x384": {8: 68, 16: 80},
         "linear/vit-cifar-128x64x192": {8: 62, 16: 75}}
SKETCH_GOALS = {8: 70, 16: 80}
BATCHES = 5  # of a calibration


def spread(values: list) -> tuple:
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def times(values: list) -> str:
    """A ratio with its quartiles."""
    lower, middle, upper = spread(values)
    return f"{middle:.2f}x ({lower:.2f}–{upper:.2f})"


def ms(values: list) -> str:
    lower, middle, upper = spread([1e3 * v for v in values])
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{digits}f} ({lower:.{digits}f}–{upper:.{digits}f})"


class Contest:
    """What a contest has measured, by contestant."""

    def __init__(self, document: dict):
        self.document, self.threads = document, document["threads"]

    def has(self, name: str) -> bool:
        return name in self.document["seconds"]

    def of(self, name: str, *phases: str) -> list:
        """Seconds of each round: of these phases, or of the whole repetition."""
        seconds = self.document["seconds"][name]
        chosen = phases or [phase for phase in seconds if "." not in phase]
        return [sum(values) for values in zip(*(seconds[phase] for phase in chosen))]

    def best(self, *names: str, phases=()) -> str:
        return min((n for n in names if self.has(n)), key=lambda n: median(self.of(n, *phases)), default="")


def ratios(slow: list, fast: list) -> list:
    return [a / b for a, b in zip(slow, fast)]


def contests(results: dict, prefix: str) -> list:
    """(case, Contest) in the order of cases, then threads."""
    found = [(key.split(" @")[0], Contest(d)) for key, d in results["contests"].items() if key.startswith(prefix)]
    first = {}
    for case, _ in found:
        first.setdefault(case, len(first))
    return sorted(found, key=lambda item: (first[item[0]], item[1].threads))


def linears(results: dict) -> list:
    rows = [["linear layers of a block", "R", "threads", "vanilla ms", "INSTANT ms", "speed-up", "of FLOPs",
             "realised", "goal", "PyTorch's vanilla", "the authors' operator"]]
    both = ("backward", "compress")
    for case, c in contests(results, "linear/"):
        vanilla = c.best("vanilla", "vanilla q,k,v", phases=both)
        for r in (8, 16, 32, 64):
            own = c.best(f"instant R{r}", f"instant R{r} q,k,v", phases=both)
            if not own or not vanilla:
                continue
            faster = ratios(c.of(vanilla, *both), c.of(own, *both))
            flops = c.document["flop_ratio"][own]
            goal = GOALS.get(case, {}).get(r)
            torch, operator = "torch vanilla", f"torch operator R{r}"
            rows.append([case.removeprefix("linear/"), str(r), str(c.threads), ms(c.of(vanilla, *both)),
                         ms(c.of(own, *both)), times(faster), f"{flops:.2f}x",
                         f"{100 * median(faster) / flops:.0f} %", f"{goal} %" if goal else "",
                         times(ratios(c.of(torch, *both), c.of(vanilla, *both))) if c.has(torch) else "-",
                         times(ratios(c.of(operator, *both), c.of(own, *both))) if c.has(operator) else "-"])
    return rows


def sketches(results: dict) -> list:
    rows = [["linear layers of a block", "R", "threads", "sketch ms", "speed-up", "of FLOPs", "realised", "goal",
             "PyTorch's vanilla / sketch"]]
    for case, c in contests(results, "linear/"):
        vanilla = c.best("vanilla", "vanilla q,k,v")
        for r, goal in SKETCH_GOALS.items():
            own = c.best(f"sketch R{r}", f"sketch R{r} q,k,v")
            if not own or not vanilla:
                continue
            faster = ratios(c.of(vanilla), c.of(own))
            flops = c.document["flop_ratio"][own]
            torch = "torch vanilla"
            rows.append([case.removeprefix("linear/"), str(r), str(c.threads), ms(c.of(own)), times(faster),
                         f"{flops:.2f}x", f"{100 * median(faster) / flops:.0f} %", f"{goal} %",
                         times(ratios(c.of(torch), c.of(own))) if c.has(torch) else "-"])
    return rows


def codec_steps(results: dict) -> list:
    """Steps in which all layers keep their values in few bits; ranks 8 where a rule has some."""
    rows = [["training step", "threads", "vanilla ms", "method", "ms", "of vanilla's", "of its forward", "of its backward"]]
    for case, c in contests(results, "step/"):
        for name in c.document["seconds"] if c.has("vanilla") else ():
            if "gact" in name:
                parts = [times(ratios(c.of(name, part), c.of("vanilla", part))) for part in ("forward", "backward")]
                rows.append([case.removeprefix("step/"), str(c.threads), ms(c.of("vanilla")), name, ms(c.of(name)),
                             times(ratios(c.of(name), c.of("vanilla"))), *parts])
    return rows


def sketch_steps(results: dict) -> list:
    rows = [["training step", "threads", "R", "forward ms", "backward ms", "step ms", "own vanilla / sketch",
             "PyTorch's vanilla / sketch"]]
    for case, c in contests(results, "step/"):
        torch = c.best("torch adamw", "torch adamw-fused")
        for name in c.document["seconds"] if c.has("vanilla") else ():
            if name.startswith("sketch R"):
                rows.append([case.removeprefix("step/"), str(c.threads), name.removeprefix("sketch R"),
                             *(ms(c.of(name, phase)) for phase in ("forward", "backward")), ms(c.of(name)),
                             times(ratios(c.of("vanilla"), c.of(name))),
                             times(ratios(c.of(torch), c.of(name))) if torch else "-"])
    return rows


def calibration_seconds(results: dict, case: str, threads: int) -> tuple:
    """Median seconds of one calibration: passes, and autocorrelations with decompositions. None if they were not
    measured."""
    step = results["contests"].get(f"{case} @{threads}")
    extra = results["contests"].get(f"{case.replace('step/', 'calibrate/')} @{threads}")
    if not step or not extra:
        return None
    return BATCHES * median(Contest(step).of("vanilla", "forward", "backward")), median(Contest(extra).of("instant"))


def amortised(results: dict, case: str, c: Contest, every: int) -> list:
    """Seconds of an INSTANT step with its share of a calibration every so many steps; nothing if there is none."""
    calibration = calibration_seconds(results, case, c.threads)
    return [s + sum(calibration) / every for s in c.of("instant")] if calibration else []


def steps(results: dict) -> list:
    rows = [["training step", "threads", "slimgrad vanilla ms", "PyTorch ms: AdamW", "fused", "vanilla against PyTorch",
             "INSTANT R16 ms, N_t = 200", "against PyTorch's vanilla", "N_t = 50",
             "backward against the authors' operator"]]
    for case, c in contests(results, "step/"):
        if not c.has("vanilla"):  # it was refused: its results were not those of the formulas
            continue
        layouts = ("", " channels-last")
        plain = c.best(*(f"torch adamw{layout}" for layout in layouts))
        fused = c.best(*(f"torch adamw-fused{layout}" for layout in layouts))
        torch = c.best(plain, fused)
        own = amortised(results, case, c, 200)
        label = lambda name: ms(c.of(name)) + (" channels-last" if "channels" in name else "") if name else "-"
        against = lambda values: times(ratios(c.of(torch), values)) if torch and values else "-"
        operator = times(ratios(c.of("torch operator", "backward"), c.of("instant", "backward"))) \
            if c.has("torch operator") else "-"
        rows.append([case.removeprefix("step/"), str(c.threads), ms(c.of("vanilla")), label(plain), label(fused),
                     against(c.of("vanilla")), ms(own) if own else "-", against(own), against(amortised(results, case, c, 50)), operator])
    return rows


def modes(results: dict) -> list:
    rows = [["training step", "threads", "method", "forward ms", "backward ms", "optimizer ms", "step ms",
             "against own vanilla"]]
    for case, c in contests(results, "step/"):
        for name in c.document["seconds"] if c.has("vanilla") else ():
            if name.startswith("sketch R"):
                continue  # they have a table of their own
            rows.append([case.removeprefix("step/"), str(c.threads), name,
                         *(ms(c.of(name, phase)) for phase in ("forward", "backward", "optimizer")), ms(c.of(name)),
                         times(ratios(c.of("vanilla"), c.of(name)))])
    return rows


def vision(results: dict) -> list:
    rows = [["training step", "threads", "method", "forward ms", "backward ms", "step ms", "vanilla's step / this",
             "vanilla's backward / this", "PyTorch's step / this", "PyTorch's backward / this"]]
    for case, c in contests(results, "vision/"):
        torch = c.best(*(name for name in c.document["seconds"] if name.startswith("torch ")))
        for name in c.document["seconds"] if c.has("vanilla") else ():
            against = lambda other, *phases: times(ratios(c.of(other, *phases), c.of(name, *phases))) if other else "-"
            rows.append([case.removeprefix("vision/"), str(c.threads), name,
                         *(ms(c.of(name, phase)) for phase in ("forward", "backward")), ms(c.of(name)),
                         against("vanilla"), against("vanilla", "backward"), against(torch), against(torch, "backward")])
    return rows


def tab11(results: dict) -> list:
    rows = [["ViT-B/32, Tab. 11 ranks", "threads", "vanilla ms", "INSTANT ms", "speed-up", "of FLOPs", "PyTorch's vanilla",
             "the authors' operator"]]

    def add(what: str, c: Contest, phases: tuple, flops: str) -> None:
        own, vanilla = c.of("instant", *phases), c.of("vanilla", *phases)
        rival = lambda name, base: times(ratios(c.of(name, *phases), base)) if c.has(name) else "-"
        rows.append([what, str(c.threads), ms(vanilla), ms(own), times(ratios(vanilla, own)), flops,
                     rival("torch adamw-fused", vanilla), rival("torch operator", own)])

    for case, c in contests(results, "tab11/"):
        if case == "tab11/linears":
            flops = f"{c.document['flop_ratio']['instant']:.2f}x"
            add("eight linears, backward", c, ("backward",), "")
            add("with the compression in forward", c, ("backward", "compress"), flops)
        else:
            add("whole backward of the two blocks", c, ("backward",), "")
            add("step of the two blocks", c, (), "")
    return rows


def calibration(results: dict) -> list:
    rows = [["calibration, 5 batches, R = 16", "threads", "passes ms", "autocorrelations ms", "decompositions ms",
             "both, of training: N_t = 200", "N_t = 50", "passes: N_t = 200", "N_t = 50"]]
    for case, c in contests(results, "calibrate/"):
        step = results["contests"].get(f"{case.replace('calibrate/', 'step/')} @{c.threads}")
        cells = [case.removeprefix("calibrate/"), str(c.threads), "-", ms(c.of("instant", "gram")),
                 ms(c.of("instant", "decompose"))]
        if step:
            passes, extra = calibration_seconds(results, case.replace("calibrate/", "step/"), c.threads)
            own = median(Contest(step).of("instant"))
            whole = {every: every * own + passes + extra for every in (200, 50)}
            cells[2] = f"{1e3 * passes:.0f}"
            cells += [f"{100 * part / whole[every]:.2f} %" for part in (extra, passes) for every in (200, 50)]
        rows.append(cells + ["-"] * (9 - len(cells)))
    return rows


def memory(results: dict) -> list:
    rows = [["peak memory of a step, MiB", "process (VmHWM)", "less than vanilla", "ledger", "less than vanilla",
             "process's saving / ledger's"]]
    used, mib = results["memory"], lambda n: f"{n / 2**20:.0f}"
    base = used.get("vanilla")
    for name, m in used.items():
        cells = [name, mib(m["peak_rss"]), "", "", "", ""]
        if "ledger_peak" in m:
            cells[3] = mib(m["ledger_peak"])
            if base and m["ledger_peak"] < base["ledger_peak"]:
                process, ledger = (base[key] - m[key] for key in ("peak_rss", "ledger_peak"))
                cells[2], cells[4], cells[5] = mib(process), mib(ledger), f"{100 * process / ledger:.0f} %"
        rows.append(cells)
    return rows


def pictures(results: dict) -> list:
    rows = [["pictures to 224x224, one thread", "slimgrad: images/s", "of it decoding", "torchvision's", "slimgrad's / torchvision's",
             "Pillow's", "slimgrad's / Pillow's"]]
    for case, c in contests(results, "pictures/"):
        if not c.has("slimgrad"):
            continue
        count = c.document["case"]["pictures"]
        speed = lambda name: f"{count / median(c.of(name)):.0f}"
        cells = [case.removeprefix("pictures/"), speed("slimgrad"),
                 f"{100 * median(c.of('slimgrad', 'read.decode')) / median(c.of('slimgrad')):.0f} %"]
        for rival in ("torchvision", "pillow"):
            cells += [speed(rival), times(ratios(c.of(rival), c.of("slimgrad")))] if c.has(rival) else ["-", "-"]
        rows.append(cells)
    return rows


def coretype(results: dict) -> list:
    rows = [["OPENBLAS_CORETYPE", "threads", "unset ms", "by hand", "by hand ms", "unset is faster by"]]
    for case, c in contests(results, "coretype "):
        for name in c.document["seconds"]:
            if name != "unset":
                rows.append([case.removeprefix("coretype "), str(c.threads), ms(c.of("unset")), name, ms(c.of(name)),
                             times(ratios(c.of(name), c.of("unset")))])
    return rows


def against(results: dict) -> list:
    rows = [["training step", "threads", "method", "other ms", "this ms", "this / other"]]
    for case, c in contests(results, "against "):
        for method in ("vanilla", "instant"):
            if c.has(f"{method} this") and c.has(f"{method} other"):
                this, other = c.of(f"{method} this"), c.of(f"{method} other")
                rows.append([case.split("step/")[-1], str(c.threads), method, ms(other), ms(this),
                             times(ratios(this, other))])
    return rows


def tables(results: dict) -> dict:
    """Every table that has rows: name -> (title, rows with the heading first)."""
    rounds = results["settings"]["rounds"]
    results = results | {kind: {key: d for key, d in results[kind].items() if d.get("build") == results.get("build")}
                         for kind in ("contests", "memory")}
    all_ = {
        "linears": (f"Linear layers of a block: backward with compression, medians of {rounds} rounds (quartiles)", linears),
        "sketches": ("The same by sketches, x kept as it is", sketches),
        "steps": ("Training steps against PyTorch", steps),
        "sketch-steps": ("Training steps by sketches, x kept in 8 bits", sketch_steps),
        "codec-steps": ("Training steps with values kept in few bits, R = 8", codec_steps),
        "modes": ("Training steps by phase", modes),
        "tab11": ("The last two blocks of ViT-B/32, batch 64, L = 50", tab11),
        "calibration": ("What a calibration costs", calibration),
        "memory": ("Six encoder blocks 32x128x384, peak resident memory beyond that of the idle process", memory),
        "vision": ("Training steps of models of images", vision),
        "pictures": ("Pictures decoded, resized and cut", pictures),
        "coretype": ("Kernels of OpenBLAS, chosen by slimgrad and by hand", coretype),
        "against": ("Training steps of this build and of another", against),
    }
    made = {name: (title, make(results)) for name, (title, make) in all_.items()}
    return {name: table for name, table in made.items() if len(table[1]) > 1}


def text(rows: list) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
                   .rstrip() + "\n" for row in rows)


def markdown(rows: list) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" + "|---:" * (len(rows[0]) - 1) + "|")
    return "\n".join(lines)


def machine(results: dict) -> str:
    """Where and when this was measured, and how often."""
    e = results["environment"]
    limit = " kept to AVX2" if results["settings"].get("isa") == "avx2" else ""
    return (f"{e['cpu']}{limit}, {e['system']}; slimgrad {e['slimgrad']} at {e['revision']}, PyTorch {e.get('torch', 'absent')}; "
            f"{e['date']}; {results['settings']['rounds']} rounds.")


def update(page: Path, made: dict, results: dict) -> None:
    """Replaces what stands between <!-- bench:NAME --> and <!-- end --> for every table that was made; of a run
    that kept to AVX2, what stands after <!-- bench:avx2:NAME -->."""
    if not page.exists():
        return
    content = page.read_text()
    between = {name: markdown(rows) for name, (_, rows) in made.items()} | {"machine": machine(results)}
    isa = results["settings"].get("isa")
    for name, new in between.items():
        name = f"{isa}:{name}" if isa else name
        pattern = rf"(<!-- bench:{name} -->\n).*?(<!-- end -->)"
        content = re.sub(pattern, lambda m, new=new: m[1] + new + "\n" + m[2], content, flags=re.S)
    new = page.with_suffix(".new")
    new.write_text(content)
    new.replace(page)
