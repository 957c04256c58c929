"""Everything at the size of a whole development test set, in one command.

    python -m tests.benchmarks.full_scale --folder FOLDER [--small | --one | --quarter] [--rows NAME ...] [--json OUT]

Makes the data in FOLDER (``full_scale_root``; once, some 20 GB and half an hour, going on where it was; ``--small``: a
few recordings, for tests; ``--one``: the longest recording, the shortest and 78 small ones, 2 GB;
``--quarter``: all 78, each a quarter as long, 4 GB) and measures each row
in a process of its own: seconds by the clock, seconds of processor (the process and its workers), the highest memory
(of the process, or of its largest worker if that is higher). Since
clocks tell little on a busy machine, each row has something to hold it against: the bytes to be read at 150 MB/s,
the plain version of the metrics (``literal_metrics``), real time, or the goal. Rows of pages start the app and speak
the player's protocol (``bench_load``); their processor time and memory are the server's. Caches are the benchmark's
own, in FOLDER, and empty at the first line of each row, except for "second evaluation", which follows the first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil

from tests.benchmarks.full_scale_root import (
    DENSE_SYSTEM,
    FULL,
    NEW_SYSTEM,
    ONE,
    QUARTER,
    SMALL,
    Plan,
    Size,
    make,
    plans,
)

if TYPE_CHECKING:
    from tests.benchmarks.bench_load import Client

REPOSITORY: Final = Path(__file__).resolve().parents[2]
READ_MB_S: Final[float] = 150.0
"""What a core is asked to read of JSON, or the disk if that is slower."""


@dataclass
class Measured:
    """One line of the table."""

    what: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mb: float = 0.0
    against: str = ""
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """Where the data of a measurement are."""

    folder: Path
    size: Size
    evaluated: int = 0
    patience_s: float = 3600.0

    def pairs(self, system: str) -> tuple[dict[str, Path], dict[str, Path]]:
        """Label and prediction files of the recordings that evaluations take: all, or so many of all lengths."""
        from sai_core.metrics.evaluation.discovery import find_pairs

        labels, predictions = find_pairs(self.root / "labels_dev", self.predictions(system))
        every = [plan.name for plan in plans(self.size, 0)]
        n = min(self.evaluated or len(every), len(every))
        # the middle ones of so many parts of the list by length
        names = [every[(2 * k + 1) * len(every) // (2 * n)] for k in range(n)]
        return {name: labels[name] for name in names}, {name: predictions[name] for name in names}

    @property
    def share(self) -> float:
        """How much of the set's prediction text evaluations take."""
        chosen = sum(path.stat().st_size for path in self.pairs("fao")[1].values())
        return chosen / sum(path.stat().st_size for path in self.predictions("fao").glob("*.json"))

    @property
    def root(self) -> Path:
        """The large root."""
        return self.folder / "root"

    @property
    def longest(self) -> Plan:
        """The recording with the largest label."""
        return plans(self.size, 0)[0]

    @property
    def shortest(self) -> Plan:
        """The last of the plan."""
        return plans(self.size, 0)[-1]

    def label(self, plan: Plan) -> Path:
        """Label file."""
        return self.root / "labels_dev" / plan.split / f"{plan.name}_std.json"

    def sound(self, plan: Plan) -> Path:
        """Sound file."""
        return self.root / "mic_dev" / plan.split / f"{plan.name}.wav"

    def predictions(self, system: str) -> Path:
        """Folder of a system."""
        return self.folder / NEW_SYSTEM if system == NEW_SYSTEM else self.root / "predictions" / system


Row = Callable[[Site], Iterator[Measured]]
ROWS: Final[dict[str, Row]] = {}
_OWN_CACHE: Final[frozenset[str]] = frozenset({"first evaluation"})
_SHARED_CACHE: Final[frozenset[str]] = frozenset({"second evaluation"})


def row(name: str) -> Callable[[Row], Row]:
    """Register a row."""

    def add(function: Row) -> Row:
        ROWS[name] = function
        return function

    return add


def _cpu_s(process: psutil.Process | None = None) -> float:
    """Processor time of a process, or of this one and its ended children."""
    if process is not None:
        times = process.cpu_times()
        return times.user + times.system
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime


