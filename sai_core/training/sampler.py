"""Which frames an epoch shows: half of the draws come from frames with a rare class.

Rare are the classes that have frames, but fewer than the median class has. A draw for the rare half first picks a
rare class, each as likely as the others, then one of its frames, each as likely as the others; the other half goes
through all frames in random order (again from the start when they run out). The order is a function of the seed and
the epoch alone, so that a run that goes on needs nothing but its epoch and step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def rare_classes(frames_per_class: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Classes with fewer frames than the median of the classes that have any; the rarest one where all are equal.

    Parameters
    ----------
    frames_per_class : int, shape (classes,)

    Returns
    -------
    classes : int64
        Ascending; empty when no class has frames.
    """
    counts = np.asarray(frames_per_class)
    there = np.flatnonzero(counts > 0)
    if not len(there):
        return there.astype(np.int64)
    rare = there[counts[there] < np.median(counts[there])]
    return (rare if len(rare) else there[[int(np.argmin(counts[there]))]]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class RareClassSampler:
    """Draws of an epoch.

    Attributes
    ----------
    present : bool, shape (frames, classes)
        Which classes each frame holds.
    draws : int
        Length of an epoch.
    rare_share : float
        Share of the draws from frames with a rare class.
    seed : int
    """

    present: npt.NDArray[np.bool_]
    draws: int
    rare_share: float
    seed: int

    def epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """Frame numbers of an epoch, in the order in which they are shown, shape (draws,)."""
        rng = np.random.default_rng([self.seed, 1, epoch])
        rare = rare_classes(self.present.sum(axis=0))
        n_rare = round(self.draws * self.rare_share) if len(rare) else 0
        columns = [np.flatnonzero(self.present[:, c]) for c in rare.tolist()]
        chosen = rng.integers(0, max(len(rare), 1), n_rare)
        place = rng.random(n_rare)
        drawn = np.zeros(n_rare, dtype=np.int64)
        for k, frames in enumerate(columns):
            mine = chosen == k
            drawn[mine] = frames[(place[mine] * len(frames)).astype(np.int64)]
        n_any, total = self.draws - n_rare, len(self.present)
        rounds = -(-n_any // max(total, 1))
        anything = np.concatenate([rng.permutation(total) for _ in range(rounds)] or [np.zeros(0, np.int64)])[:n_any]
        order: npt.NDArray[np.int64] = rng.permutation(np.concatenate([drawn, anything.astype(np.int64)]))
        return order
