"""Accuracy of the shipped UpLAM weights on held-out rooms, beside what the same four capsules give without learning.

Run with ``python -m tests.benchmarks.bench_uplam_accuracy``; it renders the scenes, prints the tables and rewrites them
and the picture in ``docs/uplam.md``. ``--sounds DIR`` also plays real recordings (any folder of WAV, FLAC or OGG);
``--scenes N`` sets the number of rooms a cell (24), ``--dry`` leaves the documentation alone.

Every method sees the same frames and is read by the same peak rule (see ``tests.benchmarks.held_out_rooms``).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import torch
from scipy import signal

from sai_core.acoustics import rigid_sphere
from sai_core.acoustics.audio_input import resample_to_24k
from sai_core.acoustics.beamformer import plane_wave_steering, steered_response
from sai_core.acoustics.features import SHIPPED_UPLAM
from sai_core.acoustics.networks import LAM, load_lam32, load_uplam
from sai_core.acoustics.projection import to_canvas
from sai_core.acoustics.visibility import FEATURE_CENTRES_HZ, Recipe, official_bins, visibility_tensors
from sai_core.geometry import (
    SAMPLES_PER_FRAME,
    UPLAM_CAPSULES,
    direction_to_pixel,
    directions_to_vectors,
    em32_positions_m,
    fibonacci_lattice_deg,
)
from tests.benchmarks.held_out_rooms import HeldOutScene, Tally, held_out_scene, merged, score

REPOSITORY = Path(__file__).resolve().parents[2]
LAM32 = REPOSITORY / ".." / "shared" / "oracle" / "lam" / "lam_32_ch.pth"
DOCUMENT = REPOSITORY / "docs" / "uplam.md"
PICTURE = REPOSITORY / "docs" / "images" / "uplam.png"
SNRS_DB = (0.0, 10.0, 20.0, 30.0)
FOUR = list(UPLAM_CAPSULES)
FREQUENCY_HZ = np.array([50.0 * sum(official_bins(c)) for c in FEATURE_CENTRES_HZ])

OURS = "**UpLAM, shipped weights, precedence** (4 ch)"
SINGLE = "UpLAM, shipped weights, single frames (4 ch)"

Kind = Recipe | Literal["five frames"]
"""What the matrices are made from; "five frames": the report's recipe, averaged with triangular weights, to compare."""

Method = Callable[[HeldOutScene], np.ndarray]


@dataclass(frozen=True)
class Cell:
    """Scenes of one condition."""

    n_sources: int
    snr_db: float
    anechoic: bool
    scenes: tuple[HeldOutScene, ...]


# ---------------------------------------------------------------------------------------------------------- methods
def _matrices(scene: HeldOutScene, channels: list[int] | None = None, recipe: Kind = "official") -> torch.Tensor:
    audio = torch.tensor(scene.audio if channels is None else np.ascontiguousarray(scene.audio[:, channels]))
    if recipe != "five frames":
        return visibility_tensors(audio, recipe=recipe).matrices
    single = visibility_tensors(audio, recipe="report").matrices
    padded = torch.cat([torch.zeros_like(single[:2]), single, torch.zeros_like(single[:2])])
    around = sum(share * padded[k : k + len(single)] for k, share in enumerate((1 / 3, 2 / 3, 1.0, 2 / 3, 1 / 3)))
    assert isinstance(around, torch.Tensor)
    return around / torch.linalg.eigvalsh(around)[..., -1, None, None].clamp_min(1e-12)


def _beamformer(channels: list[int] | None, rigid: bool, recipe: Recipe = "official") -> Method:
    if rigid:
        steering = rigid_sphere.steering(*fibonacci_lattice_deg(), FREQUENCY_HZ)
        steering = steering if channels is None else steering[:, channels]
        # sensors in the sphere's shadow hear less: without this the map would favour directions that are heard louder
        steering = steering / np.linalg.norm(steering, axis=1, keepdims=True)
    else:
        capsules = None if channels is None else tuple(channels)
        # each band at its own wavelength; LAM's single one fits the highest band only and misleads four channels
        steering = np.stack([plane_wave_steering(capsules, wavelength_m=343.0 / f) for f in FREQUENCY_HZ])

    def maps(scene: HeldOutScene) -> np.ndarray:
        return steered_response(_matrices(scene, channels, recipe), steering).mean(dim=1).numpy()

    return maps


