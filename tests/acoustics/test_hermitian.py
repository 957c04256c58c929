"""Packed Hermitian matrices: round trips, products, the positive part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sai_core.acoustics.hermitian import (
    PsdMethod,
    commuting_product,
    pack,
    pack_lower,
    pack_mean,
    psd_part,
    quadratic_forms,
    sign_polynomials,
    unpack,
)


def _hermitian(seed: int, n: int, spectrum: np.ndarray | None = None, count: int = 3) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((count, n, n)) + 1j * generator.standard_normal((count, n, n))
    if spectrum is None:
        return torch.from_numpy(noise + noise.conj().swapaxes(-1, -2))
    basis = np.linalg.qr(noise)[0]
    return torch.from_numpy((basis * spectrum) @ basis.conj().swapaxes(-1, -2))


SPECTRA = {
    "rank one": np.eye(1, 32)[0],
    "negative": -np.linspace(0, 1, 32),
    "tiny": np.geomspace(1e-9, 1, 32) * np.where(np.arange(32) % 2, 1, -1),
    "two clusters": np.repeat([1.0, -0.5], 16),
    "identity": np.ones(32),
    "zero": np.zeros(32),
}


@given(seed=st.integers(0, 1000), n=st.integers(1, 12))
def test_pack_round_trip_and_norm(seed: int, n: int) -> None:
    matrices = _hermitian(seed, n)
    torch.testing.assert_close(unpack(pack(matrices)), (matrices + matrices.mH) / 2, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.norm(pack(matrices)), torch.linalg.norm(matrices))


@given(seed=st.integers(0, 1000), n=st.integers(1, 12))
def test_product_of_powers(seed: int, n: int) -> None:
    matrices = _hermitian(seed, n)
    square = commuting_product(pack(matrices), pack(matrices))
    torch.testing.assert_close(unpack(square), matrices @ matrices, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        unpack(commuting_product(square, pack(matrices))), matrices @ matrices @ matrices, rtol=1e-12, atol=1e-11
    )


@given(seed=st.integers(0, 1000), n=st.integers(1, 8), points=st.integers(0, 5))
def test_quadratic_forms(seed: int, n: int, points: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = torch.from_numpy(generator.standard_normal((n, points)) + 1j * generator.standard_normal((n, points)))
    matrices = _hermitian(seed, n)
    expected = torch.einsum("ip,bij,jp->bp", vectors.conj(), matrices, vectors).real
    torch.testing.assert_close(pack(matrices).flatten(1) @ quadratic_forms(vectors), expected, rtol=1e-11, atol=1e-11)


def test_lower_triangle_is_what_eigh_reads(rng: np.random.Generator) -> None:
    matrices = torch.from_numpy(rng.standard_normal((5, 7, 7)) + 1j * rng.standard_normal((5, 7, 7)))
    packed = pack_lower(matrices.real, matrices.imag)
    torch.testing.assert_close(
        torch.linalg.eigvalsh(unpack(packed)), torch.linalg.eigvalsh(matrices), rtol=1e-12, atol=1e-12
    )
    mean = unpack(pack_mean(matrices.real, matrices.imag))
    torch.testing.assert_close(mean, (matrices + matrices.mH) / 2, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("method", ["eigh", "polynomial"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 3e-6), (torch.float32, 6e-6)])
def test_positive_part(name: str, method: PsdMethod, dtype: torch.dtype, atol: float) -> None:
    # the polynomial's bound is SIGN_FLOOR (1e-5) of the norm, which is 1 here; float32 rounds at 1e-6
    spectrum = SPECTRA[name]
    matrices = _hermitian(3, 32, spectrum)
    expected = pack(_hermitian(3, 32, np.maximum(spectrum, 0)))
    packed = pack(matrices).to(dtype)
    before = packed.clone()
    made = psd_part(packed, method=method)
    np.testing.assert_allclose(made.double(), expected, rtol=0, atol=atol)
    torch.testing.assert_close(packed, before, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_polynomial_is_scale_free(scale: float) -> None:
    packed = pack(_hermitian(5, 32)).float()
    made = psd_part(packed * scale, method="polynomial") / scale
    np.testing.assert_allclose(made, psd_part(packed, method="eigh"), rtol=0, atol=1e-4)  # entries up to 60


def test_polynomial_gradient_is_that_of_eigh() -> None:
    matrices = pack(_hermitian(8, 6))
    weights = torch.from_numpy(np.random.default_rng(0).standard_normal(matrices.shape))
    gradients = []
    for method in ("eigh", "polynomial"):
        leaf = matrices.clone().requires_grad_()
        (psd_part(leaf, method=method) * weights).sum().backward()
        gradients.append(leaf.grad)
    # well separated eigenvalues, so both exist; the polynomial's derivative errs by about its own error per gap
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=0, atol=1e-4)


def test_sign_polynomials_reach_one_and_stay_there() -> None:
    for floor in (1e-2, 1e-5, 1e-7):
        x = np.geomspace(floor / 100, 1.0, 20001)
        y = x.copy()
        for a, b, c in sign_polynomials(floor):
            y = a * y + b * y**3 + c * y**5
            assert (y > 0).all()
            assert y.max() < 2.1
        np.testing.assert_allclose(y[x >= 0.1], 1.0, rtol=0, atol=1e-7)
        assert np.abs(x * y - x).max() < floor


def test_empty_batch() -> None:
    for method in ("eigh", "polynomial"):
        assert psd_part(torch.zeros(0, 9, 32, 32), method=method).shape == (0, 9, 32, 32)
