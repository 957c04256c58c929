"""Training of UpLAM: scenes, targets, coarse networks, the loop and its resumption, the evaluation's rules."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sai_core.acoustics import rigid_sphere
from sai_core.acoustics.networks import UpLAM, UpLAMConfig, load_uplam
from sai_core.acoustics.visibility import Recipe, visibility_tensors
from sai_core.errors import InputError, SaiError
from sai_core.geometry import (
    UPLAM_CAPSULES,
    directions_to_vectors,
    fibonacci_lattice_deg,
    great_circle_deg,
    uplam_capsules_deg,
    vectors_to_directions,
)
from sai_core.runs import kinds
from sai_core.training.uplam import loop
from sai_core.training.uplam.blocks import cached_block, make_block
from sai_core.training.uplam.coarse import CoarseUpLAM, lift, refine, resolvent
from sai_core.training.uplam.optimiser import Optimiser
from sai_core.training.uplam.scenes import SceneOptions, SceneSampler
from sai_core.training.uplam.sounds import KINDS, sound_bank
from sai_core.training.uplam.symmetry import symmetries, turned
from sai_core.training.uplam.targets import TargetMaker, Targets
from tests.benchmarks import held_out_rooms as evaluation

SMALL = SceneOptions(n_clips=8, clip_s=1.0)
DRY = SceneOptions(
    n_clips=8,
    clip_s=1.0,
    source_counts=(0, 1),
    anechoic_share=1.0,
    snr_db=(30.0, 30.0),
    ambient_db=(30.0, 30.0),
    active_share=1.0,
    moving_share=0.0,
)


@pytest.fixture(scope="module")
def sampler() -> SceneSampler:
    return SceneSampler(SMALL, 3)


@pytest.fixture(scope="module")
def steering(sampler: SceneSampler) -> torch.Tensor:
    return TargetMaker(sampler.frequency_hz).steering


def random_inputs(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 9, 4, 10, dtype=torch.complex64, generator=generator)
    s = x @ x.mH
    return s / torch.linalg.eigvalsh(s)[..., -1][..., None, None]


# ------------------------------------------------------------------------------------------------- sounds and scenes
def test_every_kind_of_sound_is_finite_loud_enough_and_reproducible():
    bank = sound_bank(len(KINDS), 1.0, np.random.default_rng(1))
    assert bank.shape == (len(KINDS), 24_000)
    assert np.isfinite(bank).all()
    assert (np.abs(bank).max(axis=1) > 0.5).all()
    assert_array_equal(bank, sound_bank(len(KINDS), 1.0, np.random.default_rng(1)))
    with pytest.raises(InputError, match="at least one clip"):
        sound_bank(0, 1.0, np.random.default_rng(1))


def test_scenes_are_reproducible_and_well_formed(sampler):
    batch = sampler.draw(10, np.random.default_rng(5))
    again = sampler.draw(10, np.random.default_rng(5))
    assert_array_equal(batch.spectra, again.spectra)
    assert batch.spectra.shape == (10, 9, 10, 32)
    assert batch.spectra.dtype == np.complex64
    assert np.isfinite(batch.spectra).all()
    assert np.isnan(batch.azimuth_deg).sum() == (batch.direct_power == 0).sum()
    assert len(sampler.draw(0, np.random.default_rng(5))) == 0


def test_the_32_channel_beamformer_finds_a_single_source_of_a_scene():
    batch = SceneSampler(DRY, 3).draw(40, np.random.default_rng(1))
    maker = TargetMaker(SceneSampler(DRY, 3).frequency_hz)
    made = maker(torch.from_numpy(batch.spectra), per_frame_scale=torch.zeros(40, dtype=torch.bool))
    azimuth, elevation = fibonacci_lattice_deg()
    for maps in (made.beams, made.maps):
        best = maps.sum(dim=1).argmax(dim=1).numpy()
        error = great_circle_deg(azimuth[best], elevation[best], batch.azimuth_deg[:, 0], batch.elevation_deg[:, 0])
        # the lattice is 5.5 degrees coarse at worst, the table of responses 0.7
        assert np.percentile(error, 90) < 7


def test_scene_spectra_have_the_direct_path_of_the_rigid_sphere():
    sampler = SceneSampler(replace(DRY, snr_db=(80.0, 80.0), ambient_db=(80.0, 80.0)), 3)
    batch = sampler.draw(8, np.random.default_rng(2))
    for frame in range(8):
        q = rigid_sphere.steering(
            batch.azimuth_deg[frame, :1], batch.elevation_deg[frame, :1], sampler.frequency_hz, convention="fft"
        )[..., 0]
        x = batch.spectra[frame]  # (bands, blocks, 32)
        loudest = np.argmax(np.sum(np.abs(x) ** 2, axis=(1, 2)))
        match = np.abs(x[loudest] @ q[loudest].conj()) ** 2 / np.sum(np.abs(q[loudest]) ** 2)
        assert match.sum() / np.sum(np.abs(x[loudest]) ** 2) > 0.95


def test_report_recipe_has_27_snapshots_a_band():
    batch = SceneSampler(SceneOptions(recipe="report", n_clips=2, clip_s=1.0), 3).draw(2, np.random.default_rng(1))
    assert batch.spectra.shape == (2, 9, 27, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "other"}, "recipe"),
        ({"source_counts": (0, 0)}, "source_counts"),
        ({"snr_db": (10.0, 0.0)}, "snr_db"),
        ({"frames_per_scene": 0}, "at least 1"),
        ({"distance_m": (0.01, 1.0)}, "distance_m"),
    ],
)
def test_scene_options_that_make_no_sense(change, message):
    with pytest.raises(InputError, match=message):
        SceneOptions(**change)


# ------------------------------------------------------------------------------------------------------------ targets
def test_targets_are_the_capon_spectrum_and_the_reconstruction_error_is_the_literal_one(sampler):
    batch = sampler.draw(3, np.random.default_rng(7))
    spectra = torch.from_numpy(batch.spectra)
    maker = TargetMaker(sampler.frequency_hz, consensus_share=0.0)
    made = maker(spectra, per_frame_scale=torch.tensor([False, True, False]))
    four = spectra[..., list(UPLAM_CAPSULES)]
    s4 = four.mH @ four
    level = torch.linalg.eigvalsh(s4)[..., -1]
    level[1] = level[1].max()
    assert_allclose(made.inputs.numpy(), (s4 / level[..., None, None]).numpy(), rtol=0, atol=1e-5)
    s32 = (spectra.mH @ spectra * (4.0 / level)[..., None, None]).to(torch.complex128)
    a = maker.steering.to(torch.complex128)
    loaded = s32 + 0.03 * s32.diagonal(dim1=-2, dim2=-1).sum(-1).real[..., None, None] * torch.eye(32)
    capon = 1.0 / torch.einsum("bcp,nbce,bep->nbp", a.conj(), torch.linalg.inv(loaded), a).real
    assert_allclose(made.maps.numpy(), capon.numpy(), rtol=2e-3)  # float32 against float64
    latent = torch.rand(3, 9, 484)
    literal = a @ (latent.to(torch.complex128)[..., None] * a.mH)
    scale = (s32.conj() * literal).sum((-1, -2)).real / literal.abs().square().sum((-1, -2))
    error = (s32 - scale[..., None, None] * literal).abs().square().sum((-1, -2)) / s32.abs().square().sum((-1, -2))
    assert_allclose(maker.reconstruction_error(latent, made).numpy(), error.numpy(), atol=2e-4)


def test_silent_spectra_give_silent_targets(sampler):
    maker = TargetMaker(sampler.frequency_hz)
    made = maker(torch.zeros(2, 9, 10, 32, dtype=torch.complex64), per_frame_scale=torch.tensor([False, True]))
    for values in (made.inputs.abs(), made.maps, made.beams, made.energy):
        assert float(values.abs().max()) == 0


def test_targets_keep_the_magnitude_of_the_input(sampler):
    """Doubling one band's amplitude quadruples its target where the frame has one scale, and no other target's."""
    maker = TargetMaker(sampler.frequency_hz, consensus_share=0.0)
    spectra = torch.from_numpy(sampler.draw(1, np.random.default_rng(3)).spectra)
    four = spectra[..., list(UPLAM_CAPSULES)]
    strongest = int(torch.linalg.eigvalsh(four.mH @ four)[0, :, -1].argmax())
    quiet = (strongest + 1) % 9
    louder = spectra.clone()
    louder[:, strongest] *= 10  # stays the strongest
    common = torch.tensor([True])
    before, after = (maker(x, per_frame_scale=common) for x in (spectra, louder))
    assert_allclose(after.maps[0, strongest].numpy(), before.maps[0, strongest].numpy(), rtol=1e-3)
    assert_allclose(100 * after.maps[0, quiet].numpy(), before.maps[0, quiet].numpy(), rtol=1e-3)


# --------------------------------------------------------------------------------------------------------- symmetries
def test_the_24_symmetries_turn_matrices_and_maps_alike():
    found = symmetries()
    assert len(found) == 24
    assert_allclose(found[0].matrix, np.eye(3), atol=1e-12)
    assert sum(np.linalg.det(s.matrix) > 0 for s in found) == 12
    azimuth, elevation = fibonacci_lattice_deg()
    lattice = directions_to_vectors(azimuth, elevation)
    u = directions_to_vectors(30.0, 20.0)

    def heard(direction):
        az, el = vectors_to_directions(direction)
        return rigid_sphere.steering([float(az)], [float(el)], [1700.0, 4300.0], capsules_deg=uplam_capsules_deg())[
            ..., 0
        ]

    def bump(direction):
        return torch.tensor(np.exp(8 * (lattice @ direction - 1)), dtype=torch.float32)[None, None]

    for s in found:
        assert_allclose(s.weights.sum(axis=0), 1, atol=1e-6)
        # whole degrees in the em32's table: the corners are 0.26 degrees off the tetrahedron's
        assert_allclose(heard(s.matrix @ u), heard(u)[:, s.capsules], rtol=0, atol=0.03)
        q = torch.tensor(heard(u))
        frames = Targets(q[None, :, :, None] * q[None, :, None].conj(), bump(u), bump(u), torch.ones(1, 1))
        result = turned(frames, s)
        # linear interpolation of a bump 20 degrees wide on a lattice of 9 degrees
        assert_allclose(result.maps.numpy(), bump(s.matrix @ u).numpy(), atol=0.08)
        again = torch.tensor(heard(s.matrix @ u))
        assert_allclose(
            result.inputs.numpy(), (again[None, :, :, None] * again[None, :, None].conj()).numpy(), atol=0.06
        )
    assert_array_equal(turned(frames, found[0]).inputs.numpy(), frames.inputs.numpy())


# ----------------------------------------------------------------------------------------------------- coarse networks
@pytest.mark.parametrize("cells", [1, 2, 4])
def test_a_lifted_network_computes_what_the_coarse_one_does(cells, steering):
    torch.manual_seed(cells)
    model = CoarseUpLAM(UpLAMConfig(base_filter=4, features=6, hermitian="mean", positive=False), cells, steering)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 and parameter.numel() > 1:
                parameter.normal_(0, 0.1)
        model.tau.fill_(-0.1)
        model.D.mul_(1 + 0.3 * torch.randn_like(model.D.real))
        x = random_inputs(3)
        coarse = model(x)
        full = lift(model)
        assert isinstance(full, UpLAM)
        assert float(coarse.max()) > 0.05
        # different orders of float32 sums
        assert_allclose(full.eval()(x).numpy(), coarse.numpy(), rtol=0, atol=2e-5)


def test_refining_changes_nothing_at_first_but_frees_the_rows(steering):
    torch.manual_seed(0)
    model = CoarseUpLAM(UpLAMConfig(base_filter=4, features=6, hermitian="mean", positive=False), 1, steering)
    with torch.no_grad():
        model.tau.fill_(-0.1)
        finer = refine(model, 4, steering)
        x = random_inputs(3)
        assert_allclose(finer(x).numpy(), model(x).numpy(), rtol=0, atol=2e-5)
    assert float((finer.D[:, 0] - finer.D[:, 1]).detach().abs().max()) > 1e-3
    with pytest.raises(InputError, match="refine"):
        refine(finer, 2, steering)


def test_resolvent_is_the_literal_inverse_and_silent_for_silence():
    x = random_inputs(2).to(torch.complex128)
    trace = x.diagonal(dim1=-2, dim2=-1).real.sum(-1)
    literal = x @ torch.linalg.inv(x + 0.05 * trace[..., None, None] * torch.eye(4))
    assert_allclose(resolvent(x).numpy(), literal.numpy(), rtol=0, atol=1e-10)
    assert float(resolvent(torch.zeros(1, 4, 4, dtype=torch.complex64)).abs().max()) == 0


def test_optimiser_descends_and_orthogonalises():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.ConvTranspose2d(6, 4, 2, 2), torch.nn.Conv2d(4, 3, 2, 2))
    optimiser = Optimiser(model)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    x = torch.randn(8, 6, 3, 3)
    with torch.no_grad():
        y = torch.nn.functional.conv2d(x, torch.randn(3, 6, 1, 1))
    first = loss = float((model(x) - y).square().mean().detach())
    for step in range(60):
        model.zero_grad()
        value = (model(x) - y).square().mean()
        value.backward()
        optimiser.step(rate=1e-2, kernel_rate=1e-2)
        if step == 0:
            # output channels are the second axis of a transposed convolution
            change = (model[0].weight - before["0.weight"]).detach().movedim(1, 0).flatten(1)
            singular = torch.linalg.svdvals(change)
            assert float(singular.min() / singular.max()) > 0.5
        loss = float(value.detach())
    assert loss < 0.5 * first


# --------------------------------------------------------------------------------------------------------------- loop
def small_config(**changes):
    raw = {
        "seed": 4,
        "validate_every": 10,
        "validation_frames": 24,
        "data": {"blocks": 1, "block_frames": 48, "scenes": {"n_clips": 8, "clip_s": 1.0}},
        "model": {"base_filter": 12, "features": 16},
        "stages": [
            {"objective": "resolvent", "cells": 1, "steps": 20, "batch": 16, "rate": 3e-3, "kernel_rate": 1e-2},
            {"objective": "maps", "cells": 1, "steps": 20, "batch": 16, "rate": 5e-3, "average": 0.9},
            {"objective": "maps", "cells": 2, "steps": 4, "batch": 8, "rate": 1e-3, "average": 0.9},
        ],
    }
    raw.update(changes)
    return kinds.KINDS["uplam"].config_from(raw)


def test_twenty_steps_lower_the_loss_and_resuming_changes_nothing(tmp_path):
    config = small_config()
    finished = loop.train(config, tmp_path / "whole")
    rows = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    header = rows[0].split(",")
    first, second = (dict(zip(header, row.split(","), strict=True)) for row in rows[1:3])
    assert float(second["train_resolvent"]) < float(first["train_resolvent"])
    # killed in the first stage, in the second some steps after a checkpoint, and at the border of the third
    loop.train(config, tmp_path / "parts", stop_after=7)
    loop.train(config, tmp_path / "parts", resume=True, stop_after=25)
    checkpoint = (tmp_path / "parts" / "last.safetensors").read_bytes()
    loop.train(config, tmp_path / "parts", resume=True, stop_after=33)
    (tmp_path / "parts" / "last.safetensors").write_bytes(checkpoint)
    for stop in (40, 42):
        loop.train(config, tmp_path / "parts", resume=True, stop_after=stop)
    resumed = loop.train(config, tmp_path / "parts", resume=True)
    whole, parts = load_uplam(finished), load_uplam(resumed)
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    kept = (tmp_path / "parts" / "metrics.csv").read_text().splitlines()
    seconds = header.index("seconds")
    strip = [[c for i, c in enumerate(row.split(",")) if i != seconds] for row in rows]
    assert strip == [[c for i, c in enumerate(row.split(",")) if i != seconds] for row in kept]
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["seed"] == 4
    assert whole.config.positive is False
    assert whole.config.hermitian == "mean"


def test_maps_objective_learns(tmp_path):
    """A few steps of the second stage alone lower the cross-entropy on one batch."""
    torch.manual_seed(0)
    block = make_block(SMALL, seed=1, number=0, n_frames=32, frame_scale_share=0.3, consensus_share=0.67)
    targets = block.targets(np.arange(32))
    maker = TargetMaker(SceneSampler(SMALL, 0).frequency_hz)
    model = CoarseUpLAM(UpLAMConfig(hermitian="mean", positive=False), 1, maker.steering)
    with torch.no_grad():
        model.tau.fill_(-0.3)
    optimiser = Optimiser(model)
    history = []
    for _ in range(30):
        model.zero_grad()
        terms = loop.loss_terms(model(targets.inputs), targets, loop.LossConfig())
        (terms["mean"] + 0.5 * terms["band"] + 0.02 * terms["scale"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step(rate=3e-3, kernel_rate=5e-3)
        history.append(float(terms["mean"].detach()))
    assert history[-1] < history[0] - 0.1


def test_blocks_come_back_from_the_cache_and_a_broken_cache_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path))

    def block():
        return cached_block(SMALL, seed=1, number=0, n_frames=6, frame_scale_share=0.3, consensus_share=0.67)

    first = block()
    (path,) = tmp_path.rglob("*.entry")
    assert_array_equal(block().maps, first.maps)
    path.write_bytes(b"not an archive")
    assert_array_equal(block().maps, first.maps)
    assert len(first) == 6


def test_a_run_folder_is_not_overwritten_and_nothing_is_resumed_from_nothing(tmp_path):
    config = small_config()
    loop.train(config, tmp_path / "run", stop_after=1)
    with pytest.raises(InputError, match="there is a run"):
        loop.train(config, tmp_path / "run")
    with pytest.raises(InputError, match="folder of a run"):
        loop.train(config, tmp_path / "none", resume=True)
    (tmp_path / "run" / "last.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="resumed from"):
        loop.train(config, tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_ends_in_one_sentence(tmp_path):
    stage = loop.StageConfig(steps=5, batch=4)
    object.__setattr__(stage, "rate", float("nan"))  # as no recipe can, so that the weights are NaN
    with pytest.raises(SaiError, match="not finite"):
        loop.train(replace(small_config(), stages=(stage,)), tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nothing", "key=value"),
        ("unknown=1", "unknown settings"),
        ("data.blocks=0", "blocks is 0; a whole number of at least 1"),
        ("data.scenes.recipe=other", "recipe"),
        ("stages.9.steps=1", "no stage 9"),
        ("stages.0.cells=3", "cells"),
        ("stages.0.cells=4", "coarse to fine"),
        ("seed=1.5", "seed"),
        ("seed.x=1", "not a table"),
    ],
)
def test_settings_that_make_no_sense(override, message):
    with pytest.raises(InputError, match=message):
        kinds.KINDS["uplam"].read_config("", [override])


def test_overrides_reach_stages_and_tables():
    config = kinds.KINDS["uplam"].read_config(
        "", ["stages.1.steps=7", "data.scenes.n_clips=3", "seed=9", "data.scenes.rt60_s=[0.2, 0.3]"]
    )
    assert (config.stages[1].steps, config.data.scenes.n_clips, config.seed) == (7, 3, 9)
    assert config.data.scenes.rt60_s == (0.2, 0.3)
    with pytest.raises(InputError, match="no such file, and no recipe either"):
        kinds.KINDS["uplam"].read_config("none.toml")


# --------------------------------------------------------------------------------------------------------- evaluation
def test_peaks_are_local_maxima_in_order():
    azimuth, elevation = fibonacci_lattice_deg()
    lattice = directions_to_vectors(azimuth, elevation)
    energy = np.exp(20 * (lattice @ lattice[100] - 1)) + 0.5 * np.exp(20 * (lattice @ lattice[300] - 1))
    assert evaluation.highest_peaks(energy, 2).tolist() == [100, 300]
    assert evaluation.highest_peaks(energy, 1).tolist() == [100]
    with pytest.raises(InputError, match="shape"):
        evaluation.highest_peaks(energy[:10], 1)


def test_score_counts_what_it_says():
    azimuth, elevation = fibonacci_lattice_deg()
    lattice = directions_to_vectors(azimuth, elevation)
    one = np.exp(20 * (lattice @ lattice[100] - 1))
    both = one + 0.5 * np.exp(20 * (lattice @ lattice[300] - 1))
    truth_az = np.array([[azimuth[100], azimuth[300]]] * 3)
    truth_el = np.array([[elevation[100], elevation[300]]] * 3)
    counted = np.array([[True, False], [True, True], [False, False]])
    tally = evaluation.score(np.stack([one, both, one]), truth_az, truth_el, counted)
    assert_allclose(tally.errors_deg, [0.0], atol=1e-5)
    assert tally.recall(2) == 1.0
    wrong = evaluation.score(np.stack([both, one, one]), truth_az[:, ::-1], truth_el[:, ::-1], counted)
    assert wrong.errors_deg[0] > 20
    assert wrong.recall(2) == 0.5 or wrong.recall(2) == 1.0  # a lone peak's side may reach the other
    assert np.isnan(evaluation.merged([]).median())


def test_held_out_audio_is_found_by_the_32_channel_beamformer():
    scene = evaluation.held_out_scene(
        np.random.default_rng(4), n_sources=1, snr_db=30.0, rt60_s=(0.0, 0.0), seconds=1.0, moving_share=0.0
    )
    matrices = visibility_tensors(torch.tensor(scene.audio)).matrices
    a = torch.tensor(rigid_sphere.steering(*fibonacci_lattice_deg(), [3000.0])[0]).to(torch.complex64)
    power = torch.einsum("cp,nce,ep->np", a.conj(), matrices[:, 4], a).real
    tally = evaluation.score(power.numpy(), scene.azimuth_deg, scene.elevation_deg, scene.counted)
    assert tally.median() < 8
    assert scene.counted.any()


def test_precedence_points_better_than_single_frames_in_reverberation():
    # six of the rooms of docs/uplam.md's kind, where 96 have medians of 6.0 and 12.9 degrees and 0.91 and 0.62 found
    from sai_core.acoustics.features import extract

    tallies: dict[Recipe, list[evaluation.Tally]] = {"official": [], "precedence": []}
    for number in range(6):
        scene = evaluation.held_out_scene(
            np.random.default_rng((11, number)), n_sources=1, snr_db=15.0, rt60_s=(0.4, 0.8), seconds=1.5
        )
        for recipe, found in tallies.items():
            four = np.ascontiguousarray(scene.audio[:, list(UPLAM_CAPSULES)])
            maps = extract(four, visibility=recipe).lattice.mean(axis=1)
            found.append(evaluation.score(maps, scene.azimuth_deg, scene.elevation_deg, scene.counted))
    single, precedence = (evaluation.merged(tallies[recipe]) for recipe in ("official", "precedence"))
    assert precedence.recall(1) > single.recall(1) + 0.1
    assert precedence.median() < 0.8 * single.median()
    assert precedence.median() < 12.0


def test_held_out_scene_refuses_nonsense():
    with pytest.raises(InputError, match="n_sources"):
        evaluation.held_out_scene(np.random.default_rng(0), n_sources=5, snr_db=10.0)
