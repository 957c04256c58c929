"""STAIRS26 energy labels from 32-channel Eigenmike audio and DCASE metadata.

The recipe (domain notes, section 5): visibilities in nine bands -> non-negative intensity on the 484-point lattice
(:mod:`~sai_core.labelling.apgd`) -> median over bands (:mod:`~sai_core.labelling.intensity`) -> linear interpolation
onto the canvas (:mod:`~sai_core.labelling.interpolation`) -> per metadata row (:mod:`~sai_core.labelling.regions`) a
Gaussian around its direction -> threshold -> filled external contours -> every pixel with its amplitude -> a sigmoid.
``docs/labels.md`` has each step's figures, and what the official code does that its description does not say.

Conventions
-----------
* Bands are centred on 1500, 1875 ... 4500 Hz: not the bands of the detector's features.
* Steering vectors use one wavelength for all bands, ``speed of sound / (4500 Hz + 500 Hz)`` with the 340.5 m/s of
  ``scipy.constants``: again not those of the features, whose highest band is lower.
* Intensities are interpolated on the *projection grid* (azimuth ``linspace(180, -180, 360)``, elevation
  ``linspace(90, -90, 180)``), the Gaussian and the written pixels are on the *label grid*: official, up to one pixel
  apart. ``official_quirks=False`` uses the centres of label-grid pixels for both.

References
----------
``AudibleLight/starss_acoustic_images`` @ 06f2fb4 (facts and figures only).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sai_core.acoustics.visibility import LABEL_CENTRES_HZ
from sai_core.annotations.table import AnnotationTable
from sai_core.labelling.apgd import ApgdOptions
from sai_core.labelling.intensity import LabelAudio, Precision, bands_held, median_over_bands, open_audio, solve_blocks
from sai_core.labelling.regions import FloatArray, Part, corrected_regions, official_regions, standardise
from sai_core.progress import Progress, no_progress

if TYPE_CHECKING:
    from sai_core.annotations import DcaseMetadata


@dataclass(frozen=True, eq=False)
class StairsLabels:
    """Labels of a recording and what became of each metadata row.

    Attributes
    ----------
    table : AnnotationTable
        Standardised label, energies in [0, 1]; label grid.
    raw : AnnotationTable
        The same regions with unstandardised amplitudes.
    n_frames : int
        Whole 100 ms frames of the audio.
    n_rows_beyond_audio : int
        Metadata rows at or after frame ``n_frames``: they have no label, as in the official code.
    n_rows_without_region : int
        Rows whose weighted map stays under the threshold everywhere (too quiet, or only lone pixels).
    n_repeated : int
        Annotations that repeat the one before because the region has several parts (official quirk).
    dtype : {"float64", "float32"}
        Precision that it was made in.
    notes : tuple of str
        Sentences on what was done to the audio: resampled, clipped, samples that are no numbers (silenced), bands that
        it does not hold; and on what float32 costs.
    """

    table: AnnotationTable
    raw: AnnotationTable
    n_frames: int
    n_rows_beyond_audio: int
    n_rows_without_region: int
    n_repeated: int
    dtype: Precision
    notes: tuple[str, ...]


def label_recording(
    audio: LabelAudio,
    metadata: DcaseMetadata,
    *,
    recording: str,
    sample_rate_hz: float | None = None,
    official_quirks: bool = True,
    dtype: Precision = "float64",
    device: str = "auto",
    options: ApgdOptions | None = None,
    progress: Progress = no_progress,
) -> StairsLabels:
    """Make the STAIRS26 label of one recording, standardised and raw.

    Parameters
    ----------
    audio : array of shape (n_samples, 32), path, or AudioInput
        Eigenmike capsules, capsule 1 first; any scale. A path or an :class:`AudioInput` is read block by block, so
        that a long recording stays on disk.
    metadata : DcaseMetadata
        One row per source and frame. Rows after the end of the audio get no label.
    recording : str
        Name of the recording, for the table and for messages.
    sample_rate_hz : float, optional
        Of an array; 24000 if left out. Other rates are resampled, and the notes say so.
    official_quirks : bool
        True: agree with the official code to the pixel. False: every row once, one grid, no holes at seam and poles
        (:func:`corrected_regions`). The intensities are the same.
    dtype : {"float64", "float32"}
        Precision of visibilities and solver. float64 agrees with the official code to 1e-11; in float32 a rounding
        can end an iteration earlier or later, and the chain of frames carries that on (``docs/labels.md``).
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    options : ApgdOptions, optional
        Solver settings; official when left out.
    progress : Progress, optional
        Called with the share of frames done; may raise ``CancelledError``.

    Returns
    -------
    StairsLabels
        Annotations sorted by frame, file order within a frame.

    Raises
    ------
    InputError
        Not 32 channels, no sound file.
    EnvironmentProblem
        The device cannot be used.
    """
    source = open_audio(audio, sample_rate_hz)
    n_frames = len(source)
    order = np.argsort(metadata.frame, kind="stable")
    order = order[metadata.frame[order] < n_frames]
    frames = metadata.frame[order]
    held = bands_held(source)
    builder = _TableBuilder(recording)
    without_region = repeated = done = 0
    cut = official_regions if official_quirks else corrected_regions
    # frames after the last row need no solution: nothing is written for them
    needed = int(frames[-1]) + 1 if frames.size else 0
    for first, block in solve_blocks(source, needed, dtype=dtype, device=device, options=options, progress=progress):
        maps = median_over_bands(block, held).astype(np.float64)
        stop = int(np.searchsorted(frames, first + block.shape[0]))
        for row in order[done:stop]:
            frame = int(metadata.frame[row])
            parts = cut(maps[frame - first], float(metadata.azimuth_deg[row]), float(metadata.elevation_deg[row]))
            if not parts:
                without_region += 1
                continue
            # official: the list of parts is written once per part
            copies = len(parts) if official_quirks else 1
            repeated += copies - 1
            for _ in range(copies):
                builder.add(
                    frame,
                    int(metadata.category_id[row]),
                    int(metadata.source_id[row]),
                    float(metadata.distance_cm[row]),
                    parts,
                )
        done = stop
    progress(1.0, "labelled")
    table, raw = builder.tables()
    return StairsLabels(
        table=table,
        raw=raw,
        n_frames=n_frames,
        n_rows_beyond_audio=int(metadata.frame.shape[0] - order.shape[0]),
        n_rows_without_region=without_region,
        n_repeated=repeated,
        dtype=dtype,
        notes=(*source.notes(), *_notes(held, dtype)),
    )


def _notes(held: npt.NDArray[np.bool_], dtype: Precision) -> tuple[str, ...]:
    notes = []
    if not held.all():
        gone = [f"{hz:.0f}" for hz, there in zip(LABEL_CENTRES_HZ, held, strict=True) if not there]
        notes.append(
            f"The recording holds nothing of the bands at {', '.join(gone)} Hz: the median is over the other "
            f"{int(held.sum())} bands, so the label is not comparable with one of 24 kHz."
        )
    if dtype == "float32":
        notes.append(
            "Solved in float32: on ill-conditioned frames, energies may be off by some thousandths and a region by a "
            "few pixels (float64 is exact)."
        )
    return tuple(notes)


class _TableBuilder:
    """Collects annotations and turns them into the standardised and the raw table, which share their columns."""

    def __init__(self, recording: str) -> None:
        self._recording = recording
        self._columns: list[tuple[int, int, int, float, int]] = []
        self._pixels: list[npt.NDArray[np.int16]] = []
        self._amplitudes: list[FloatArray] = []

    def add(self, frame: int, category_id: int, instance_id: int, distance_cm: float, parts: list[Part]) -> None:
        self._columns.append((frame, category_id, instance_id, distance_cm, len(parts)))
        for pixels, amplitude in parts:
            self._pixels.append(pixels)
            self._amplitudes.append(amplitude)

    def tables(self) -> tuple[AnnotationTable, AnnotationTable]:
        if not self._columns:
            return AnnotationTable.empty(self._recording), AnnotationTable.empty(self._recording)
        frame, category, instance, distance, n_parts = zip(*self._columns, strict=True)
        sizes = [a.shape[0] for a in self._amplitudes]
        amplitude = np.concatenate(self._amplitudes)
        raw = AnnotationTable(
            recording=self._recording,
            frame=np.array(frame, dtype=np.int32),
            category_id=np.array(category, dtype=np.int16),
            instance_id=np.array(instance, dtype=np.int64),
            distance_cm=np.array(distance, dtype=np.float64),
            score=np.full(len(frame), np.nan),
            polygon_offsets=np.concatenate([[0], np.cumsum(n_parts)]),
            point_offsets=np.concatenate([[0], np.cumsum(sizes)]),
            points_xy=np.concatenate(self._pixels).astype(np.float64),
            energy=amplitude,
        )
        standard = AnnotationTable(
            recording=self._recording,
            frame=raw.frame,
            category_id=raw.category_id,
            instance_id=raw.instance_id,
            distance_cm=raw.distance_cm,
            score=raw.score,
            polygon_offsets=raw.polygon_offsets,
            point_offsets=raw.point_offsets,
            points_xy=raw.points_xy,
            energy=standardise(amplitude),
        )
        return standard, raw
