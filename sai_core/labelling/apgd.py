"""Proximal gradient descent for the non-negative intensity on a lattice, many problems at once.

One problem is: given a Hermitian matrix ``S`` (microphones x microphones) and steering vectors ``a_n``, find the
intensities ``x >= 0`` of the lattice points that minimise

    ||A diag(x) A^H - S||_F^2 + lam (gamma sum(x) + (1 - gamma) sum(x^2)).

Nothing of that needs the matrices themselves. With ``G = |A^H A|^2`` (squared magnitudes, element by element, real and
symmetric) and the backprojection ``b_n = a_n^H S a_n``, the first term is ``x^T G x - 2 b^T x + ||S||^2`` and its
gradient ``2 (G x - b)``. One product with ``G`` an iteration serves the objective of this iteration and the gradient
of the next.

What the official solver does, found by running it (domain notes, section 5; figures in ``docs/labels.md``):

* step ``1 / L`` with ``L = 2 lambda_max(G)``; ``lam = max(b) / (5 gamma)``, a tenth of the largest entry that a first
  step from zero would give; ``gamma = 0.5``; at most 200 iterations;
* it stops when the objective changed by less than 1e-3 of its new value;
* **every frame starts from the solution of the frame before** (per band), so that frames are a chain: with so loose a
  stopping rule the start stays visible for hundreds of frames, and no frame can be solved alone without changing it;
* **its momentum does nothing**: the previous iterate is kept as a reference to the array that is overwritten in place,
  the difference of the two is always zero. The official "accelerated" descent is the plain one, and so is ours unless
  ``momentum=True``;
* silence (``S = 0``) makes ``lam = 0`` and lets the last solution decay for 200 iterations a frame.

Chains are independent of each other: bands of one recording, and recordings. Each chain advances at its own pace: a row
that has converged is stored and takes up its next frame in the same step, so that no product with ``G`` is computed
for a finished problem, and every problem gets exactly the iterations that it would get alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from sai_core.errors import InputError
from sai_core.progress import Progress, no_progress

DEFAULT_GAMMA: Final[float] = 0.5
DEFAULT_RELATIVE_TOLERANCE: Final[float] = 1e-3
DEFAULT_MAX_ITERATIONS: Final[int] = 200
MOMENTUM_DELAY: Final[int] = 50
"""``d`` of the momentum factor ``(k - 1) / (k + d)`` that the official solver means to use."""
_ROWS_AT_ONCE: Final[int] = 4096
"""Independent problems in one batch: 8 MB an array in float32, enough to fill a GPU."""


@dataclass(frozen=True, kw_only=True)
class ApgdOptions:
    """Settings of the solver; the defaults are what the official code does.

    Attributes
    ----------
    gamma : float
        Share of the l1 term in the elastic net, in (0, 1].
    relative_tolerance : float
        A problem ends when ``|objective - previous| < relative_tolerance * |objective|``; in (0, 1).
    max_iterations : int
        Iterations after which a problem ends anyway, >= 1.
    warm_start : bool
        Start each frame from the solution of the frame before (official). Without it every frame starts from zero,
        and all frames are solved at once.
    momentum : bool
        Extrapolate by ``(k - 1) / (k + 50)`` of the last change. Off in effect in the official code.
    """

    gamma: float = DEFAULT_GAMMA
    relative_tolerance: float = DEFAULT_RELATIVE_TOLERANCE
    max_iterations: int = DEFAULT_MAX_ITERATIONS
    warm_start: bool = True
    momentum: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise InputError(f"gamma is {self.gamma}; the elastic net needs a value above 0 and at most 1.")
        if not 0 < self.relative_tolerance < 1:
            raise InputError(f"relative_tolerance is {self.relative_tolerance}; give a value between 0 and 1.")
        if self.max_iterations < 1:
            raise InputError(f"max_iterations is {self.max_iterations}; at least 1 is needed.")


@dataclass(frozen=True, eq=False)
class ApgdProblem:
    """What the lattice and the array fix: the Gram matrix and the step.

    Attributes
    ----------
    gram : Tensor, float, shape (n, n)
        ``|A^H A|^2``, symmetric, on the device and in the precision of the solver.
    lipschitz : float
        ``L = 2 lambda_max(gram)``; the step is ``1 / L``.
    """

    gram: torch.Tensor
    lipschitz: float

    @classmethod
    def from_gram(cls, gram: torch.Tensor) -> ApgdProblem:
        """Take a float64 Gram matrix and find the step that belongs to it."""
        if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
            raise InputError(f"The Gram matrix has shape {tuple(gram.shape)}; it must be square.")
        return cls(gram, 2.0 * float(torch.linalg.eigvalsh(gram.to(torch.float64))[-1]))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> ApgdProblem:
        """Return the same problem on another device or in another precision."""
        return ApgdProblem(self.gram.to(device=device, dtype=dtype).contiguous(), self.lipschitz)


@dataclass(frozen=True, eq=False)
class ApgdSolution:
    """Intensities and the iterations that each problem took.

    Attributes
    ----------
    intensity : Tensor, float, shape (n_frames, n_chains, n)
        Linear, >= 0.
    iterations : Tensor, int64, shape (n_frames, n_chains)
        1..``max_iterations``. Frames of silence that were short-cut count ``max_iterations``, as they do officially.
    """

    intensity: torch.Tensor
    iterations: torch.Tensor


def solve_chains(
    problem: ApgdProblem,
    backprojection: torch.Tensor,
    squared_norm: torch.Tensor,
    *,
    start: torch.Tensor | None = None,
    options: ApgdOptions | None = None,
    progress: Progress = no_progress,
) -> ApgdSolution:
    """Solve every frame of every chain.

    Parameters
    ----------
    problem : ApgdProblem
        Gram matrix (n, n) and step.
    backprojection : Tensor, float, shape (n_frames, n_chains, n)
        ``b_n = a_n^H S a_n`` of each matrix, >= 0; same device and dtype as the Gram matrix.
    squared_norm : Tensor, float, shape (n_frames, n_chains)
        ``||S||_F^2``; 0 exactly marks silence.
    start : Tensor, float, shape (n_chains, n), optional
        Where the first frame of each chain starts: the last solution of the block before. Zero when left out.
        Not used without ``options.warm_start``.
    options : ApgdOptions, optional
        Official settings when left out.
    progress : Progress, optional
        Called with the share of problems solved.

    Returns
    -------
    ApgdSolution
        New tensors on the same device; the inputs are untouched.

    Raises
    ------
    InputError
        Shapes that do not fit together.
    """
    options = options if options is not None else ApgdOptions()
    n = problem.gram.shape[0]
    if backprojection.ndim != 3 or backprojection.shape[2] != n:
        raise InputError(f"backprojection has shape {tuple(backprojection.shape)}; expected (frames, chains, {n}).")
    n_frames, n_chains = backprojection.shape[:2]
    if squared_norm.shape != (n_frames, n_chains):
        raise InputError(f"squared_norm has shape {tuple(squared_norm.shape)}; expected ({n_frames}, {n_chains}).")
    if start is not None and start.shape != (n_chains, n):
        raise InputError(f"start has shape {tuple(start.shape)}; expected ({n_chains}, {n}).")

    flat = backprojection.reshape(n_frames * n_chains, n)
    norms = squared_norm.reshape(-1).to(torch.float64)
    # lam: a tenth of the largest entry of a first step from zero, with step length and l1 share taken out again
    penalty = flat.amax(1).clamp(min=0).to(torch.float64) / (5.0 * options.gamma) if flat.numel() else norms
    terms = _Terms(
        linear=2.0 * flat - (penalty * options.gamma).to(flat.dtype).unsqueeze(1),
        ridge=(penalty * (1.0 - options.gamma)).to(flat.dtype),
        shrink=(1.0 / (2.0 * penalty * (1.0 - options.gamma) / problem.lipschitz + 1.0)).to(flat.dtype),
        norm=norms,
    )
    if not flat.numel():
        intensity, iterations = torch.zeros_like(flat), torch.zeros_like(norms, dtype=torch.int64)
    elif options.warm_start:
        first = torch.zeros_like(flat[:n_chains]) if start is None else start.to(flat)
        intensity, iterations = _solve_linked(problem, terms, first, options, progress)
    else:
        pieces = []
        for begin in range(0, flat.shape[0], _ROWS_AT_ONCE):
            pieces.append(_solve_independent(problem, terms.part(slice(begin, begin + _ROWS_AT_ONCE)), options))
            progress(min(begin + _ROWS_AT_ONCE, flat.shape[0]) / flat.shape[0], "solving intensities")
        intensity, iterations = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    progress(1.0, "solved")
    return ApgdSolution(intensity.reshape(n_frames, n_chains, n), iterations.reshape(n_frames, n_chains))


@dataclass(frozen=True, eq=False)
class _Terms:
    """What does not change while a problem is solved, for many problems.

    Step: ``x <- max(shrink (x + (linear - 2 G x) / L), 0)``; objective: ``x . (G x + ridge x - linear) + norm``, with
    ``linear = 2 b - lam gamma``, ``ridge = lam (1 - gamma)``, ``shrink = 1 / (2 ridge / L + 1)``, ``norm = ||S||^2``.
    """

    linear: torch.Tensor
    ridge: torch.Tensor
    shrink: torch.Tensor
    norm: torch.Tensor

    def part(self, rows: slice | torch.Tensor) -> _Terms:
        return _Terms(self.linear[rows], self.ridge[rows], self.shrink[rows], self.norm[rows])


def _solve_independent(problem: ApgdProblem, terms: _Terms, options: ApgdOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve every problem from zero, all in step; those that have converged leave the batch."""
    intensity = torch.zeros_like(terms.linear)
    iterations = torch.full_like(terms.norm, options.max_iterations, dtype=torch.int64)
    # silence stays at zero for as long as it is let
    rows = (terms.norm > 0).nonzero().squeeze(1)
    now = terms.part(rows)
    x = torch.zeros_like(now.linear)
    gx = torch.zeros_like(x)
    x_before, gx_before = x, gx
    last = now.norm
    for count in range(1, options.max_iterations + 1):
        if not rows.numel():
            break
        point, g_point = x, gx
        if options.momentum:
            factor = (count - 1) / (count + MOMENTUM_DELAY)
            point, g_point = x + factor * (x - x_before), gx + factor * (gx - gx_before)
            x_before, gx_before = x, gx
        x = point + (now.linear - 2.0 * g_point) / problem.lipschitz
        x.mul_(now.shrink.unsqueeze(1)).clamp_(min=0)
        gx = x @ problem.gram
        terms_of_sum = (gx + now.ridge.unsqueeze(1) * x).sub_(now.linear).mul_(x)
        # the sum decides when to stop: 484 float32 products are summed in float64
        value = terms_of_sum.sum(1, dtype=torch.float64) + now.norm
        done = (value - last).abs() < options.relative_tolerance * value.abs()
        if count == options.max_iterations:
            done[:] = True
        last = value
        if bool(done.any()):
            intensity[rows[done]] = x[done]
            iterations[rows[done]] = count
            keep = ~done
            rows, now, last, x, gx = rows[keep], now.part(keep), last[keep], x[keep], gx[keep]
            x_before, gx_before = (x_before[keep], gx_before[keep]) if options.momentum else (x, gx)
    return intensity, iterations


