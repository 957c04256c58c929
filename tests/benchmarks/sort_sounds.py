"""Recordings of many packages, sorted into the 13 classes by a tagger, beside those chosen by name.

    python -m tests.benchmarks.recorded_sounds --packages packages --out sounds --by-package
    python -m tests.benchmarks.sort_sounds --packages packages --sounds sounds --tagger WHEEL [--tags tags]

``packages`` are unpacked as for :mod:`tests.benchmarks.recorded_sounds`: those, and any others with recordings that one
may learn from (``apt-file search -x '\\.(wav|ogg|flac)$'`` lists them). WHEEL is the unpacked wheel of
:mod:`tests.benchmarks.tagger`. Every recording of a package that is not tested with is heard once (what was heard is
kept in ``--tags``) and linked into ``sounds/train/CLASS/PACKAGE`` where its name says a class and the tagger does not
object, or the tagger is sure of one (:data:`RULES`). Some are wrong all the same: nobody listened to them.
Voices are women's or men's by the median of their fundamental frequency (:data:`WOMEN_HZ`, :data:`MEN_HZ`; children
and what lies between are left out), and not of packages whose voices were chosen by name.

Left out, and counted: what sounds like a file of ``sounds/test`` (other packages hold copies: the same length within
3 % and a cosine of the tagger's means above 0.98), what is shorter than a class's least length, and more than
:data:`MOST` files of a package and class. What the choice by names took stays, and is reported with the share of its
files of which the tagger hears the class: single steps and claps it hardly knows.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import gcd
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from sai_core.files import atomic_write
from tests.benchmarks.recorded_sounds import PATTERNS, TESTED, excerpt, licences_of, packages_of
from tests.benchmarks.tagger import RATE_HZ, Tagger

HEARD_S: Final[float] = 6.0
"""Of the beginning of a file."""

MOST: Final[int] = 40
"""Files of a package and class."""

MOST_HEARD: Final[int] = 160
"""Files of a package that are heard; of more, a sample with a fixed seed, and those of :data:`PROMISING` names."""

PROMISING: Final[re.Pattern[str]] = re.compile(
    "laugh|giggl|chuckl|knock|door|gate|step|walk|foot|run|faucet|tap|water|pour|shower|sink|drip|splash|bell|chime|ding|"
    "phone|ring|applau|clap|crowd|vacuum|dish|cutler|typ|drawer|paper|broom|cup|plate|glass|fry|cook|wood|creak|squeak|"
    "open|close|slam|lock|tick",
    re.IGNORECASE,
)

ENDINGS: Final[frozenset[str]] = frozenset((".wav", ".ogg", ".oga", ".flac", ".mp3", ".aif", ".aiff", ".au", ".opus"))
MEN_HZ: Final[tuple[float, float]] = (70.0, 150.0)
WOMEN_HZ: Final[tuple[float, float]] = (185.0, 300.0)
VOICES_HZ: Final[tuple[float, float]] = (60.0, 400.0)
SURE: Final[float] = 0.6
"""From this score on the tagger alone decides."""

CONTRADICTS: Final[float] = 0.3
"""A score of a class from which on a recording is of no other."""

LEAST_HEARD: Final[float] = 0.2
"""From this score on a file counts as heard as its class."""

VOICES: Final[tuple[str, ...]] = ("female_speech", "male_speech")

SORTED: Final[str] = "s_"
"""With which the names of links begin that were not chosen by name."""

CLASS_FOLDERS: Final[tuple[str, ...]] = tuple(PATTERNS)
SAME_MEANS: Final[float] = 0.98
SAME_LENGTH: Final[float] = 0.03


@dataclass(frozen=True)
class Rule:
    """What makes a recording one of a class: a name, and a tagger that does not object, or a tagger that is sure."""

    names: tuple[str, ...]
    """Classes of the tagger, of which one must be heard."""
    words: str
    """Of file names."""
    least: float = SURE
    least_named: float = 0.2
    """The same where the name says it."""
    unless: tuple[str, ...] = ()
    """Classes of the tagger, all of which must be fainter than :data:`CONTRADICTS`."""
    seconds: tuple[float, float] = (0.08, 20.0)


_VOICE = ("Speech", "Conversation", "Narration, monologue")
_NOT_INDOORS = ("Vehicle", "Engine", "Explosion", "Gunshot, gunfire", "Animal", "Wind", "Rain", "Thunder", "Sine wave")
_NOISES = ("Music", "Speech", *_NOT_INDOORS)
RULES: Final[dict[str, Rule]] = {
    "laughter": Rule(
        ("Laughter", "Giggle", "Belly laugh", "Chuckle, chortle", "Snicker"), "laugh|giggl|chuckl", unless=("Music",)
    ),
    "clapping": Rule(
        ("Clapping", "Applause", "Hands"), "clap(?!per)|applau", least_named=0.05, unless=("Rain", "Fire", "Explosion")
    ),
    "telephone": Rule(
        ("Telephone", "Telephone bell ringing", "Ringtone"),
        "phone|ringtone|incoming.?call|call.?incoming|^ring",
        unless=("Siren", "Vehicle", "Speech"),
    ),
    "domestic_sounds": Rule(
        (
            "Dishes, pots, and pans", "Cutlery, silverware", "Chopping (food)", "Frying (food)", "Blender",
            "Vacuum cleaner", "Hair dryer", "Typing", "Computer keyboard", "Typewriter", "Writing", "Toilet flush",
            "Toothbrush", "Electric toothbrush", "Scissors", "Zipper (clothing)", "Keys jangling", "Coin (dropping)",
            "Shuffling cards", "Drawer open or close", "Cupboard open or close", "Mechanical fan", "Sewing machine",
            "Microwave oven", "Boiling", "Chink, clink",
        ),
        "vacuum|dishes|cutlery|typing|typewr|drawer|toilet|flush|coin|shuffle|fry|boil|blender|scissor|zipper|glass",
        unless=_NOISES,
    ),
    "walk_footsteps": Rule(("Walk, footsteps",), "foot.?step|step|walk", least_named=0.0, unless=_NOISES),
    "door_open_close": Rule(
        ("Door", "Sliding door", "Slam", "Squeak", "Knock", "Creak"), "door|gate(?!way)|slam", 0.7, 0.05, _NOISES
    ),
    "water_tap": Rule(
        ("Water tap, faucet", "Sink (filling or washing)", "Bathtub (filling or washing)", "Fill (with liquid)",
         "Pour", "Trickle, dribble", "Stream", "Water"),
        "water|faucet|pour|fountain|stream|river|trickle|shower|sink",
        unless=("Music", "Speech", "Rain", "Ocean", "Explosion"),
        seconds=(0.4, 120.0),
    ),
    "bell": Rule(
        ("Bell", "Church bell", "Jingle bell", "Bicycle bell", "Chime", "Wind chime", "Doorbell", "Ding-dong", "Ding",
         "Tubular bells"),
        "bell|chime|^ding",
        unless=("Speech", "Piano", "Guitar", "Telephone", *_NOT_INDOORS),
    ),
    "knock": Rule(("Knock",), "knock", unless=("Music", "Speech", "Explosion", "Gunshot, gunfire")),
}  # fmt: skip
"""In order of precedence. Speech, music and instruments follow: there are thousands."""

_INSTRUMENTS = (
    "Guitar", "Piano", "Electric piano", "Organ", "Harpsichord", "Marimba, xylophone", "Vibraphone", "Brass instrument",
    "Trumpet", "Trombone", "French horn", "Violin, fiddle", "Cello", "Double bass", "Flute", "Saxophone", "Clarinet",
    "Harp", "Harmonica", "Accordion", "Bagpipes", "Banjo", "Mandolin", "Sitar", "Ukulele", "Bass guitar",
)  # fmt: skip
LEAST_VOICE: Final[float] = 0.85
LEAST_MUSIC: Final[float] = 0.8
LEAST_INSTRUMENT: Final[float] = 0.5
MUSIC_S: Final[float] = 12.0
"""Pieces as long as this are music; a single instrument may be shorter."""


@dataclass(frozen=True)
class Heard:
    """What was heard of a package's recordings."""

    files: tuple[str, ...]
    """Below the package's folder."""
    scores: NDArray[np.float32]
    """(files, 521)"""
    means: NDArray[np.float32]
    """(files, 1024)"""
    pitch_hz: NDArray[np.float32]
    """Median of voiced frames; 0 where less than five are."""
    seconds: NDArray[np.float32]
    unreadable: int
    """Files that libsndfile does not read, or that hold nothing."""