def _peak_mb(pid: int | str = "self") -> float:
    """Highest resident memory of a process since :func:`_forget_peak`, MB of 10^6 bytes."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def _forget_peak(pid: int | str = "self") -> None:
    with suppress(OSError):  # not Linux, or not allowed: the peak is that of the whole life
        Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def measured(what: str, process: psutil.Process | None = None) -> Iterator[Measured]:
    """Measure a block; the peak is that of this process and its largest worker, or of ``process``."""
    result = Measured(what)
    pid = "self" if process is None else process.pid
    _forget_peak(pid)
    began, before = time.perf_counter(), _cpu_s(process)
    yield result
    result.wall_s, result.cpu_s = time.perf_counter() - began, _cpu_s(process) - before
    workers = 0.0 if process is not None else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    result.peak_mb = max(_peak_mb(pid), workers)


def _rss_mb(process: psutil.Process | None = None) -> float:
    return (process or psutil.Process()).memory_info().rss / 1e6


@row("label")
def _label(site: Site) -> Iterator[Measured]:
    from sai_core.annotations import read_annotations

    path = site.label(site.longest)
    mb = path.stat().st_size / 1e6
    path.read_bytes()  # in the disk's cache: what is measured is ours
    before = _rss_mb()
    with measured(f"read a label of {mb:.0f} MB, first time") as first:
        table = read_annotations(path)
    first.facts = {"MB/s of processor": mb / first.cpu_s, "peak over file": (first.peak_mb - before) / mb}
    first.against = f"bound {mb / READ_MB_S:.1f} s at {READ_MB_S:.0f} MB/s"
    n_points = table.n_points
    first.facts["million points"] = n_points / 1e6
    yield first
    del table
    with measured("the same again") as again:
        seconds = []
        for _ in range(20):
            began = time.perf_counter()
            read_annotations(path)
            seconds.append(1e3 * (time.perf_counter() - began))
    again.facts = {"ms, p50": float(np.median(seconds)), "MB kept": read_annotations(path).nbytes / 1e6}
    again.against = "goal 50 ms, 100 MB"
    yield again


@row("first evaluation")
def _first(site: Site) -> Iterator[Measured]:
    from sai_core.annotations.reading import read_annotations
    from sai_core.metrics import evaluate
    from tests.benchmarks.literal_metrics import literal_evaluate_0630

    labels, predictions = site.pairs("fao")
    name = list(labels)[-1]
    pair = [{name: read_annotations(f[name], recording=name, use_cache=False)} for f in (labels, predictions)]
    with measured("plain version, the shortest recording") as plain:
        literal_evaluate_0630(*pair)
    plain.facts = {"ms of processor a label": 1e3 * plain.cpu_s / len(pair[0][name])}
    yield plain
    with measured(f"first evaluation 06-30, {len(predictions)} recordings, two workers") as first:
        found = evaluate(labels, predictions, workers=2, allow_large=True)
    each = 1e3 * first.cpu_s / found.micro.n_labels
    first.facts = {
        "labels": found.micro.n_labels,
        "detections": found.micro.n_detections,
        "ms of processor a label": each,
        "cores used": first.cpu_s / first.wall_s,
    }
    first.facts["s of processor, whole set"] = first.cpu_s / site.share
    first.against = f"{plain.facts['ms of processor a label'] / each:.1f}x the plain version a core (goal 2)"
    yield first


@row("second evaluation")
def _second(site: Site) -> Iterator[Measured]:
    from sai_core.cache import clear
    from sai_core.metrics import evaluate

    labels, predictions = site.pairs(NEW_SYSTEM)
    for workers in (1, 2):
        clear("scores")  # rendered labels stay, and what the run before has found of this system does not
        with measured(f"another system, labels rendered before, {workers} worker{'s' * (workers > 1)}") as result:
            found = evaluate(labels, predictions, workers=workers, allow_large=True)
        n = found.micro.n_detections
        result.facts = {"detections": n, "cores used": result.cpu_s / result.wall_s}
        result.against = f"{result.cpu_s / n * 265_000:.0f} s of processor for 265,000 (goal 60 by the clock)"
        yield result


@row("growth")
def _growth(site: Site) -> Iterator[Measured]:
    """How an evaluation grows with the number of recordings, on small ones."""
    from sai_core.metrics import evaluate
    from sai_core.metrics.evaluation.discovery import find_pairs

    root = site.folder / "many"
    labels, predictions = find_pairs(root / "labels_dev", root / "predictions" / "fao")
    for n in (10, 40, 78, 300):
        names = sorted(labels)[:n]
        if len(names) < n:
            return
        chosen = [{name: files[name] for name in names} for files in (labels, predictions)]
        with measured(f"first evaluation of {n} recordings of two seconds, one worker") as result:
            evaluate(*chosen, workers=1, use_cache=False)
        result.facts = {"ms of processor a recording": 1e3 * result.cpu_s / n}
        yield result


@row("evaluation beside other work")
def _busy(site: Site) -> Iterator[Measured]:
    """Two workers, alone and while every core has other work: processor time must stay what it is."""
    from sai_core.metrics import evaluate

    labels, predictions = site.pairs("fao")
    names = [plan.name for plan in plans(site.size, 0)[-2:]]
    labels, predictions = ({n: f[n] for n in names} for f in (labels, predictions))
    alone: Measured | None = None
    for others in (0, os.cpu_count() or 1):
        spinning = [psutil.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
        spent = 0.0
        with measured(
            f"first evaluation of {len(names)} recordings, 2 workers, {others} busy programs beside"
        ) as result:
            try:
                evaluate(labels, predictions, workers=2, allow_large=True, use_cache=False)
            finally:
                for process in spinning:
                    spent += _cpu_s(process)
                    process.kill()
                    process.wait()
        result.cpu_s -= spent
        if alone is None:
            alone = result
        else:
            ratios = result.cpu_s / alone.cpu_s, result.wall_s / alone.wall_s
            result.against = (
                f"{ratios[0]:.2f}x the processor time alone (goal 1), {ratios[1]:.1f}x the clock (a fair share: 2)"
            )
        yield result


@row("features")
def _features(site: Site) -> Iterator[Measured]:
    seconds = site.longest.n_frames / 10
    out = site.folder / "maps.npz"
    with measured(f"features of {seconds:.0f} s") as result:
        _verb("features", str(site.sound(site.longest)), "--out", str(out), "--quiet")
    out.unlink()
    result.facts = {"x real time, clock": seconds / result.wall_s, "x real time a core": seconds / result.cpu_s}
    result.against = "goal 20x real time"
    yield result


@row("compress")
def _compress(site: Site) -> Iterator[Measured]:
    path = site.predictions(DENSE_SYSTEM) / f"{site.longest.name}.json"
    mb = path.stat().st_size / 1e6
    out = site.folder / "compressed.json"
    with measured(f"compress a submission of {mb:.0f} MB") as result:
        _verb("compress", str(path), "--out", str(out), "--quiet")
    result.facts = {"MB/s": mb / result.wall_s, "MB written": out.stat().st_size / 1e6}
    result.against = f"goal {mb / 5:.0f} s (900 MB in 3 minutes), 1,000 MB"
    out.unlink()
    yield result


@row("video")
def _video(site: Site) -> Iterator[Measured]:
    seconds = site.longest.n_frames / 10
    out = site.folder / "video.mp4"
    with measured(f"video of {seconds:.0f} s") as result:
        plan = site.longest
        _verb(
            *("video", "--data", str(site.root), "--recording", plan.name, "--split", plan.split),
            *("--predictions", "fao", "--out", str(out), "--quiet"),
        )
    out.unlink()
    result.facts = {"x real time": seconds / result.wall_s, "s of processor a second": result.cpu_s / seconds}
    result.against = "goal 5x real time"
    yield result


@row("review")
def _review(site: Site) -> Iterator[Measured]:
    from tests.benchmarks.bench_load import Page, serve

    n = sum(site.size.recordings)
    with ExitStack() as stack:
        port, server = stack.enter_context(serve(site.folder / "workspace"))
        Page(stack, port, "", {}).run()  # the demo: what is loaded at the first page of all
        with measured(f"Review of {n} recordings, nothing read before: first items", server) as first:
            page = Page(stack, port, "review", {"root": str(site.root)})
            page.run()
            while not page.components:
                time.sleep(0.2)
                page.run(fragments=True)
        first.against = "goal 5 s"
        yield first
        with measured("until all are searched", server) as rest:
            while page.fragments:
                time.sleep(0.5)
                page.run(fragments=True)
        rest.facts = {"server MB afterwards": _rss_mb(server)}
        yield rest


@row("tune")
def _tune(site: Site) -> Iterator[Measured]:
    """Slider to figures, by the bench that the Tune page uses: stand-in raw detections, 50 candidates a frame."""
    from sai_core.metrics.evaluation.discovery import find_labels
    from sai_core.tuning import find_raw_sets, open_raw_set
    from tests.benchmarks.bench_tuning import timed, walk
    from tests.tuning.stand_in import write_root

    n_most = sum(site.size.recordings)
    folder = site.folder / "tune"
    if not folder.exists():
        write_root(folder, n_recordings=n_most, n_frames=round(10 * site.size.total_s / n_most / 16), per_frame=50)
    [raw] = find_raw_sets([folder / "predictions"])
    labels = find_labels(folder / "labels_dev")
    for n, goal in ((10, ""), (20, "goal p95 500 ms"), (40, ""), (78, "goal p95 2 s")):
        if n > n_most:
            return
        names = sorted(labels)[:n]
        tuning_set = open_raw_set(raw.stores, labels, recordings=names)
        path = walk(21)
        tuning_set.evaluate(path[0])
        with measured(f"Tune, {n} recordings: slider to figures, 20 steps") as result:
            times = timed(tuning_set, path[1:])
        candidates = sum(len(r.prepared.raw) for r in tuning_set.recordings)
        result.facts = {
            "ms, p50": float(np.median(times)),
            "ms, p95": float(np.percentile(times, 95)),
            "candidates": candidates,
            "us of processor a candidate": 1e6 * result.cpu_s / 20 / candidates,
        }
        result.against = goal
        yield result


@row("explorer")
def _explorer(site: Site) -> Iterator[Measured]:
    from tests.benchmarks.bench_load import Client, serve

    plan, rng = site.longest, np.random.default_rng(0)
    query = {"root": str(site.root), "rec": f"{plan.split}/{plan.name}", "a": "fao"}
    mb = site.label(plan).stat().st_size / 1e6
    with ExitStack() as stack:
        port, server = stack.enter_context(serve(site.folder / "workspace"))
        Client(stack, port, {}).ask(0)  # the demo: what is loaded at the first page of all
        with measured(f"Explorer, label of {mb:.0f} MB never read: until the first picture", server) as first:
            client = Client(stack, port, query)
        first.facts = {"server MB afterwards": _rss_mb(server)}
        first.against = "goal 2 s"
        yield first
        with measured("until its first two seconds can be played", server) as block:
            client.ask(0)
        yield block
        with measured("until its labels and predictions are there, too", server) as read:
            client.wait_for_annotations()
        read.facts = {"server MB afterwards": _rss_mb(server)}
        read.against = f"{mb / READ_MB_S:.1f} s at {READ_MB_S:.0f} MB/s"
        yield read
        with measured("the same recording in another browser", server) as again:
            Client(stack, port, query).ask(0)
        again.against = "goal 50 ms to read"
        yield again
        with measured("another system", server) as other:
            Client(stack, port, {**query, "a": "or-ao"}).ask(0)
        yield other
        neighbour = Client(stack, port, {**query, "rec": f"{site.shortest.split}/{site.shortest.name}"})
        neighbour.ask(0)
        with (
            measured("12 random places of its video, until the picture, while both are compared", server) as jumps,
            _steps(neighbour) as steps,
        ):
            frames = rng.permutation(np.arange(20, 20 * client.n_blocks - 20))[:12].tolist()
            seconds = [client.see(int(k)) for k in frames]
        jumps.facts = {
            "s, p50": float(np.median(seconds)),
            "s, p95": float(np.percentile(seconds, 95)),
            "ms a kept block in another browser, p50": float(np.median(steps)),
            "ms, p95": float(np.percentile(steps, 95)),
        }
        jumps.against = "goal p95 100 ms of the other"
        yield jumps


@contextmanager
def _steps(client: Client) -> Iterator[list[float]]:
    """Ask for a block that is there, again and again, while something else is done; milliseconds of each."""
    taken: list[float] = []
    over = threading.Event()

    def step() -> None:
        while not over.wait(0.2):
            taken.append(1e3 * client.ask(0))

    thread = threading.Thread(target=step)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()


def _twenty(site: Site) -> Path:
    """The root if it has twenty recordings; else one with the longest under twenty names, by hard links."""
    if sum(site.size.recordings) >= 20:
        return site.root
    root, name = site.folder / "twenty", site.longest.name
    for path in sorted(site.root.rglob(f"{name}*")):
        for k in range(20):
            link = root / path.relative_to(site.root).with_name(path.name.replace(name, f"{name[:-3]}{k:03d}", 1))
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.link(path, link)
    return root


@row("recordings in turn")
def _in_turn(site: Site) -> Iterator[Measured]:
    from sai_core.dataset import open_data_root
    from tests.benchmarks.bench_load import Client, serve

    root = _twenty(site)
    chosen = open_data_root(root).recordings[:20]
    with ExitStack() as stack:
        port, server = stack.enter_context(serve(site.folder / "workspace"))
        seconds, grown = [], []
        with measured(f"{len(chosen)} recordings opened in turn in the Explorer, three places each", server) as result:
            for recording in chosen:
                began = time.perf_counter()
                with ExitStack() as one:
                    query = {"root": str(root), "rec": f"{recording.split}/{recording.name}", "a": "fao"}
                    client = Client(one, port, query)
                    client.wait_for_annotations()
                    for block in (0, client.n_blocks // 2, client.n_blocks - 1):
                        client.see(20 * block)
                        client.ask(block)
                seconds.append(time.perf_counter() - began)
                grown.append(_rss_mb(server))
        result.facts = {
            "s each, p50": float(np.median(seconds)),
            "server MB after 5": grown[min(4, len(grown) - 1)],
            "after 10": grown[min(9, len(grown) - 1)],
            "after the last": grown[-1],
        }
        result.against = "goal 1,500 MB"
        yield result


@row("home")
def _home(site: Site) -> Iterator[Measured]:
    yield from _pages(site, [("Home, first", ""), ("Home, again", "")])


@row("pages")
def _other_pages(site: Site) -> Iterator[Measured]:
    names = [("Dataset, first", "dataset"), ("Dataset, again", "dataset"), ("Tune", "tune"), ("Review", "review")]
    yield from _pages(site, [*names, ("Explorer, to the first picture", "explorer")])


def _pages(site: Site, pages: list[tuple[str, str]]) -> Iterator[Measured]:
    """Time until pages on the root with many recordings are shown, one after the other."""
    from tests.benchmarks.bench_load import Client, Page, serve

    query = {"root": str(site.folder / "many")}
    with ExitStack() as stack:
        port, server = stack.enter_context(serve(site.folder / "workspace"))
        Page(stack, port, "", {}).run()  # the demo: what is loaded at the first page of all
        for what, page in pages:
            with measured(f"{what}, {site.size.many} recordings", server) as result:
                if page == "explorer":
                    Client(stack, port, query)
                else:
                    Page(stack, port, page, query).run()
            result.against = "goal 1 s"
            yield result


@row("scores")
def _scores(site: Site) -> Iterator[Measured]:
    """All systems of the root at once, with a recording open in the Explorer meanwhile."""
    from tests.benchmarks.bench_load import Client, Page, serve

    plan = site.shortest
    with ExitStack() as stack:
        port, server = stack.enter_context(serve(site.folder / "workspace"))
        player = Client(stack, port, {"root": str(site.root), "rec": f"{plan.split}/{plan.name}", "a": "fao"})
        player.ask(0)
        steps = []
        with measured(f"Scores with {len(list((site.root / 'predictions').iterdir()))} systems", server) as result:
            page = Page(stack, port, "scores", {"root": str(site.root)})
            began = time.perf_counter()
            first_table = 0.0
            while time.perf_counter() - began < site.patience_s:
                page.run(fragments=True)
                if page.tables and not first_table:
                    first_table = time.perf_counter() - began
                steps.append(1e3 * player.ask(0))
                if not page.fragments:
                    break
                time.sleep(0.5)
        result.facts = {
            "done": float(not page.fragments),
            "s to first table": first_table,
            "ms a kept block meanwhile, p50": float(np.median(steps)),
            "ms, p95": float(np.percentile(steps, 95)),
            "server MB afterwards": _rss_mb(server),
        }
        result.against = "goal first table 2 s, 1,500 MB, block p95 100 ms"
        yield result


def _verb(*arguments: str) -> None:
    """A verb as a user calls it: a process of its own."""
    subprocess.run(
        [sys.executable, "-m", "sai_core", *arguments], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL
    )


def measure(site: Site, rows: list[str]) -> list[Measured]:
    """Each row in a fresh process with its cache; a row that fails is a line that says so."""
    results = []
    for name in rows:
        shared = name in _OWN_CACHE | _SHARED_CACHE
        cache = site.folder / ("cache-evaluations" if shared else "cache")
        if name not in _SHARED_CACHE:
            shutil.rmtree(cache, ignore_errors=True)
        environment = {
            **os.environ,
            "SAI_CACHE_DIR": str(cache),
            "SAI_WORKSPACE": str(site.folder / "workspace"),
        }
        command = [sys.executable, "-m", "tests.benchmarks.full_scale", "--folder", str(site.folder), "--child", name]
        command += [] if site.size is FULL else [f"--{site.size.name}"]
        command += ["--evaluated", str(site.evaluated), "--patience", str(site.patience_s)]
        print(f"measuring: {name} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        results += [Measured(**json.loads(line)) for line in lines]
        # at once, since the rows that follow may take an hour
        print("\n".join(lines), file=sys.stderr, flush=True)
        if done.returncode:
            results.append(Measured(name, against=f"FAILED with exit code {done.returncode}"))
        if not shared:
            shutil.rmtree(cache, ignore_errors=True)
    return results


def table(results: list[Measured]) -> str:
    """The results as Markdown."""
    lines = [
        "| what | clock s | processor s | peak MB | figures | held against |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        facts = ", ".join(
            f"{value:,.4g} {name}" if value < 1e4 else f"{value:,.0f} {name}" for name, value in r.facts.items()
        )
        lines.append(f"| {r.what} | {r.wall_s:.2f} | {r.cpu_s:.2f} | {r.peak_mb:,.0f} | {facts} | {r.against} |")
    return "\n".join(lines)


def machine() -> str:
    """What it ran on."""
    memory = psutil.virtual_memory().total / 1e9
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB of memory, Python {platform.python_version()}; "
        f"load average {', '.join(f'{v:.1f}' for v in os.getloadavg())}"
    )


def main() -> int:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="a few recordings of seconds")
    size.add_argument("--one", action="store_true", help="the longest recording, the shortest, and 78 small ones")
    size.add_argument("--quarter", action="store_true", help="78 recordings, each a quarter as long")
    parser.add_argument("--rows", nargs="*", choices=sorted(ROWS), default=list(ROWS))
    parser.add_argument("--evaluated", type=int, default=0, metavar="N", help="evaluate N of all lengths only (all)")
    parser.add_argument("--patience", type=float, default=3600.0, metavar="S", help="look at Scores for S seconds")
    parser.add_argument("--make-only", action="store_true", help="measure nothing")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--child", choices=sorted(ROWS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    chosen = [size for size in (SMALL, ONE, QUARTER) if getattr(args, size.name)]
    site = Site(args.folder.resolve(), chosen[0] if chosen else FULL, args.evaluated, args.patience)
    if args.child:
        from sai_core.threads import limit_blas

        limit_blas()
        for result in ROWS[args.child](site):
            print(json.dumps(asdict(result)), flush=True)
        return 0
    make(site.folder, site.size, progress=lambda line: print(line, file=sys.stderr, flush=True))
    if args.make_only:
        return 0
    results = measure(site, args.rows)
    text = f"{machine()}\n\n{table(results)}\n"
    print(text)
    if args.json:
        args.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    if args.markdown:
        args.markdown.write_text(text)
    return int(any(r.against.startswith("FAILED") for r in results))


if __name__ == "__main__":
    raise SystemExit(main())
