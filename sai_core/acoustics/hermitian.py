"""Batches of Hermitian matrices as real arrays: half the storage, and real matrix products.

A Hermitian matrix ``S = P + j Q`` (``P`` symmetric, ``Q`` antisymmetric, both real) is kept as the *packed* real matrix
``H = P + Q`` of the same shape. Nothing is lost (``P = (H + H^T) / 2``, ``Q = (H - H^T) / 2``), Frobenius norms and
inner products are those of ``S``, and for Hermitian ``A``, ``B`` that commute the packed product is
``P_A H_B + Q_A H_B^T``: two real products in place of a complex one (four). The quadratic forms ``d^H S d`` that LAM
needs are *linear* in ``H``: one real matrix product for all lattice points at once.

:func:`psd_part` removes the negative eigenvalues, by eigendecomposition or by a polynomial iteration that is nothing
but matrix products. The latter suits GPUs and gradients: the derivative of an eigendecomposition divides by
differences of eigenvalues, which are 0 for the degenerate matrices that appear here all the time (silence, one source).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch

PsdMethod = Literal["eigh", "polynomial"]

SIGN_FLOOR: Final[float] = 1e-5
"""Eigenvalues below this share of the matrix norm need no exact sign: their weight in the result is as small."""

_STRETCH: Final[float] = 1.01
"""Margin of the polynomials' intervals against rounding, see :func:`sign_polynomials`."""

_LARGE: Final[float] = 0.1
"""Share of the largest eigenvalue from which on the polynomials keep eigenvalues large."""


def pack(matrices: torch.Tensor) -> torch.Tensor:
    """Pack Hermitian matrices, complex (..., n, n), as real (..., n, n): real part plus imaginary part."""
    return matrices.real + matrices.imag


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """Inverse of :func:`pack`: real (..., n, n) to complex Hermitian (..., n, n)."""
    mirrored = packed.mT
    return torch.complex((packed + mirrored) * 0.5, (packed - mirrored) * 0.5)