def mono(path: Path) -> tuple[NDArray[np.float32], float]:
    """The beginning of a recording at 16 kHz, channels averaged, and its whole length in seconds.

    Raises ``soundfile.LibsndfileError``.
    """
    with soundfile.SoundFile(path) as stream:
        rate, seconds = stream.samplerate, stream.frames / stream.samplerate
        samples = stream.read(int(HEARD_S * rate), dtype="float32", always_2d=True).mean(axis=1)
    if rate != RATE_HZ and len(samples):
        shared = gcd(rate, RATE_HZ)
        samples = resample_poly(samples, RATE_HZ // shared, rate // shared).astype(np.float32)
    return samples, seconds


def fundamental_hz(samples: NDArray[np.float32]) -> float:
    """Median fundamental frequency of voiced frames, by autocorrelation; 0 where less than five are voiced."""
    length, hop = 1024, 320
    if len(samples) < length:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]
    power = np.square(frames).mean(axis=1)
    frames = frames[power > 0.02 * power.max()]
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(frames, 2 * length, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)[:, :length]
    correlation /= (correlation[:, :1] + 1e-12) * (1.0 - np.arange(length) / length)
    first, last = int(RATE_HZ / VOICES_HZ[1]), int(RATE_HZ / VOICES_HZ[0])
    found = []
    for row in correlation[:, first:last]:
        best = row.max()
        if best < 0.6:
            continue
        # the shortest period that is nearly as good: twice a period is one as well
        peaks = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] >= row[2:]) & (row[1:-1] > 0.85 * best)) + 1
        found.append(RATE_HZ / (first + (int(peaks[0]) if len(peaks) else int(row.argmax()))))
    return float(np.median(found)) if len(found) >= 5 else 0.0


