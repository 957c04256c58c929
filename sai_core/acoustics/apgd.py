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
    intensity = torch.zeros_like(flat)
    iterations = torch.zeros(flat.shape[0], dtype=torch.int64, device=flat.device)
    if options.warm_start:
        first = torch.zeros_like(flat[:n_chains]) if start is None else start.to(flat).clone()
        _march(problem, flat, norms, first, 0, n_chains, intensity, iterations, options, progress)
    else:
        for begin in range(0, flat.shape[0], _ROWS_AT_ONCE):
            rows = min(_ROWS_AT_ONCE, flat.shape[0] - begin)
            # a stride past the end: every problem is a chain of its own
            _march(
                problem,
                flat[begin : begin + rows],
                norms[begin : begin + rows],
                torch.zeros_like(flat[:rows]),
                begin,
                flat.shape[0],
                intensity,
                iterations,
                options,
                progress,
            )
    return ApgdSolution(
        intensity.reshape(n_frames, n_chains, n),
        iterations.reshape(n_frames, n_chains),
    )


def _march(
    problem: ApgdProblem,
    backprojection: torch.Tensor,
    squared_norm: torch.Tensor,
    x: torch.Tensor,
    offset: int,
    stride: int,
    intensity: torch.Tensor,
    iterations: torch.Tensor,
    options: ApgdOptions,
    progress: Progress,
) -> None:
    """Advance one row per chain until every chain is through; row r solves problems r, r + stride, r + 2 stride ...

    ``x`` (rows, n) is overwritten. Results go to ``intensity[offset + p]`` and ``iterations[offset + p]``.
    """
    total = backprojection.shape[0]
    gram, lipschitz, gamma = problem.gram, problem.lipschitz, options.gamma
    # below this, the remains of a decayed solution can no longer change a digit of a peak in this precision
    negligible = torch.finfo(x.dtype).eps * 1e-3
    device, dtype = x.device, x.dtype

    # lam of each problem, and the terms of step and objective that do not change while it is solved:
    #   step:      x <- max((x - 2/L (G x - b) - lam gamma / L) / (2 lam (1 - gamma) / L + 1), 0)
    #   objective: x . (G x + lam (1 - gamma) x - (2 b - lam gamma)) + ||S||^2
    lam_all = backprojection.amax(1).clamp(min=0).to(torch.float64) / (5.0 * gamma) if total else squared_norm
    ridge_all = lam_all * (1.0 - gamma)
    shrink_all = 1.0 / (2.0 * ridge_all / lipschitz + 1.0)

    def column(values: torch.Tensor) -> torch.Tensor:
        return values.to(dtype).unsqueeze(1)

    linear_all = torch.sub(2.0 * backprojection, column(lam_all * gamma))
    ridge_all, shrink_all = column(ridge_all), column(shrink_all)
    current = torch.arange(x.shape[0], device=device)
    count = torch.zeros(x.shape[0], dtype=torch.int64, device=device)
    any_silence = bool((squared_norm == 0).any())
    finished = 0

    def skip_silence(rows: torch.Tensor) -> None:
        """Store zero for silent problems whose start has decayed, and move their chains on."""
        nonlocal finished
        while rows.numel():
            rows = rows[current[rows] < total]
            rows = rows[(squared_norm[current[rows]] == 0) & (x[rows].amax(1) <= negligible)]
            x[rows] = 0
            gx[rows] = 0
            iterations[offset + current[rows]] = options.max_iterations
            finished += int(rows.numel())
            current[rows] += stride

    gx = x @ gram
    if any_silence:
        skip_silence(current)
    alive = current < total
    x, gx, current, count = x[alive], gx[alive], current[alive], count[alive]
    if not x.shape[0]:
        progress(1.0, "solved")
        return
    linear, ridge, shrink, norm = linear_all[current], ridge_all[current], shrink_all[current], squared_norm[current]
    scratch = torch.empty_like(x)

    def objective() -> torch.Tensor:
        torch.addcmul(gx, x, ridge, out=scratch)
        scratch.sub_(linear).mul_(x)
        # the sum decides when to stop: 484 float32 products are summed in float64
        return scratch.sum(1, dtype=torch.float64) + norm

    last = objective()
    # in the first iteration of a problem the momentum factor is 0, so what is kept here needs no reset
    x_before, gx_before = x, gx
    reported = 0
    while True:
        count += 1
        if options.momentum:
            steps = count.to(torch.float64)
            factor = column((steps - 1) / (steps + MOMENTUM_DELAY))
            point, g_point = x + factor * (x - x_before), gx + factor * (gx - gx_before)
            x_before, gx_before = x, gx
            x = point.add_(linear - 2.0 * g_point, alpha=1.0 / lipschitz).mul_(shrink).clamp_(min=0)
            gx = x @ gram
        else:
            torch.add(linear, gx, alpha=-2.0, out=scratch)
            x.add_(scratch, alpha=1.0 / lipschitz).mul_(shrink).clamp_(min=0)
            torch.mm(x, gram, out=gx)
        now = objective()
        done = (now - last).abs() < options.relative_tolerance * now.abs()
        done |= count >= options.max_iterations
        last = now
        rows = done.nonzero().squeeze(1)
        if not rows.numel():
            continue

        solved = current[rows]
        intensity[offset + solved] = x[rows]
        iterations[offset + solved] = count[rows]
        finished += int(rows.numel())
        current[rows] += stride
        count[rows] = 0
        if any_silence:
            skip_silence(rows)
        if finished >= reported + 512:
            reported = finished
            progress(min((offset + finished) / intensity.shape[0], 1.0), "solving intensities")
        alive = current < total
        if not bool(alive.all()):
            x, gx, current, count, last = x[alive], gx[alive], current[alive], count[alive], last[alive]
            if not x.shape[0]:
                break
            linear, ridge, shrink, norm = linear[alive], ridge[alive], shrink[alive], norm[alive]
            scratch = torch.empty_like(x)
            if options.momentum:
                x_before, gx_before = x_before[alive], gx_before[alive]
            rows = (count == 0).nonzero().squeeze(1)
            if not rows.numel():
                continue
        fresh = current[rows]
        linear[rows], ridge[rows], shrink[rows] = linear_all[fresh], ridge_all[fresh], shrink_all[fresh]
        norm[rows] = squared_norm[fresh]
        last[rows] = objective()[rows]
    progress(1.0, "solved")