class _Work:
    """Arrays of the chains that are still running, one row each.

    A handful of rows and many small steps: NumPy's operations start in half the time of torch's. Only the product with
    ``G``, which is where the arithmetic is, is torch's, on the same memory.
    """

    def __init__(self, x: npt.NDArray, current: list[int], terms: _Arrays, gram: torch.Tensor) -> None:
        self._terms = terms
        self._gram = gram
        self.x = np.ascontiguousarray(x)
        self.gx = np.empty_like(self.x)
        self._scratch = np.empty_like(self.x)
        self._shared = torch.from_numpy(self.x), torch.from_numpy(self.gx)
        self.linear = terms.linear[current]
        self.ridge = terms.ridge[current, None]
        self.shrink = terms.shrink[current, None]
        self.norm = terms.norm[current]
        self.product()

    def product(self) -> None:
        torch.mm(self._shared[0], self._gram, out=self._shared[1])

    def take_up(self, row: int, problem: int) -> float:
        """Put a problem into a row and return its objective at the row's ``x``."""
        self.linear[row] = self._terms.linear[problem]
        self.ridge[row] = self._terms.ridge[problem]
        self.shrink[row] = self._terms.shrink[problem]
        self.norm[row] = self._terms.norm[problem]
        values = self.gx[row] + self.ridge[row] * self.x[row]
        values -= self.linear[row]
        values *= self.x[row]
        return float(values.sum(dtype=np.float64)) + float(self.norm[row])

    def objective(self) -> list[float]:
        scratch = self._scratch
        np.multiply(self.x, self.ridge, out=scratch)
        scratch += self.gx
        scratch -= self.linear
        scratch *= self.x
        # the sum decides when to stop: 484 float32 products are summed in float64
        return (scratch.sum(1, dtype=np.float64) + self.norm).tolist()

    def step(self, length: np.floating) -> None:
        scratch = self._scratch
        np.multiply(self.gx, -2.0, out=scratch)
        scratch += self.linear
        scratch *= length
        self.x += scratch
        self.x *= self.shrink
        np.maximum(self.x, 0, out=self.x)
        self.product()


