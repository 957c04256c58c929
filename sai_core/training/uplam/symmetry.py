"""The tetrahedron's 24 symmetries: each frame of training data is good for 24.

The four UpLAM capsules are the corners of a regular tetrahedron on a sphere (to a quarter of a degree: the em32's
colatitudes are whole degrees). A rotation or reflection that maps the corners onto each other maps the sphere onto
itself, so what the capsules would hear of the turned scene is what they hear of the scene, exchanged. The matrix is
permuted exactly; the 32-channel map, known at lattice points only, is read between them (linearly within triangles).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import ConvexHull

from sai_core.geometry import directions_to_vectors, fibonacci_lattice_deg, uplam_capsules_deg
from sai_core.training.uplam.targets import Targets

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Symmetry:
    """One of the 24.

    Attributes
    ----------
    matrix : float64, shape (3, 3)
        Orthogonal; a source at ``u`` goes to ``matrix @ u``.
    capsules : int64, shape (4,)
        Capsule ``i`` of the turned scene hears what capsule ``capsules[i]`` hears of the scene.
    points : int64, shape (3, 484)
        The turned map at point ``p`` is ``sum_k weights[k, p] map[points[k, p]]``.
    weights : float32, shape (3, 484)
        Non-negative, adding up to 1.
    """

    matrix: FloatArray
    capsules: npt.NDArray[np.int64]
    points: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def symmetries() -> tuple[Symmetry, ...]:
    """All 24, the identity first."""
    # the ideal corners: the whole degrees of the table are 0.26 degrees off
    signs = np.sign(directions_to_vectors(*uplam_capsules_deg()))
    corners = signs / np.sqrt(3.0)
    lattice = directions_to_vectors(*fibonacci_lattice_deg())
    triangles = ConvexHull(lattice).simplices
    inverses: FloatArray = np.linalg.inv(lattice[triangles].swapaxes(1, 2)).astype(
        np.float64
    )  # (triangles, 3, 3): point -> corner weights
    made = []
    for order in permutations(range(4)):
        # for a regular tetrahedron sum_i v_i v_i^T = 4/3, so this maps corner i to corner order[i]
        matrix = 0.75 * corners[list(order)].T @ corners
        came_from = np.argsort(order)
        points, weights = _between(lattice @ matrix, triangles, inverses)
        made.append(Symmetry(matrix, came_from, points, weights))
    return tuple(made)


def _between(
    directions: FloatArray, triangles: npt.NDArray[np.int32], inverses: FloatArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Corners and weights of the lattice triangle that each direction lies in."""
    weights = np.einsum("tij,pj->tpi", inverses, directions)
    inside = weights.min(axis=2).argmax(axis=0)
    chosen = np.maximum(weights[inside, np.arange(len(directions))], 0.0)
    chosen /= chosen.sum(axis=1, keepdims=True)
    return triangles[inside].T.astype(np.int64), chosen.T.astype(np.float32)


def turned(targets: Targets, symmetry: Symmetry) -> Targets:
    """The same frames with the scene turned; new tensors."""
    capsules = torch.from_numpy(symmetry.capsules)
    return Targets(
        inputs=targets.inputs[:, :, capsules][..., capsules],
        maps=_read(targets.maps, symmetry),
        beams=_read(targets.beams, symmetry),
        energy=targets.energy.clone(),
    )


def _read(maps: torch.Tensor, symmetry: Symmetry) -> torch.Tensor:
    result = torch.zeros_like(maps)
    for points, weights in zip(symmetry.points, symmetry.weights, strict=True):
        result += maps[..., torch.from_numpy(points)] * torch.from_numpy(weights)
    return result