def _uplam(path: Path, rule: str = "mean", recipe: Kind = "official") -> Method:
    model = load_uplam(path)

    def maps(scene: HeldOutScene) -> np.ndarray:
        with torch.inference_mode():
            latent = model(_matrices(scene, FOUR, recipe))
        return (latent.mean(dim=1) if rule == "mean" else latent.median(dim=1).values).numpy()

    return maps


def _lam32(model: LAM) -> Method:
    def maps(scene: HeldOutScene) -> np.ndarray:
        with torch.inference_mode():
            return model(_matrices(scene), psd="none").mean(dim=1).numpy()

    return maps


def _rigid_spectrum(kind: str, recipe: Recipe = "official") -> Method:
    steering = rigid_sphere.steering(*fibonacci_lattice_deg(), FREQUENCY_HZ)[:, FOUR]
    unit = torch.tensor(steering / np.linalg.norm(steering, axis=1, keepdims=True)).to(torch.complex64)

    def maps(scene: HeldOutScene) -> np.ndarray:
        values, basis = torch.linalg.eigh(_matrices(scene, FOUR, recipe))
        values = values.clamp_min(0.0)
        seen = (basis.mH @ unit).abs().square()  # (frames, bands, eigenvectors, points)
        if kind == "capon":
            loaded = values + 0.05 * values.sum(dim=-1, keepdim=True) + 1e-12
            power = 1.0 / (seen / loaded[..., None]).sum(dim=2)
        else:
            # told how many sources there are (at most three: one noise direction must remain)
            count = min(scene.azimuth_deg.shape[1], 3)
            power = 1.0 / seen[:, :, : 4 - count].sum(dim=2).clamp_min(1e-6)
        return power.clamp_min(1e-12).log().mean(dim=1).numpy()

    return maps


def _library(name: str) -> Method:
    """SRP-PHAT or MUSIC of pyroomacoustics, free-field steering (it knows no rigid sphere), same band and lattice."""
    import pyroomacoustics

    kind = {"srp": pyroomacoustics.doa.SRP, "music": pyroomacoustics.doa.MUSIC}[name]
    grid = pyroomacoustics.doa.GridSphere(cartesian_points=directions_to_vectors(*fibonacci_lattice_deg()).T)
    positions = em32_positions_m()[FOUR].T
    size, hop = 512, 128

    def maps(scene: HeldOutScene) -> np.ndarray:
        count = min(scene.azimuth_deg.shape[1], 3)
        finder = kind(positions, 24_000, size, c=343.0, num_src=count, dim=3, n_grid=8)
        finder.grid = grid
        finder.mode_vec = pyroomacoustics.doa.doa.ModeVector(positions, 24_000, size, 343.0, grid, mode="far")
        out = []
        for frame in scene.audio[:, FOUR].reshape(-1, SAMPLES_PER_FRAME, 4):
            _, _, spectra = signal.stft(frame.T, nperseg=size, noverlap=size - hop, boundary=None, padded=False)
            finder.locate_sources(spectra, freq_range=[1500.0, 4500.0])
            out.append(np.array(finder.grid.values, dtype=np.float64))
        return np.stack(out)

    return maps