def recordings_of(package: Path) -> list[Path]:
    """Files with the endings of recordings."""
    return sorted(p for p in package.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file() and not p.is_symlink())


def to_be_heard(package: Path) -> list[Path]:
    """The recordings of a package; of a large one a sample (:data:`MOST_HEARD`)."""
    found = recordings_of(package)
    if len(found) <= MOST_HEARD:
        return found
    promising = [p for p in found if PROMISING.search(p.stem)]
    others = [p for p in found if not PROMISING.search(p.stem)]
    return sorted(_at_most(MOST_HEARD, promising) + _at_most(MOST_HEARD, others))


def _at_most(most: int, files: Sequence[Path]) -> list[Path]:
    return list(files) if len(files) <= most else random.Random(1).sample(list(files), most)


def hear(files: Sequence[Path], below: Path, tagger: Tagger) -> Heard:
    """Hear files, those that cannot be read counted."""
    names, scores, means, pitch, seconds = [], [], [], [], []
    for path in files:
        try:
            samples, length = mono(path)
        except (soundfile.LibsndfileError, OSError):
            continue
        if len(samples) < RATE_HZ // 20 or np.abs(samples).max() < 1e-3:
            continue
        score, mean = tagger.hear(samples)
        names.append(str(path.relative_to(below)))
        scores.append(score)
        means.append(mean)
        pitch.append(fundamental_hz(samples))
        seconds.append(length)
    return Heard(
        tuple(names),
        np.array(scores, np.float32).reshape(-1, len(tagger.names)),
        np.array(means, np.float32).reshape(-1, tagger.last.in_features),
        np.array(pitch, np.float32),
        np.array(seconds, np.float32),
        len(files) - len(names),
    )


def heard_of(package: Path, tags: Path, tagger: Tagger) -> Heard:
    """What is heard of a package: heard before, or now and kept."""
    kept = tags / f"{package.name}.npz"
    if kept.exists():
        with np.load(kept) as file:
            return Heard(
                tuple(str(name) for name in file["files"]),
                file["scores"].astype(np.float32),
                file["means"].astype(np.float32),
                file["pitch_hz"],
                file["seconds"],
                int(file["unreadable"]),
            )
    heard = hear(to_be_heard(package), package, tagger)
    with atomic_write(kept) as stream:
        np.savez(
            stream,
            files=np.array(heard.files, dtype=str),
            scores=heard.scores.astype(np.float16),
            means=heard.means.astype(np.float16),
            pitch_hz=heard.pitch_hz,
            seconds=heard.seconds,
            unreadable=heard.unreadable,
        )
    return heard