def pack_lower(real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
    """Pack the Hermitian matrix that ``eigh`` sees in any complex matrix: its lower triangle and real diagonal.

    Parameters
    ----------
    real, imag : real tensors, shape (..., n, n)
        Parts of a matrix that need not be Hermitian; what lies above the diagonal is never read.

    Returns
    -------
    real tensor, shape (..., n, n)
    """
    below = torch.tril(torch.ones(real.shape[-2:], dtype=torch.bool, device=real.device), -1)
    diagonal = torch.eye(real.shape[-1], dtype=torch.bool, device=real.device)
    upper = torch.where(diagonal, real, (real - imag).mT)
    return torch.where(below, real + imag, upper)


def pack_mean(real: torch.Tensor, imag: torch.Tensor) -> torch.Tensor:
    """Pack the Hermitian part ``(S + S^H) / 2`` of any complex matrix given as real and imaginary part."""
    return (real + real.mT + imag - imag.mT) * 0.5


def commuting_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Packed product of packed Hermitian matrices that commute, shape (batch, n, n)."""
    mirrored = a.mT
    return torch.baddbmm(torch.bmm((a + mirrored) * 0.5, b), (a - mirrored) * 0.5, b.mT)


def quadratic_forms(vectors: torch.Tensor) -> torch.Tensor:
    """Matrix that maps a packed Hermitian matrix to its quadratic forms ``d^H S d``.

    Parameters
    ----------
    vectors : complex tensor, shape (..., n, points)
        One vector ``d`` a column.

    Returns
    -------
    real tensor, shape (..., n * n, points)
        ``G`` with ``d_p^H S d_p = sum_ij H_ij G_(ij)p`` for row-major ``H = pack(S)``. Differentiable.
    """
    u, v = vectors.real, vectors.imag
    # d^H (P + jQ) d = u'Pu + v'Pv - 2 u'Qv; the symmetric part of G meets P, the antisymmetric part meets Q
    left, right = vectors.shape[-2], vectors.shape[-1]
    first = u.unsqueeze(-2) * (u - v).unsqueeze(-3)
    second = v.unsqueeze(-2) * (u + v).unsqueeze(-3)
    return (first + second).reshape(*vectors.shape[:-2], left * left, right)


def psd_part(packed: torch.Tensor, *, method: PsdMethod = "eigh") -> torch.Tensor:
    """Remove the negative eigenvalues of packed Hermitian matrices.

    Parameters
    ----------
    packed : float32 or float64 tensor, shape (..., n, n)
    method : {"eigh", "polynomial"}
        ``"eigh"`` is exact to rounding. ``"polynomial"`` computes ``(S + S sign(S)) / 2`` with the matrix sign from
        odd polynomials; its error is at most :data:`SIGN_FLOOR` of the matrix norm (measured in float32 on random
        and on degenerate matrices: 1e-6, as much as that of a float32 eigendecomposition), its gradient is
        finite for any matrix, the zero matrix included, and it consists of batched products only.

    Returns
    -------
    real tensor, shape (..., n, n)
        New tensor, packed.
    """
    if packed.numel() == 0:
        return packed.clone()
    if method == "eigh":
        values, basis = torch.linalg.eigh(unpack(packed))
        return pack((basis * values.clamp_min(0.0).unsqueeze(-2)) @ basis.mH)
    flat = packed.reshape(-1, *packed.shape[-2:])
    return ((flat + commuting_product(flat, _matrix_sign(flat))) * 0.5).reshape(packed.shape)


def _matrix_sign(packed: torch.Tensor) -> torch.Tensor:
    """Sign of packed Hermitian matrices, shape (batch, n, n), for eigenvalues above SIGN_FLOOR of the norm."""
    norm = packed.detach().flatten(1).norm(dim=1)[:, None, None]
    x = packed / torch.where(norm > 0, norm, torch.ones_like(norm))
    for index, (a, b, c) in enumerate(sign_polynomials(SIGN_FLOOR)):
        mirrored = x.mT
        symmetric, antisymmetric = (x + mirrored) * 0.5, (x - mirrored) * 0.5
        square = torch.baddbmm(torch.bmm(symmetric, x), antisymmetric, x.mT)
        if index == 0:
            # the Frobenius norm may be n^0.5 times the spectral norm, that of the square only n^0.25: a free
            # tighter bound, which leaves small eigenvalues further from the floor
            bound = square.detach().flatten(1).norm(dim=1).sqrt()[:, None, None]
            bound = torch.where(bound > 0, bound, torch.ones_like(bound))
            x, symmetric, antisymmetric = x / bound, symmetric / bound, antisymmetric / bound
            square = square / bound.square()
        mirrored = square.mT
        even = torch.baddbmm(square, (square + mirrored) * 0.5, square, beta=b, alpha=c)
        even = torch.baddbmm(even, (square - mirrored) * 0.5, square.mT, alpha=c)
        product = torch.baddbmm(x, symmetric, even, beta=a)
        x = torch.baddbmm(product, antisymmetric, even.mT)
    return x


@lru_cache(maxsize=8)
def sign_polynomials(floor: float) -> tuple[tuple[float, float, float], ...]:
    """Odd quintics ``a x + b x^3 + c x^5`` whose composition maps [floor, 1] to 1 within 1e-7.

    Each one is the minimax approximation of 1 on an interval (Remez exchange). Taking the whole interval that the
    ones before it have left would be optimal in exact arithmetic, and fails in float32 twice: a polynomial rises
    steeply (slope up to 26) at its upper end, where rounding pushes eigenvalues out and the iteration off to infinity
    (seen on matrices of rank one), and it maps some *large* eigenvalues to tiny ones, whose sign is then lost (errors
    of 3e-4 of the norm seen on random matrices). So each interval is stretched by 1 % upwards and begins no lower than
    at a share of its end: what is below simply grows, about fourfold a step, and what is large stays large.

    References
    ----------
    Y. Nakatsukasa and R. Freund, SIAM Review 58 (2016), composite minimax polynomials for the sign function;
    N. Amsel et al., "The Polar Express" (2025), the same with odd quintics.
    """
    low, high = floor, 1.0
    found = []
    while high - low > 1e-7:
        (a, b, c), error = _minimax_quintic(max(low, _LARGE * high), high)
        stretch = _STRETCH if high - low > 0.5 else 1.0
        stretched = (a / stretch, b / stretch**3, c / stretch**5)
        found.append(stretched)
        low = min(1.0 - error, float(_quintic(stretched, np.array([low]))[0]))
        high = 1.0 + error
    return tuple(found)


def _minimax_quintic(low: float, high: float) -> tuple[tuple[float, float, float], float]:
    if high - low < 0.02:
        # the exchange is ill-conditioned on a short interval; Newton-Schulz of order five is within its fourth power
        scale = 2.0 / (low + high)
        newton = (1.875 * scale, -1.25 * scale**3, 0.375 * scale**5)
        half = (high - low) / (high + low)
        return newton, float(max(abs(_quintic(newton, np.array([low, high])) - 1.0).max(), half**3))
    nodes = np.array([low, low + 0.25 * (high - low), low + 0.75 * (high - low), high])
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    for _ in range(200):
        # p(node) + sign * error = 1
        system = np.stack([nodes, nodes**3, nodes**5, signs], axis=1)
        a, b, c, error = np.linalg.solve(system, np.ones(4))
        squared = np.roots([5 * c, 3 * b, a])
        extremes = np.sqrt(np.sort(np.maximum(squared.real, 0.0)))
        updated = np.array([low, *np.clip(extremes, low, high), high])
        if np.abs(updated - nodes).max() < 1e-13:
            break
        nodes = updated
    return (float(a), float(b), float(c)), float(abs(error))


def _quintic(coefficients: tuple[float, float, float], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a, b, c = coefficients
    return a * x + b * x**3 + c * x**5