def methods(weights: Path) -> dict[str, Method]:
    found: dict[str, Method] = {
        OURS: _uplam(weights, recipe="precedence"),
        SINGLE: _uplam(weights),
        "the same, median over bands": _uplam(weights, "median"),
        "UpLAM, report's recipe, single frames (4 ch)": _uplam(weights, recipe="report"),
        "UpLAM, report's recipe, averaged over five frames (4 ch)": _uplam(weights, recipe="five frames"),
        "(a) steered response, plane waves (4 ch)": _beamformer(FOUR, rigid=False),
        "(a) steered response, rigid sphere (4 ch)": _beamformer(FOUR, rigid=True),
        "(b) SRP-PHAT, pyroomacoustics (4 ch)": _library("srp"),
        "(b) MUSIC, pyroomacoustics, count known (4 ch)": _library("music"),
        "MUSIC, rigid sphere, count known (4 ch)": _rigid_spectrum("music"),
        "minimum variance, rigid sphere (4 ch)": _rigid_spectrum("capon"),
        "(c) beamformer, plane waves (32 ch)": _beamformer(None, rigid=False),
        "(c) beamformer, rigid sphere (32 ch)": _beamformer(None, rigid=True),
        "precedence, steered response, rigid sphere (4 ch)": _beamformer(FOUR, rigid=True, recipe="precedence"),
        "precedence, minimum variance, rigid sphere (4 ch)": _rigid_spectrum("capon", recipe="precedence"),
        "precedence, beamformer, rigid sphere (32 ch)": _beamformer(None, rigid=True, recipe="precedence"),
    }
    if LAM32.exists():
        found["(c) LAM-32, published checkpoint (32 ch)"] = _lam32(load_lam32(LAM32))
    return found


# ----------------------------------------------------------------------------------------------------------- scenes
def render(n_scenes: int, seed: int, sounds: list[np.ndarray] | None = None) -> list[Cell]:
    cells = []
    plan = [(1, 20.0, True)] + [(n, snr, False) for n in (1, 2, 3) for snr in SNRS_DB]
    for index, (n_sources, snr, anechoic) in enumerate(plan):
        scenes = []
        for number in range(n_scenes):
            rng = np.random.default_rng((seed, index, number))
            rt60 = (0.0, 0.0) if anechoic else (0.2, 0.8)
            scenes.append(held_out_scene(rng, n_sources=n_sources, snr_db=snr, rt60_s=rt60, sounds=sounds))
        cells.append(Cell(n_sources, snr, anechoic, tuple(scenes)))
    return cells


def read_sounds(folder: Path) -> list[np.ndarray]:
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".wav", ".flac", ".ogg", ".oga")):
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
        mono = resample_to_24k(samples.mean(axis=1, keepdims=True), rate)[:, 0]
        if mono.size > 2400 and np.any(mono):
            found.append(mono / np.abs(mono).max())
    return found


def tallies(cells: list[Cell], found: dict[str, Method]) -> dict[str, list[list[Tally]]]:
    """Per method, per cell, per scene."""
    result: dict[str, list[list[Tally]]] = {}
    for name, method in found.items():
        start = time.perf_counter()
        result[name] = [
            [score(method(s), s.azimuth_deg, s.elevation_deg, s.counted) for s in cell.scenes] for cell in cells
        ]
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    return result


# ----------------------------------------------------------------------------------------------------------- tables
def _pick(cells: list[Cell], per_cell: list[list[Tally]], wanted: Callable[[Cell], bool]) -> list[Tally]:
    return [t for cell, scenes in zip(cells, per_cell, strict=True) if wanted(cell) for t in scenes]