def hear_all(packages: Mapping[str, Path], tags: Path, wheel: Path, processes: int) -> dict[str, Heard]:
    """What is heard of packages, in processes of one thread each."""
    with ProcessPoolExecutor(processes, initializer=_ready, initargs=(wheel,)) as pool:
        names = sorted(packages)
        return dict(zip(names, pool.map(partial(_hear_package, tags=tags), [packages[n] for n in names]), strict=True))


_tagger: list[Tagger] = []


def _ready(wheel: Path) -> None:
    torch.set_num_threads(1)
    _tagger.append(Tagger(wheel))


def _hear_package(package: Path, tags: Path) -> Heard:
    return heard_of(package, tags, _tagger[0])


def class_of(stem: str, scores: NDArray[np.float32], pitch_hz: float, seconds: float, names: Mapping[str, int]) -> str:
    """The class of a recording by its name and the tagger, or nothing.

    ``scores`` (521,) from 0 to 1, ``names`` the place of each of its classes.
    """

    def best(of: Sequence[str]) -> float:
        return max((float(scores[names[name]]) for name in of), default=0.0)

    def holds(rule: Rule, least: float) -> bool:
        within = rule.seconds[0] <= seconds <= rule.seconds[1]
        return within and best(rule.names) >= least and best(rule.unless) < CONTRADICTS

    says = [name for name, rule in RULES.items() if re.search(rule.words, stem, re.IGNORECASE)]
    if says:
        return next((name for name in says if holds(RULES[name], RULES[name].least_named)), "")
    for name, rule in RULES.items():
        if holds(rule, rule.least):
            return name
    if best(_VOICE) >= LEAST_VOICE and best(("Music", "Singing", "Child speech, kid speaking")) < 0.3:
        if MEN_HZ[0] <= pitch_hz <= MEN_HZ[1]:
            return "male_speech"
        return "female_speech" if WOMEN_HZ[0] <= pitch_hz <= WOMEN_HZ[1] else ""
    if best(("Music",)) < LEAST_MUSIC or best(_VOICE) >= 0.3:
        return ""
    if seconds >= MUSIC_S:
        return "music"
    return "musical_instrument" if best(_INSTRUMENTS) >= LEAST_INSTRUMENT else ""


def hears(name: str, scores: NDArray[np.float32], names: Mapping[str, int]) -> float:
    """How sure the tagger is of a class, women and men taken as one."""
    if name in RULES:
        of: Sequence[str] = RULES[name].names
    else:
        of = {"music": ("Music",), "musical_instrument": ("Musical instrument", *_INSTRUMENTS)}.get(name, _VOICE)
    return max(float(scores[names[n]]) for n in of)


@dataclass
class Sorted:
    """Files that were sorted, and what became of the others."""

    files: dict[tuple[str, str], list[str]]
    """By class and package, below the package's folder."""
    copies: int
    """Left out because they sound like a file of ``sounds/test``."""
    unreadable: int
    unsure: int
    too_many: int


def sort_out(heard: Mapping[str, Heard], tested: Heard, names: Mapping[str, int], by_name: Collection[str]) -> Sorted:
    """Sort what was heard of packages, by class and package; voices of packages in ``by_name`` are known by name."""
    found = Sorted({}, 0, 0, 0, 0)
    known = _directions(tested.means)
    for package in sorted(heard):
        what = heard[package]
        found.unreadable += what.unreadable
        classes: defaultdict[str, list[str]] = defaultdict(list)
        near = _directions(what.means) @ known.T > SAME_MEANS
        for number, file in enumerate(what.files):
            length = what.seconds[number]
            name = class_of(Path(file).stem, what.scores[number], float(what.pitch_hz[number]), float(length), names)
            if not name or (name in VOICES and package in by_name):
                found.unsure += 1
            elif (near[number] & (np.abs(tested.seconds - length) <= SAME_LENGTH * length)).any():
                found.copies += 1
            else:
                classes[name].append(file)
        for name, files in classes.items():
            kept = sorted(_sample(files))
            found.too_many += len(files) - len(kept)
            found.files[name, package] = kept
    return found


def _directions(means: NDArray[np.float32]) -> NDArray[np.float32]:
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)


def _sample(files: Sequence[str]) -> list[str]:
    return list(files) if len(files) <= MOST else random.Random(1).sample(list(files), MOST)


