"""Workers that run one repetition when asked, and contests between them: round by round one repetition of
each contestant, so that whatever else the machine does falls on all alike."""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAUSE = 0.02  # seconds: threads of the side that just ran fall asleep before the other is asked


class WorkerError(Exception):
    pass


class Load:
    """What share of the processors programs other than ours use."""

    def __init__(self, workers):
        self.own = [Path(f"/proc/{pid}/stat") for pid in ("self", *(w.process.pid for w in workers))]
        self.start = self.ticks()

    def ticks(self) -> tuple:
        user, nice, system, idle, wait, irq, softirq, steal = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
        busy = user + nice + system + irq + softirq + steal
        ours = sum(sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13])) for stat in self.own)
        return busy - ours, busy + idle + wait

    def share(self) -> float:
        others, all_ = (now - then for now, then in zip(self.ticks(), self.start))
        return max(0.0, others / all_) if all_ else 0.0


class Worker:
    """A process that answers one line of JSON with another."""

    def __init__(self, command: list, env: dict):
        self.name = Path(command[-1]).name
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=env,
                                        start_new_session=True)  # Ctrl-C is for the driver alone

    def ask(self, **command) -> dict:
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError as error:
            raise WorkerError(f"{self.name} is gone: {error}") from error
        if not line:
            raise WorkerError(f"{self.name} ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# What keeps slimgrad, and PyTorch with its libraries, to AVX2 on a processor that has more.
AVX2 = {"SLIMGRAD_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}


def environment(threads: int, pin: bool, coretype: str = "", isa: str = "") -> dict:
    """The surroundings of a worker: what a user set by hand for OpenBLAS, OpenMP or instruction sets does not
    count."""
    env = {key: value for key, value in os.environ.items()
           if key not in AVX2 and not key.startswith(("OMP_", "GOMP_", "OPENBLAS_", "MKL_"))}
    if isa == "avx2":
        env |= AVX2
    env["OMP_NUM_THREADS"] = str(threads)
    if pin:
        env["OMP_PROC_BIND"] = "true"
    if coretype:
        env["OPENBLAS_CORETYPE"] = coretype
    return env


@dataclass
class Sides:
    """How to start either side."""
    program: Path
    python: str = sys.executable
    torch: bool = True
    pin: bool = True
    isa: str = ""

    def slimgrad(self, threads: int, coretype: str = "") -> Worker:
        return Worker([self.program, "bench", "worker"], environment(threads, self.pin, coretype, self.isa))

    def rival(self, threads: int) -> Worker:
        return Worker([self.python, HERE / "rival.py"], environment(threads, self.pin, isa=self.isa))


@dataclass
class Contestant:
    """One way to do a case. `side` is the worker; PyTorch's contestants are checked against the slimgrad
    contestant `against` before they run."""
    name: str
    side: str
    options: dict
    case: str = ""
    against: str = ""


@dataclass
class Outcome:
    """Seconds of every repetition: contestant -> phase -> one figure a round."""
    seconds: dict = field(default_factory=dict)
    case: dict = field(default_factory=dict)
    flop_ratio: dict = field(default_factory=dict)  # vanilla's FLOPs / contestant's, of linear backward
    refused: dict = field(default_factory=dict)  # contestant -> why it was not timed
    rounds: int = 0
    others: float = 0.0  # share of the processors that other programs used meanwhile

    def document(self) -> dict:
        return {"case": self.case, "rounds": self.rounds, "flop_ratio": self.flop_ratio,
                "others": round(self.others, 3), "refused": self.refused, "seconds": self.seconds}


def spoil(file: Path, tensor: str) -> None:
    """Makes the first value of a tensor in a safetensors file wrong by 1."""
    data = bytearray(file.read_bytes())
    length = struct.unpack_from("<Q", data)[0]
    begin = 8 + length + json.loads(data[8:8 + length])[tensor]["data_offsets"][0]
    struct.pack_into("<f", data, begin, struct.unpack_from("<f", data, begin)[0] + 1)
    file.write_bytes(data)


def check_the_check(workers: dict, case: str = "step/tiny") -> None:
    """Raises WorkerError unless PyTorch's side agrees with slimgrad's and notices each result that is wrong."""
    with tempfile.TemporaryDirectory(prefix="slimgrad-bench-") as folder:
        file = Path(folder) / "step.safetensors"
        for wrong in ("", "out.y", "g.0.fc1.weight", "new.1.norm1.bias"):
            described = workers["slimgrad"].ask(do="prepare", id="check", case=case, record=str(file))["case"]
            if wrong:
                spoil(file, wrong)
            try:
                workers["torch"].ask(do="prepare", id="check", case=described, method="vanilla", record=str(file))
                noticed = False
            except WorkerError as error:
                if f"'{wrong}' differs" not in str(error):
                    raise
                noticed = True
            if noticed != bool(wrong):
                raise WorkerError(f"verification did not notice that '{wrong}' was wrong")
    for worker in workers.values():
        worker.ask(do="drop", id="check")


def prepare(case: str, contestants: list, workers: dict, outcome: Outcome) -> list:
    """Makes every workload; returns the contestants that may run."""
    ready, records, described = [], {}, {}
    with tempfile.TemporaryDirectory(prefix="slimgrad-bench-") as folder:
        for i, c in enumerate(contestants):
            try:
                if c.side != "torch":
                    record = str(Path(folder) / f"{i}.safetensors")
                    wanted = any(other.against == c.name for other in contestants)
                    answer = workers[c.side].ask(do="prepare", id=c.name, case=c.case or case, verify=True,
                                                 **({"record": record} if wanted else {}), **c.options)
                    described[c.name], records[c.name] = answer["case"], record
                    outcome.case = outcome.case or answer["case"]
                    outcome.flop_ratio[c.name] = answer["case"]["flop_ratio"]
                else:
                    workers["torch"].ask(do="prepare", id=c.name, case=described[c.against],
                                         record=records[c.against], **c.options)
                ready.append(c)
            except (WorkerError, KeyError) as error:
                outcome.refused[c.name] = str(error)
    return ready


def run(case: str, contestants: list, workers: dict, rounds: int, warmup: int, say) -> Outcome:
    """A contest. Ctrl-C ends it; the rounds that are complete stand, and `interrupted` is raised later by
    whoever looks at say.stopped."""
    outcome = Outcome()
    say(f"{case}: verifying")
    ready = prepare(case, contestants, workers, outcome)
    kept = {c.name: [] for c in ready}
    load = Load(workers.values())
    try:
        for turn in range(-warmup, rounds):
            say(f"{case}: " + (f"round {turn + 1} of {rounds}" if turn >= 0 else "warming up"))
            one, side = {}, None
            order = list(ready)
            random.Random(f"{case} {turn}").shuffle(order)  # nobody always follows the same one
            for c in order:
                if c.side != side and len(workers) > 1:
                    # The other side has filled the caches and the translation buffers: not timed.
                    time.sleep(PAUSE)
                    workers[c.side].ask(do="run", id=c.name)
                side = c.side
                one[c.name] = workers[c.side].ask(do="run", id=c.name)["seconds"]
            if turn >= 0:
                for name, seconds in one.items():
                    kept[name].append(seconds)
                outcome.rounds += 1
    except KeyboardInterrupt:
        say.stopped = True
    else:
        outcome.others = load.share()
        for c in ready:
            workers[c.side].ask(do="drop", id=c.name)
    for name, repetitions in kept.items():
        if outcome.rounds:
            phases = sorted({phase for seconds in repetitions for phase in seconds})
            outcome.seconds[name] = {phase: [round(s.get(phase, 0), 9) for s in repetitions[:outcome.rounds]]
                                     for phase in phases}
    return outcome
