"""The solver against a literal one, its stopping, its chains, silence and options."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sai_core.errors import InputError
from sai_core.labelling.apgd import ApgdOptions, ApgdProblem, solve_chains

FloatArray = npt.NDArray[np.float64]


def _steering(rng: np.random.Generator, sensors: int = 6, points: int = 20) -> npt.NDArray[np.complex128]:
    return np.exp(1j * rng.uniform(0, 2 * np.pi, (sensors, points)))


def _matrices(rng: np.random.Generator, count: int, sensors: int = 6) -> npt.NDArray[np.complex128]:
    factor = rng.standard_normal((count, sensors, 3)) + 1j * rng.standard_normal((count, sensors, 3))
    made = factor @ factor.conj().transpose(0, 2, 1)
    return np.asarray(made / np.linalg.eigvalsh(made)[:, -1, None, None], dtype=np.complex128)


def _literal_chain(
    matrices: npt.NDArray[np.complex128],
    steering: npt.NDArray[np.complex128],
    *,
    gamma: float = 0.5,
    tolerance: float = 1e-3,
    limit: int = 200,
    momentum: bool = False,
    warm: bool = True,
) -> tuple[FloatArray, list[int]]:
    """One chain with explicit matrices: nothing shared with the code under test."""
    n = steering.shape[1]
    gram = np.abs(steering.conj().T @ steering) ** 2
    lipschitz = 2 * np.linalg.eigvalsh(gram)[-1]

    def gradient(x: FloatArray, s: npt.NDArray[np.complex128]) -> FloatArray:
        residual = (steering * x) @ steering.conj().T - s
        return 2 * np.sum(steering.conj() * (residual @ steering), axis=0).real

    def objective(x: FloatArray, s: npt.NDArray[np.complex128], lam: float) -> float:
        residual = (steering * x) @ steering.conj().T - s
        return float(np.sum(np.abs(residual) ** 2) + lam * (gamma * np.abs(x).sum() + (1 - gamma) * (x**2).sum()))

    solutions, counts = [], []
    x = np.zeros(n)
    for s in matrices:
        x = x if warm else np.zeros(n)
        first = np.clip(-gradient(np.zeros(n), s) / lipschitz, 0, None)
        lam = first.max() * lipschitz / (10 * gamma)
        before = x
        last = objective(x, s, lam)
        for k in range(1, limit + 1):
            point = x + (k - 1) / (k + 50) * (x - before) if momentum else x
            before = x
            x = (point - gradient(point, s) / lipschitz - lam * gamma / lipschitz) / (
                2 * lam * (1 - gamma) / lipschitz + 1
            )
            x = np.clip(x, 0, None)
            now = objective(x, s, lam)
            if now and abs(now - last) < tolerance * abs(now):
                break
            last = now
        solutions.append(x)
        counts.append(k)
    return np.array(solutions), counts


def _solve(
    chains: list[npt.NDArray[np.complex128]],
    steering: npt.NDArray[np.complex128],
    options: ApgdOptions | None = None,
    dtype: torch.dtype = torch.float64,
    start: torch.Tensor | None = None,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    matrices = np.stack(chains, axis=1)
    power = np.einsum("mn,fcmk,kn->fcn", steering.conj(), matrices, steering).real
    norm = np.sum(np.abs(matrices) ** 2, axis=(2, 3))
    problem = ApgdProblem.from_gram(torch.from_numpy(np.abs(steering.conj().T @ steering) ** 2)).to("cpu", dtype)
    solution = solve_chains(
        problem, torch.tensor(power, dtype=dtype), torch.from_numpy(norm), start=start, options=options
    )
    return solution.intensity.numpy().astype(np.float64), solution.iterations.numpy()


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("momentum", [True, False])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 0.2])
def test_agrees_with_explicit_matrices(rng: np.random.Generator, warm: bool, momentum: bool, gamma: float) -> None:
    steering = _steering(rng)
    chains = [_matrices(rng, 7) for _ in range(4)]
    options = ApgdOptions(warm_start=warm, momentum=momentum, gamma=gamma)
    intensity, iterations = _solve(chains, steering, options)
    for c, chain in enumerate(chains):
        expected, counts = _literal_chain(chain, steering, warm=warm, momentum=momentum, gamma=gamma)
        # sums in another order: a few units in the last place of values near 0.1
        np.testing.assert_allclose(intensity[:, c], expected, rtol=0, atol=1e-13)
        assert iterations[:, c].tolist() == counts


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 6))
def test_chains_do_not_touch_each_other(seed: int, n_chains: int, n_frames: int) -> None:
    rng = np.random.default_rng(seed)
    steering = _steering(rng)
    chains = [_matrices(rng, n_frames) for _ in range(n_chains)]
    together, counts = _solve(chains, steering)
    for c, chain in enumerate(chains):
        alone, count = _solve([chain], steering)
        np.testing.assert_allclose(together[:, c], alone[:, 0], rtol=0, atol=1e-14)
        assert counts[:, c].tolist() == count[:, 0].tolist()


def test_start_continues_a_chain(rng: np.random.Generator) -> None:
    steering = _steering(rng)
    chains = [_matrices(rng, 8) for _ in range(3)]
    whole, _ = _solve(chains, steering)
    first, _ = _solve([c[:5] for c in chains], steering)
    kept = torch.from_numpy(first[-1].copy())
    before = kept.clone()
    second, _ = _solve([c[5:] for c in chains], steering, start=kept)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=0, atol=1e-14)
    assert torch.equal(kept, before)


def test_converges_to_the_optimum(rng: np.random.Generator) -> None:
    # at the optimum: gradient + lam (gamma + 2 (1 - gamma) x) is 0 where x > 0, >= 0 where x = 0
    steering = _steering(rng, points=12)
    matrices = _matrices(rng, 1)
    options = ApgdOptions(relative_tolerance=1e-15, max_iterations=20000, momentum=True)
    x = _solve([matrices], steering, options)[0][0, 0]
    gram = np.abs(steering.conj().T @ steering) ** 2
    power = np.einsum("mn,mk,kn->n", steering.conj(), matrices[0], steering).real
    lam = power.max() / 2.5
    slope = 2 * (gram @ x - power) + lam * (0.5 + x)
    assert (x > 1e-6).any()
    np.testing.assert_allclose(slope[x > 0], 0, rtol=0, atol=1e-4)
    assert (slope[x == 0] > -1e-4).all()


def test_silence_decays_as_it_does_step_by_step_and_then_is_skipped(rng: np.random.Generator) -> None:
    steering = _steering(rng)
    chain = _matrices(rng, 30)
    chain[3:28] = 0
    chain[0] = 0
    loud = _matrices(rng, 30)
    intensity, iterations = _solve([chain, loud], steering)
    expected, counts = _literal_chain(chain, steering)
    # what is skipped is under a thousandth of the last digit of the peak
    np.testing.assert_allclose(intensity[:, 0], expected, rtol=0, atol=1e-13)
    assert iterations[:, 0].tolist() == counts
    assert iterations[4:28, 0].tolist() == [200] * 24
    assert not intensity[0, 0].any()


def test_all_silent_ends_at_once(rng: np.random.Generator) -> None:
    steering = _steering(rng)
    for warm in (True, False):
        intensity, iterations = _solve([np.zeros((50, 6, 6), complex)] * 3, steering, ApgdOptions(warm_start=warm))
        assert not intensity.any()
        assert (iterations == 200).all()


def test_float32_takes_the_same_path(rng: np.random.Generator) -> None:
    steering = _steering(rng)
    chains = [_matrices(rng, 10) for _ in range(3)]
    wide, counts = _solve(chains, steering)
    narrow, narrow_counts = _solve(chains, steering, dtype=torch.float32)
    # values up to 0.1; float32 has 7 digits, and up to 200 steps add their errors
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=2e-6)
    assert (counts == narrow_counts).mean() > 0.9


def test_empty_and_unchanged(rng: np.random.Generator) -> None:
    problem = ApgdProblem.from_gram(torch.from_numpy(np.abs(_steering(rng).conj().T @ _steering(rng)) ** 2 + 1))
    for shape in ((0, 3), (4, 0)):
        for warm in (True, False):
            solution = solve_chains(
                problem,
                torch.zeros(*shape, 20, dtype=torch.float64),
                torch.zeros(*shape, dtype=torch.float64),
                options=ApgdOptions(warm_start=warm),
            )
            assert solution.intensity.shape == (*shape, 20)
            assert solution.iterations.shape == shape
    power, norm = torch.rand(5, 2, 20, dtype=torch.float64), torch.ones(5, 2, dtype=torch.float64)
    before = power.clone(), norm.clone(), problem.gram.clone()
    seen: list[float] = []
    solve_chains(problem, power, norm, progress=lambda fraction, message: seen.append(fraction))
    assert torch.equal(power, before[0])
    assert torch.equal(norm, before[1])
    assert torch.equal(problem.gram, before[2])
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"gamma": 0.0}, "gamma"),
        ({"gamma": 1.5}, "gamma"),
        ({"relative_tolerance": 0.0}, "relative_tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], match: str) -> None:
    with pytest.raises(InputError, match=match):
        ApgdOptions(**settings)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit() -> None:
    problem = ApgdProblem.from_gram(torch.eye(4, dtype=torch.float64))
    with pytest.raises(InputError, match="backprojection"):
        solve_chains(problem, torch.zeros(3, 2, 5), torch.zeros(3, 2))
    with pytest.raises(InputError, match="squared_norm"):
        solve_chains(problem, torch.zeros(3, 2, 4), torch.zeros(3))
    with pytest.raises(InputError, match="start"):
        solve_chains(problem, torch.zeros(3, 2, 4), torch.zeros(3, 2), start=torch.zeros(1, 4))
    with pytest.raises(InputError, match="square"):
        ApgdProblem.from_gram(torch.zeros(3, 4))
