"""Regions by the code that makes labels: the frame's intensity field, a Gaussian at the candidate's direction, cut.

The field comes from a field decoder (:mod:`sai_core.detector.field`) and is shared by all candidates of a frame; a
candidate gives the direction alone. What is written are the pixels that the evaluator reads, as by every other export
(:mod:`sai_core.postprocess.export`), with the energies that a label would have there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sai_core.geometry import ERP_HEIGHT, ERP_WIDTH, directions_to_vectors, fibonacci_lattice_deg
from sai_core.labelling.regions import AMPLITUDE_THRESHOLD, GAUSSIAN_SIGMA_DEG, Part, official_regions, standardise
from sai_core.postprocess.export import Regions, evaluator_pixels, write_pixels

Float64 = npt.NDArray[np.float64]

_CHUNK: Final[int] = 4096
"""Candidates whose strengths are found at once: 16 MB."""

_ENOUGH: Final[float] = 0.5
"""An evaluator's pixel belongs to a part if at least so much of the four label pixels around it does."""


def field_regions(
    field: npt.NDArray[np.floating],
    frame: npt.NDArray[np.integer],
    azimuth_deg: Float64,
    elevation_deg: Float64,
) -> tuple[npt.NDArray[np.int64], Regions]:
    """Regions that label code forms of a predicted field.

    Parameters
    ----------
    field : floating, shape (n_frames, 484)
        Natural logarithm of the intensity.
    frame : int, shape (n,)
        Of each candidate.
    azimuth_deg, elevation_deg : float64, shape (n,)
        Of each candidate.

    Returns
    -------
    formed : int64, shape (m,)
        Places of the candidates that have a region: where the field stays under the threshold of labels, there is none.
    regions : Regions
        Theirs; its rows are places in ``formed``.
    """
    formed: list[int] = []
    pieces: list[tuple[npt.NDArray[np.int64], ...]] = []
    energies: list[Float64] = []
    for place, (when, azimuth, elevation) in enumerate(
        zip(frame.tolist(), azimuth_deg.tolist(), elevation_deg.tolist(), strict=True)
    ):
        parts = official_regions(np.exp(field[when].astype(np.float64)), azimuth, elevation)
        sampled = [_sampled(part) for part in parts]
        if not any(len(energy) for _, _, energy in sampled):
            continue
        for number, (column, row, energy) in enumerate(sampled, start=1):
            owner = np.full(len(energy), len(formed), dtype=np.int64)
            pieces.append((owner, np.full_like(owner, number), column, row))
            energies.append(energy)
        formed.append(place)
    owner, part, column, row = (
        np.concatenate([np.zeros(0, dtype=np.int64), *(piece[k] for piece in pieces)]) for k in range(4)
    )
    energy = np.concatenate([np.zeros(0), *energies])
    return np.asarray(formed, dtype=np.int64), write_pixels(owner, part, column, row, energy, n=len(formed))


def field_strength(
    field: npt.NDArray[np.floating],
    frame: npt.NDArray[np.integer],
    azimuth_deg: Float64,
    elevation_deg: Float64,
) -> Float64:
    """What a label at some directions would show at most: the largest product of intensity and Gaussian, (n,).

    Parameters
    ----------
    field : floating, shape (n_frames, 484)
        Natural logarithm of the intensity.
    frame : int, shape (n,)
    azimuth_deg, elevation_deg : float64, shape (n,)

    Notes
    -----
    At the points of the lattice and with angles on the sphere, where a label is formed between its points and with
    angles on the canvas: close to the poles the two differ.
    """
    strength = np.zeros(len(frame))
    for part, shown in _shown(field, frame, azimuth_deg, elevation_deg):
        strength[part] = np.exp(shown.max(axis=1))
    return strength


@dataclass(frozen=True, eq=False)
class LabelFacts:
    """What a label at a direction would be like, by the points of the lattice; one value for each direction.

    Attributes
    ----------
    strength : float64, shape (n,)
        As of :func:`field_strength`.
    points : int64, shape (n,)
        Points of the lattice that reach the threshold of labels.
    height : float64, shape (n,)
        Mean natural logarithm of these points above the threshold; 0 where there is none.
    """

    strength: Float64
    points: npt.NDArray[np.int64]
    height: Float64


def label_facts(
    field: npt.NDArray[np.floating],
    frame: npt.NDArray[np.integer],
    azimuth_deg: Float64,
    elevation_deg: Float64,
) -> LabelFacts:
    """Strength, size and height of labels at some directions; parameters as of :func:`field_strength`."""
    strength, height = np.zeros(len(frame)), np.zeros(len(frame))
    points = np.zeros(len(frame), dtype=np.int64)
    for part, shown in _shown(field, frame, azimuth_deg, elevation_deg):
        strength[part] = np.exp(shown.max(axis=1))
        above = np.maximum(shown - np.log(AMPLITUDE_THRESHOLD), 0.0)
        points[part] = (above > 0).sum(axis=1)
        height[part] = above.sum(axis=1) / np.maximum(points[part], 1)
    return LabelFacts(strength, points, height)


def _shown(
    field: npt.NDArray[np.floating], frame: npt.NDArray[np.integer], azimuth_deg: Float64, elevation_deg: Float64
) -> Iterator[tuple[slice, Float64]]:
    """Natural logarithm of intensity times Gaussian at the points of the lattice, (rows, 484), a piece at a time."""
    lattice = directions_to_vectors(*fibonacci_lattice_deg())
    towards = directions_to_vectors(azimuth_deg, elevation_deg)
    for first in range(0, len(frame), _CHUNK):
        part = slice(first, first + _CHUNK)
        angle = np.degrees(np.arccos(np.clip(towards[part] @ lattice.T, -1.0, 1.0)))
        yield part, field[frame[part]].astype(np.float64) - 0.5 * (angle / GAUSSIAN_SIGMA_DEG) ** 2


def _sampled(part: Part) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float64]:
    """Evaluator's columns and rows of a part of a label, and its energies there, between the label's pixels."""
    pixels, amplitude = part[0].astype(np.int64), standardise(part[1])
    left, top = pixels.min(axis=0)
    width, height = pixels.max(axis=0) - (left, top) + 1
    # one more on the far sides: between the last pixel and the next one there is half of a pixel
    image, inside = np.zeros((height + 1, width + 1)), np.zeros((height + 1, width + 1))
    x, y = pixels[:, 0] - left, pixels[:, 1] - top
    image[y, x], inside[y, x] = amplitude, 1.0
    column, row, at_x, at_y = evaluator_pixels(left, top, min(left + width, ERP_WIDTH), min(top + height, ERP_HEIGHT))
    at_x, at_y = at_x - left, at_y - top
    x0, y0 = np.floor(at_x).astype(np.int64).clip(0, width - 1), np.floor(at_y).astype(np.int64).clip(0, height - 1)
    fx, fy = at_x - x0, at_y - y0
    share, value = np.zeros(len(column)), np.zeros(len(column))
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (fx if dx else 1.0 - fx) * (fy if dy else 1.0 - fy)
        share += weight * inside[y0 + dy, x0 + dx]
        value += weight * image[y0 + dy, x0 + dx]
    enough = share >= _ENOUGH
    return column[enough], row[enough], value[enough] / share[enough]
