"""Ranking of systems: against two-system differences, by hand, and as a verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sai_core.annotations.writing import write_label_json, write_submission_json
from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.metrics.evaluation.score_store import result_of_tables
from sai_core.metrics.reading.diagnostics import bootstrap
from sai_core.metrics.reading.drilldown import ONLY, only_moments
from sai_core.metrics.reading.ranking import classes_won_table, rank_systems, ranking_table, wins_table
from sai_core.metrics.reading.systems import SystemResult
from tests.metrics.helpers import made_up_recording


@pytest.fixture(scope="module")
def systems() -> dict[str, SystemResult]:
    """Labels in five recordings; a system, the same with shuffled scores, and the same with half of its detections."""
    made = {f"r{k}": made_up_recording(k, n_frames=6, name=f"r{k}") for k in range(6)}
    rng = np.random.default_rng(0)
    results: dict[str, list] = {"good": [], "shuffled": [], "half": []}
    for name, (labels, found) in made.items():
        variants = {
            "good": replace(found, score=0.5 + 0.4 * found.score),
            "shuffled": replace(found, score=rng.permutation(found.score)),
            "half": found.take(np.arange(len(found)) % 2 == 0),
        }
        for system, table in variants.items():
            results[system].append(result_of_tables(labels, table, recording=name, use_cache=False))
    return {name: SystemResult(name, "2026-06-30", tuple(parts)) for name, parts in results.items()}


def test_a_ranking_is_made_of_paired_differences(systems: dict[str, SystemResult]) -> None:
    ranking = rank_systems(list(systems.values()), n_resamples=200, seed=3)
    by_map = sorted(systems.values(), key=lambda s: -s.evaluation.macro.mean_ap)
    assert ranking.names == tuple(s.name for s in by_map)
    drawn = [bootstrap(s.scores, n=200, seed=3).macro[:, 3] for s in by_map]
    assert ranking.difference_low[0, 2] == np.percentile(drawn[0] - drawn[2], 2.5)
    np.testing.assert_allclose(ranking.difference, -ranking.difference.T)
    assert (ranking.probability == ranking.probability.T).all()
    n = min(np.count_nonzero(drawn[0] <= drawn[2]), np.count_nonzero(drawn[0] >= drawn[2]))
    raw = max(2 * (n + 1) / 201, 2 / 2**6)  # six equal signs have that much by themselves
    assert raw <= ranking.probability[0, 2] <= min(1.0, 3 * raw)
    # the half finds nothing that the whole does not find with the same matching
    found = dict(zip(ranking.names, ranking.n_only.tolist(), strict=True))
    assert found["good"] == found["shuffled"] == 0  # they find the same labels
    for mine in by_map:
        for others in ([s for s in by_map if s is not mine], [s for s in by_map if s.name == "half"]):
            literal = 0
            for k, result in enumerate(mine.results):
                sets = [set(r.scores.detection_label[r.scores.detection_hit[:, 1]].tolist())
                        for r in (result, *(other.results[k] for other in others))]  # fmt: skip
                literal += len(sets[0].difference(*sets[1:]))
            moments = only_moments(mine.results, [other.results for other in others])
            assert len(moments) == literal
            assert (moments.kind == ONLY).all()
        assert len(only_moments(mine.results, [s.results for s in by_map if s is not mine])) == found[mine.name]
    classes = classes_won_table(ranking)
    assert classes.values.shape == (13, 4)
    for c in range(13):
        row = classes.values[c, 1:]
        best = np.flatnonzero(row == np.max(np.nan_to_num(row, nan=-1)))
        assert classes.values[c, 0] == best[0] + 1 if len(best) == 1 else np.isnan(classes.values[c, 0])
    assert ranking.wins[0, 2] + ranking.wins[2, 0] <= 6
    again = rank_systems(list(reversed(list(systems.values()))), n_resamples=200, seed=3)
    assert json.dumps(again.to_json(), allow_nan=False) == json.dumps(ranking.to_json(), allow_nan=False)


def test_what_is_said(systems: dict[str, SystemResult]) -> None:
    good = systems["good"]
    twin = replace(good, name="twin")
    tie = rank_systems([good, twin], n_resamples=100)
    assert tie.probability[0, 1] == 1
    assert "not surely better than twin" in tie.statement()
    nothing = replace(
        systems["half"],
        name="nothing",
        results=tuple(
            replace(r, scores=replace(r.scores, detection_hit=np.zeros_like(r.scores.detection_hit)))
            for r in systems["half"].results
        ),
    )
    sure = rank_systems([good, nothing], n_resamples=200)
    assert "good is surely better than every other system on 6 common recordings" in sure.statement()
    assert sure.n_only[0] > sure.n_only[1] == 0
    one = rank_systems([good.only({"r1"}), nothing.only({"r1"})], n_resamples=50)
    assert one.probability[0, 1] == 1
    assert "good is first on 1 common recording, but not surely better than nothing" in one.statement()
    five = {f"r{k}" for k in range(5)}
    few = rank_systems([good.only(five), nothing.only(five)], n_resamples=200)
    assert few.probability[0, 1] == 2 / 2**5  # the bootstrap alone would say 0.01 and call it sure
    assert "not surely better than nothing" in few.statement()
    assert np.isnan(ranking_table(sure).values[0, 3])
    assert wins_table(sure).values[0, 1] == sure.wins[0, 1] > 0
    for wrong, words in (([], "no system"), ([good, good], "name of its own"), ([good.only(set()), nothing], "common")):
        with pytest.raises(InputError, match=words):
            rank_systems(wrong)


def test_the_verb_ranks_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("a", "b")):
        labels, found = made_up_recording(seed, n_frames=5, name=name)
        for folder, table in (("mine", found), ("yours", found.take(np.arange(0, len(found), 2)))):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_submission_json(table, tmp_path / folder / f"{name}.json")
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_label_json(labels, tmp_path / "labels" / f"{name}_std.json")
    mine, yours = str(tmp_path / "mine"), str(tmp_path / "yours")
    call = ["evaluate", "--labels", str(tmp_path / "labels"), "--predictions", mine, "--no-cache", "--rank", yours]
    assert main([*call, "--json", str(tmp_path / "o.json")]) == 0
    assert "Classes won" in capsys.readouterr().out
    ranking = json.loads((tmp_path / "o.json").read_text())["ranking"]
    assert set(ranking["systems"]) == {"mine", "yours"}
    for twice in (mine, yours, f"{tmp_path}/labels/../yours", f"{tmp_path}/labels/../mine"):
        assert main([*call, twice]) == 2
        assert "given twice" in capsys.readouterr().err