class _MomentumWork(_Work):
    """The same with the extrapolation that the official solver means to have."""

    def __init__(self, x: npt.NDArray, current: list[int], terms: _Arrays, gram: torch.Tensor) -> None:
        super().__init__(x, current, terms, gram)
        self.before = self.x.copy()
        self.g_before = self.gx.copy()

    def extrapolate(self, count: list[int]) -> None:
        """Move ``x`` and ``gx`` on, keeping where they were; ``count`` are the iterations begun, from 1."""
        factor = np.array([(k - 1) / (k + MOMENTUM_DELAY) for k in count], dtype=self.x.dtype)[:, None]
        for here, before in ((self.x, self.before), (self.gx, self.g_before)):
            moved = here + factor * (here - before)
            before[:] = here
            here[:] = moved


@dataclass(frozen=True, eq=False)
class _Arrays:
    """:class:`_Terms` as arrays on the CPU."""

    linear: npt.NDArray
    ridge: npt.NDArray
    shrink: npt.NDArray
    norm: npt.NDArray[np.float64]


def _solve_linked(
    problem: ApgdProblem, terms: _Terms, start: torch.Tensor, options: ApgdOptions, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """Solve chains: row r takes up problems r, r + rows, r + 2 rows ..., each from the solution of the one before."""
    arrays = _Arrays(*(t.cpu().numpy() for t in (terms.linear, terms.ridge, terms.shrink, terms.norm)))
    gram = problem.gram.cpu()
    norms = arrays.norm.tolist()
    total, stride = len(norms), start.shape[0]
    intensity = np.zeros_like(arrays.linear)
    iterations = np.full(total, options.max_iterations, dtype=np.int64)
    tolerance, limit = options.relative_tolerance, options.max_iterations
    length = arrays.linear.dtype.type(1.0 / problem.lipschitz)
    # below this, the remains of a decayed solution can no longer change a digit of a peak in this precision
    negligible = float(np.finfo(arrays.linear.dtype).eps) * 1e-3

    def past_silence(number: int, x: npt.NDArray) -> int:
        """Next problem of a chain that stands at ``x``; silent ones are left at zero once ``x`` has decayed."""
        if number < total and norms[number] == 0 and x.max() <= negligible:
            while number < total and norms[number] == 0:
                number += stride
        return number

    kind = _MomentumWork if options.momentum else _Work
    x = np.array(start.cpu().numpy())
    current = [past_silence(r, x[r]) for r in range(stride)]
    count = [0] * stride
    last = [0.0] * stride
    solved = reported = 0
    work: _Work | None = None
    while True:
        running = [r for r, number in enumerate(current) if number < total]
        if not running:
            break
        x, current = x[running], [current[r] for r in running]
        count, last = [count[r] for r in running], [last[r] for r in running]
        former, work = work, kind(x, current, arrays, gram)
        if isinstance(work, _MomentumWork) and isinstance(former, _MomentumWork):
            work.before[:], work.g_before[:] = former.before[running], former.g_before[running]
        x = work.x
        for r, number in enumerate(current):
            if count[r] == 0:
                last[r] = work.take_up(r, number)
        ended = False
        while not ended:
            for r in range(len(count)):
                count[r] += 1
            if isinstance(work, _MomentumWork):
                work.extrapolate(count)
            work.step(length)
            for r, value in enumerate(work.objective()):
                if abs(value - last[r]) >= tolerance * abs(value) and count[r] < limit:
                    last[r] = value
                    continue
                intensity[current[r]] = x[r]
                iterations[current[r]] = count[r]
                solved += 1
                count[r] = 0
                current[r] = past_silence(current[r] + stride, x[r])
                if current[r] >= total:
                    ended = True
                    continue
                last[r] = work.take_up(r, current[r])
            if solved >= reported + 512:
                reported = solved
                progress(solved / total, "solving intensities")
    device = terms.linear.device
    return torch.from_numpy(intensity).to(device), torch.from_numpy(iterations).to(device)