def main_table(cells: list[Cell], result: dict[str, list[list[Tally]]]) -> str:
    lines = [
        "| method | anechoic: median | reverberant: median | p90 | within 20° | recall, 2 sources | recall, 3 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, per_cell in result.items():
        dry = merged(_pick(cells, per_cell, lambda c: c.anechoic))
        one = merged(_pick(cells, per_cell, lambda c: not c.anechoic and c.n_sources == 1))
        two = merged(_pick(cells, per_cell, lambda c: c.n_sources == 2))
        three = merged(_pick(cells, per_cell, lambda c: c.n_sources == 3))
        lines.append(
            f"| {name} | {dry.median():.1f}° | {one.median():.1f}° | {one.p90():.0f}° | {one.recall(1):.2f} "
            f"| {two.recall(2):.2f} | {three.recall(3):.2f} |"
        )
    return "\n".join(lines)


def snr_table(cells: list[Cell], result: dict[str, list[list[Tally]]]) -> str:
    heads = [f"{snr:.0f} dB" for snr in SNRS_DB]
    lines = [
        "| method | "
        + " | ".join(f"1 source, {h}: median / p90" for h in heads)
        + " | "
        + " | ".join(f"2 sources, {h}" for h in heads)
        + " |",
        "| --- |" + " --- |" * (2 * len(heads)),
    ]
    for name, per_cell in result.items():
        row = [name]
        for snr in SNRS_DB:
            one = merged(
                _pick(cells, per_cell, lambda c, s=snr: not c.anechoic and c.n_sources == 1 and c.snr_db == s)  # type: ignore[misc]
            )
            row.append(f"{one.median():.1f}° / {one.p90():.0f}°")
        for snr in SNRS_DB:
            two = merged(_pick(cells, per_cell, lambda c, s=snr: c.n_sources == 2 and c.snr_db == s))  # type: ignore[misc]
            row.append(f"{two.recall(2):.2f}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _figures(tallies_one: list[Tally], tallies_two: list[Tally], tallies_three: list[Tally]) -> np.ndarray:
    one, two, three = merged(tallies_one), merged(tallies_two), merged(tallies_three)
    return np.array([one.median(), one.p90(), one.recall(1), two.recall(2), three.recall(3)])


def goal_table(cells: list[Cell], result: dict[str, list[list[Tally]]], ours: str) -> str:
    """Share of the way from the best of (a), (b) to the 32-channel beamformer, with bootstrap intervals over rooms."""
    rivals = [n for n in result if n.startswith(("(a)", "(b)"))]
    target = "(c) beamformer, plane waves (32 ch)"
    groups = [
        lambda c: not c.anechoic and c.n_sources == 1,
        lambda c: c.n_sources == 2,
        lambda c: c.n_sources == 3,
    ]
    per_group = {n: [_pick(cells, result[n], g) for g in groups] for n in (ours, target, *rivals)}

    def shares(pick: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        at = {
            n: _figures(*([scenes[i] for i in p] for scenes, p in zip(g, pick, strict=True)))
            for n, g in per_group.items()
        }
        stack = np.stack([at[n] for n in rivals])
        best = np.concatenate([stack[:, :2].min(axis=0), stack[:, 2:].max(axis=0)])
        return at[ours], best, at[target], (at[ours] - best) / (at[target] - best)

    sizes = [len(scenes) for scenes in per_group[ours]]
    mine, best, goal, share = shares([np.arange(n) for n in sizes])
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws = np.stack([shares([rng.integers(n, size=n) for n in sizes])[3] for _ in range(300)])
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    labels = [
        "median error, 1 source",
        "90th percentile, 1 source",
        "within 20°, 1 source",
        "recall, 2 sources",
        "recall, 3 sources",
    ]
    lines = [
        "| reverberant rooms | best of (a), (b) | UpLAM | 32 channels | share of the way (95 % interval) | halfway? |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for i, label in enumerate(labels):
        form = "{:.1f}°" if i < 2 else "{:.2f}"
        lines.append(
            f"| {label} | {form.format(best[i])} | {form.format(mine[i])} | {form.format(goal[i])} "
            f"| {100 * share[i]:.0f} % ({100 * low[i]:.0f} to {100 * high[i]:.0f}) "
            f"| {'yes' if share[i] >= 0.5 else 'no'} |"
        )
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------------- picture
def picture(cells: list[Cell], result: dict[str, list[list[Tally]]], found: dict[str, Method], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [OURS, SINGLE, "(c) beamformer, rigid sphere (32 ch)"]
    figure, axes = plt.subplots(2, 3, figsize=(12, 5.6), height_ratios=(1, 1.15))
    scene = next(c for c in cells if c.n_sources == 2 and c.snr_db == 20.0).scenes[1]
    frame = int(np.argmax(scene.counted.sum(axis=1)))
    for axis, name in zip(axes[0], shown, strict=True):
        field = to_canvas(found[name](scene)[frame].astype(np.float32)[None], grid="great_circle")[0]
        axis.imshow(field / field.max(), cmap="magma", vmin=0, vmax=1, extent=(180, -180, -90, 90), aspect="auto")
        for k in np.flatnonzero(scene.counted[frame]):
            x, y = direction_to_pixel(scene.azimuth_deg[frame, k], scene.elevation_deg[frame, k])
            axis.plot(180 - int(x), 90 - int(y), "o", ms=11, mfc="none", mec="#7fe3ff", mew=2)
        axis.set_title(name.replace("**", ""), fontsize=10)
        axis.set(xticks=(180, 90, 0, -90, -180), yticks=(-90, 0, 90))
        axis.set_xlabel("azimuth (degrees)", fontsize=8)
    axes[0, 0].set_ylabel("elevation (degrees)", fontsize=8)
    rivals = [
        "(a) steered response, rigid sphere (4 ch)",
        "(b) SRP-PHAT, pyroomacoustics (4 ch)",
        "(b) MUSIC, pyroomacoustics, count known (4 ch)",
    ]
    lines = [*shown, *rivals]
    colours = ("#d1495b", "#e8a0a8", "#222222", "#30638e", "#66a182", "#edae49")
    for axis, snrs in zip(axes[1, :2], ((0.0, 10.0), (20.0, 30.0)), strict=True):
        for name, colour in zip(lines, colours, strict=True):
            wanted = _pick(cells, result[name], lambda c, s=snrs: not c.anechoic and c.n_sources == 1 and c.snr_db in s)  # type: ignore[misc]
            error = np.sort(merged(wanted).errors_deg)
            axis.plot(error, np.arange(1, error.size + 1) / error.size, color=colour, label=name.replace("**", ""))
        axis.set(xlim=(0, 90), ylim=(0, 1), xlabel="error of the strongest peak (degrees)", ylabel="share of frames")
        axis.set_title(f"one source, T60 0.2-0.8 s, SNR {snrs[0]:.0f} and {snrs[1]:.0f} dB", fontsize=10)
        axis.grid(alpha=0.3)
    axes[1, 0].legend(fontsize=7, loc="lower right")
    axis = axes[1, 2]
    for offset, count in ((-0.2, 2), (0.2, 3)):
        recall = [merged(_pick(cells, result[n], lambda c, k=count: c.n_sources == k)).recall(count) for n in lines]  # type: ignore[misc]
        axis.bar(np.arange(len(lines)) + offset, recall, 0.38, color=colours, alpha=1.0 if count == 2 else 0.55)
    axis.set_xticks(
        range(len(lines)),
        ["UpLAM,\nprecedence", "UpLAM,\nsingle", "beam-\nformer 32", "steered\n4 ch", "SRP-\nPHAT", "MUSIC"],
        fontsize=7,
    )
    axis.set(ylim=(0, 1), ylabel="recall within 20°")
    axis.set_title("two (dark) and three (light) sources", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": ""})
    plt.close(figure)


def write_block(name: str, text: str) -> None:
    """Replace what stands between the two markers of a block in the document."""
    first, last = f"<!-- {name}: made by bench_uplam_accuracy -->", f"<!-- end of {name} -->"
    content = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = content.partition(first)
    _, _, after = rest.partition(last)
    DOCUMENT.write_text(f"{before}{first}\n{text}\n{last}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHIPPED_UPLAM)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=20_261)
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--dry", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = methods(args.weights)
    runs: list[tuple[str, list[np.ndarray] | None]] = [("synthesised", None)]
    if args.sounds:
        runs.append(("real", read_sounds(args.sounds)))
    for kind, sounds in runs:
        start = time.perf_counter()
        cells = render(args.scenes, args.seed + (sounds is not None), sounds)
        print(f"{kind} sounds: {sum(len(c.scenes) for c in cells)} rooms in {time.perf_counter() - start:.0f} s")
        result = tallies(cells, found)
        blocks = {
            "figures": main_table(cells, result),
            "goal": goal_table(cells, result, OURS),
            "goal of single frames": goal_table(cells, result, SINGLE),
            "snr": snr_table(cells, result),
        }
        for name, text in blocks.items():
            print(f"\n{text}\n")
            if not args.dry:
                write_block(f"{kind} {name}", text)
        if not args.dry and kind == "synthesised":
            picture(cells, result, found, PICTURE)


if __name__ == "__main__":
    main()