def link_all(found: Sorted, packages: Mapping[str, Path], sounds: Path) -> int:
    """Link what was sorted into ``train``; music is cut as elsewhere. Number of files that were not there before."""
    new = 0
    for (name, package), files in found.files.items():
        folder = sounds / "train" / name / package
        there = {path.resolve() for path in folder.glob("*")} if folder.exists() else set()
        for number, file in enumerate(files):
            path = packages[package] / file
            if path.resolve() in there:
                continue
            link = folder / f"{SORTED}{number:03d}_{path.stem.replace(' ', '_')}{path.suffix.lower()}"
            folder.mkdir(parents=True, exist_ok=True)
            if name == "music":
                excerpt(path, link.with_suffix(".wav"))
            elif not link.is_symlink():
                link.symlink_to(path.resolve())
            new += 1
    return new


def files_of_side(sounds: Path, side: str) -> list[Path]:
    """Recordings below ``sounds/SIDE/CLASS/PACKAGE``."""
    return sorted(path for path in (sounds / side).glob("*/*/*") if path.is_file())


def check(heard: Heard, names: Mapping[str, int]) -> dict[str, list[float]]:
    """How sure the tagger is of the classes of files below ``CLASS/PACKAGE``, by class."""
    sure: defaultdict[str, list[float]] = defaultdict(list)
    for file, scores in zip(heard.files, heard.scores, strict=True):
        name = Path(file).parts[0]
        sure[name].append(hears(name, scores, names))
    return sure


def main(arguments: Sequence[str] | None = None) -> None:
    """Sort, link and print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--sounds", type=Path, required=True, help="as recorded_sounds --by-package made it")
    parser.add_argument("--tagger", type=Path, required=True)
    parser.add_argument("--tags", type=Path, help="what was heard before (SOUNDS/tags)")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args(arguments)
    tags = chosen.tags or chosen.sounds / "tags"
    torch.set_num_threads(1)
    tagger = Tagger(chosen.tagger)
    names = {name: number for number, name in enumerate(tagger.names)}
    sounds: Path = chosen.sounds
    tested = hear(files_of_side(sounds, "test"), sounds / "test", tagger)
    _print_check("test, chosen by name", check(tested, names))
    by_name = [p for p in files_of_side(sounds, "train") if not p.name.startswith(SORTED)]
    _print_check("train, chosen by name", check(hear(by_name, sounds / "train", tagger), names))
    roots = {name: path for name, path in packages_of(chosen.packages).items() if name not in TESTED}
    voices = {path.parts[-2] for path in by_name if path.parts[-3] in VOICES}
    found = sort_out(hear_all(roots, tags, chosen.tagger, chosen.processes), tested, names, voices)
    unheard = sum(len(recordings_of(path)) - len(to_be_heard(path)) for path in roots.values())
    new = link_all(found, roots, sounds)
    print(
        f"\nOf {len(roots)} packages {new} recordings more; left out: {found.unsure} of no class by name and "
        f"tagger, {found.too_many} beyond {MOST} of a package and class, {found.copies} that sound like a tested one, "
        f"{found.unreadable} unreadable or empty, {unheard} beyond the sample of a large package."
    )
    counts: Counter[tuple[str, str]] = Counter(
        (path.parts[-3], path.parts[-2]) for path in files_of_side(sounds, "train")
    )
    print("\n| train: class | files | of packages |\n| --- | --- | --- |")
    for name in CLASS_FOLDERS:
        there = {package: n for (c, package), n in sorted(counts.items()) if c == name}
        print(f"| {name} | {sum(there.values())} | {', '.join(f'{p} {n}' for p, n in there.items())} |")
    print("\n| package | licences |\n| --- | --- |")
    for package in sorted({package for _, package in counts}):
        print(f"| {package} | {licences_of(roots[package]) if package in roots else 'of the installed package'} |")


def _print_check(title: str, sure: Mapping[str, Sequence[float]]) -> None:
    print(f"\n| {title} | files | heard as their class |\n| --- | --- | --- |")
    for name in CLASS_FOLDERS:
        if name in sure:
            print(f"| {name} | {len(sure[name])} | {np.mean([s >= LEAST_HEARD for s in sure[name]]):.2f} |")


if __name__ == "__main__":
    main()
