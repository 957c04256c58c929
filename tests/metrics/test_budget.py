"""The error budget against a literal version of each kind of error, written as predictions and evaluated."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from sai_core.annotations import read_annotations
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import write_label_json, write_submission_json
from sai_core.cli import main
from sai_core.errors import InputError
from sai_core.geometry import great_circle_deg
from sai_core.metrics import Evaluation, Revision, evaluate, region_peak_direction, render_map_0630
from sai_core.metrics.evaluation.oracles import (
    ERROR_KINDS,
    Changed,
    ErrorKind,
    LabelRegions,
    RecordingOracle,
    changed_regions,
    combinations_of,
)
from sai_core.metrics.evaluation.score_store import ScoreStore, result_of_tables
from sai_core.metrics.reading.budget import (
    Budget,
    budget_by_class,
    budget_moments,
    budget_of,
    budget_of_files,
    budget_table,
    pairs_table,
)
from tests.metrics.helpers import made_up_recording, region, table

Row = dict[str, Any]


def rows_of(annotations: AnnotationTable) -> list[Row]:
    azimuth, elevation = region_peak_direction(annotations)
    return [
        {
            "frame": int(annotations.frame[k]),
            "category": int(annotations.category_id[k]),
            "score": float(annotations.score[k]),
            "cm": float(annotations.distance_cm[k]),
            "xy": annotations.points(k)[0].copy(),
            "energy": annotations.points(k)[1].copy(),
            "direction": (azimuth[k], elevation[k]),
        }
        for k in range(len(annotations))
    ]


def as_table(rows: list[Row], name: str) -> AnnotationTable:
    return table(
        [(r["frame"], r["category"], (r["xy"], r["energy"])) for r in rows],
        name=name,
        scores=[r["score"] for r in rows],
        distances=[r["cm"] for r in rows],
    )


def soft_iou(a: Row, b: Row) -> float:
    one, other = (render_map_0630(r["xy"], r["energy"]) for r in (a, b))
    return float(np.float32(np.minimum(one, other).sum() / np.maximum(one, other).sum()))


def angle(a: Row, b: Row) -> float:
    return float(great_circle_deg(*a["direction"], *b["direction"]))


def official(labels: list[Row], rows: list[Row]) -> dict[int, tuple[int, float]]:
    """Label and IoU of each prediction that the official assignment pairs."""
    found = {}
    for key in {(r["frame"], r["category"]) for r in rows}:
        p = [k for k, r in enumerate(rows) if (r["frame"], r["category"]) == key]
        g = [k for k, r in enumerate(labels) if (r["frame"], r["category"]) == key]
        iou = np.array([[soft_iou(rows[i], labels[j]) for j in g] for i in p]).reshape(len(p), len(g))
        for i, j in zip(*linear_sum_assignment(-iou), strict=True):
            found[p[i]] = (g[j], float(iou[i, j]))
    return found


def closest(pairs: list[tuple[float, int, int]]) -> list[tuple[int, int]]:
    """One to one: as many pairs as possible, of those the least total angle; by trying all."""
    best: tuple[int, float, list[tuple[int, int]]] = (0, 0.0, [])
    for size in range(len(pairs), 0, -1):
        for chosen in itertools.combinations(pairs, size):
            if len({c[1] for c in chosen}) == len({c[2] for c in chosen}) == size:
                total = sum(c[0] for c in chosen)
                if best[0] < size or total < best[1]:
                    best = (size, total, [(c[1], c[2]) for c in chosen])
        if best[0]:
            break
    return best[2]


def partners(labels: list[Row], rows: list[Row]) -> dict[int, int]:
    found = {i: j for i, (j, iou) in official(labels, rows).items() if iou > 0}
    for key in {(r["frame"], r["category"]) for r in rows}:
        p = [k for k, r in enumerate(rows) if (r["frame"], r["category"]) == key and k not in found]
        g = [k for k, r in enumerate(labels) if (r["frame"], r["category"]) == key and k not in found.values()]
        found.update(closest([(angle(rows[i], labels[j]), i, j) for i in p for j in g]))
    return found


def literal(kind: ErrorKind, labels: list[Row], rows: list[Row]) -> list[Row]:
    """One kind put right, as its definition reads, annotation by annotation."""
    rows = [dict(r) for r in rows]
    sounding = {(r["frame"], r["category"]) for r in labels}
    mine = partners(labels, rows)
    missed = [j for j in range(len(labels)) if j not in mine.values()]
    if kind == "class":
        for frame in {r["frame"] for r in labels}:
            pairs = [
                (angle(rows[i], labels[j]), i, j)
                for i in range(len(rows))
                for j in missed
                if i not in mine and rows[i]["frame"] == labels[j]["frame"] == frame
            ]
            for i, j in closest([pair for pair in pairs if pair[0] <= 20]):
                rows[i]["category"] = labels[j]["category"]
    elif kind == "presence":
        rows = [r for r in rows if (r["frame"], r["category"]) in sounding]
    elif kind == "duplicates":
        rows = [r for i, r in enumerate(rows) if i in mine or (r["frame"], r["category"]) not in sounding]
    elif kind == "energy":
        for i, j in mine.items():
            apart = np.linalg.norm(_nearest_turn(rows[i]["xy"][:, None] - labels[j]["xy"][None]), axis=2)
            energy = np.where(apart.min(axis=1) <= 1, labels[j]["energy"][apart.argmin(axis=1)], 0.0)
            if energy.any():
                rows[i]["energy"] = energy
    elif kind == "misses":
        added = [{**labels[j], "score": 1.0} for j in missed]
        rows = sorted(rows + added, key=lambda r: r["frame"])
    elif kind == "ranking":
        found = official(labels, rows)
        for i, r in enumerate(rows):
            r["score"] = found[i][1] if i in found else 0.0
    return rows


def _nearest_turn(difference: np.ndarray) -> np.ndarray:
    turned = difference.copy()
    turned[..., 0] = (difference[..., 0] + 180) % 360 - 180
    return turned


def crowded(seed: int, name: str) -> tuple[AnnotationTable, AnnotationTable]:
    """A made-up recording with two sources of a class at once, duplicates, and something far from its label."""
    labels, predictions = made_up_recording(seed, n_frames=5, name=name, n_points=14)
    rng = np.random.default_rng(seed + 1000)
    rows = rows_of(predictions)
    truth = rows_of(labels)
    for r in list(rows[::3]):
        x, y = r["xy"].mean(axis=0)
        xy, energy = region((x + 4) % 360, y, radius=7, rng=rng, n=12)
        rows.append({**r, "xy": xy, "energy": energy, "score": float(rng.uniform(0, 1))})
    for r in list(truth[::2]):
        x, y = r["xy"].mean(axis=0)
        xy, energy = region((x + 60) % 360, y, radius=6, rng=rng, n=12)
        rows.append({**r, "xy": xy, "energy": energy, "score": float(rng.uniform(0, 1))})
        xy, energy = region((x + 100) % 360, y, radius=7)
        truth.append({**r, "xy": xy, "energy": energy})
    for r in list(truth[::5]):
        xy, energy = region(2, 60, radius=7)
        truth.append({**r, "category": 9, "xy": xy, "energy": energy})
        xy, energy = region(356, 63, radius=7, rng=rng, n=12)
        rows.append({**r, "category": 8, "xy": xy, "energy": energy, "score": float(rng.uniform(0, 1))})
    rows, truth = (sorted(side, key=lambda r: r["frame"]) for side in (rows, truth))
    return as_table(truth, name), as_table(rows, name)


@pytest.fixture(scope="module")
def recordings() -> dict[str, tuple[AnnotationTable, AnnotationTable]]:
    return {name: crowded(seed, name) for seed, name in enumerate(("b", "a"), start=7)}


@pytest.fixture(scope="module")
def budget(recordings: dict[str, tuple[AnnotationTable, AnnotationTable]]) -> Budget:
    return budget_of([RecordingOracle.of_tables(*pair, use_cache=False) for pair in recordings.values()], name="s")


def assert_same(ours: Evaluation, theirs: Evaluation) -> None:
    for mine, other in zip(
        (*ours.per_class, ours.macro, ours.micro), (*theirs.per_class, theirs.macro, theirs.micro), strict=True
    ):
        np.testing.assert_equal(
            (mine.n_detections, mine.ap, mine.mean_ap), (other.n_detections, other.ap, other.mean_ap)
        )
        # sums of one order; distances of the two sides come from one table
        np.testing.assert_allclose(
            (mine.pearson_r, mine.distance_mape), (other.pearson_r, other.distance_mape), rtol=0, atol=1e-12
        )


@pytest.mark.parametrize(
    "kinds", [(), *((k,) for k in ERROR_KINDS if k != "place"), ("class", "misses"), ("duplicates", "ranking")]
)
def test_each_kind_is_what_its_definition_says(
    kinds: tuple[ErrorKind, ...],
    recordings: dict[str, tuple[AnnotationTable, AnnotationTable]],
    budget: Budget,
    tmp_path: Path,
) -> None:
    labels, predictions = {}, {}
    changed = 0
    for name, (truth, found) in recordings.items():
        rows = before = rows_of(found)
        for kind in kinds:
            rows = literal(kind, rows_of(truth), rows)
        changed += len(rows) != len(before) or any(
            a["category"] != b["category"] or a["score"] != b["score"] or (a["energy"] != b["energy"]).any()
            for a, b in zip(before, rows, strict=True)
        )
        labels[name], predictions[name] = tmp_path / f"{name}_std.json", tmp_path / f"{name}.json"
        write_label_json(truth, labels[name])
        write_submission_json(as_table(rows, name), predictions[name])
    assert changed == (2 if kinds else 0)  # each kind occurs in both
    assert_same(budget.evaluations[kinds], evaluate(labels, predictions, use_cache=False))


def test_every_set_of_kinds_is_what_evaluating_its_predictions_gives(
    recordings: dict[str, tuple[AnnotationTable, AnnotationTable]], budget: Budget
) -> None:
    for kinds, evaluation in [*budget.evaluations.items()][1::3]:
        changed = {}
        for name, (truth, found) in recordings.items():
            oracle = RecordingOracle.of_tables(truth, found, use_cache=False)
            changed[name] = changed_regions(truth, found, oracle.changed(kinds))
        assert_same(evaluation, evaluate({n: pair[0] for n, pair in recordings.items()}, changed, use_cache=False))


def truth_with_scores(seed: int = 3) -> tuple[AnnotationTable, list[Row]]:
    """Labels far from each other, of classes 0 to 4, and the same as a perfect submission."""
    rows = []
    rng = np.random.default_rng(seed)
    for frame in range(6):
        for k in range(2):
            xy, energy = region(60 + 150 * k + frame, 90 - 20 * k, radius=9)
            rows.append(
                {"frame": frame, "category": (frame + 2 * k) % 5, "xy": xy, "energy": energy, "cm": 100.0,
                 "score": float(rng.uniform(0.4, 0.9)), "direction": (0.0, 0.0)}
            )  # fmt: skip
    return as_table(rows, "made_up"), rows


def spoilt(kind: ErrorKind, rows: list[Row]) -> list[Row]:
    """A perfect submission with one kind of error in every third annotation, ranked first where that matters."""
    rows = [dict(r) for r in rows]
    for k in range(0, len(rows), 3):
        r = rows[k]
        if kind == "class":
            r["category"], r["score"] = 7, 0.95
        elif kind == "presence":
            rows.append({**r, "category": (r["category"] + 1) % 5, "score": 0.95})
        elif kind == "duplicates":
            rows.append({**r, "xy": (r["xy"] + (150, 0)) % (360, 1000), "score": 0.95})
        elif kind == "place":
            r["xy"] = (r["xy"] + (20, 0)) % (360, 1000)
        elif kind == "energy":
            r["energy"] = np.where(np.arange(len(r["xy"])) < 30, 1.0, 1e-3)
        elif kind == "misses":
            r["score"] = -1.0
    return sorted((r for r in rows if r["score"] >= 0), key=lambda r: r["frame"])


@pytest.mark.parametrize("kind", [k for k in ERROR_KINDS if k != "ranking"])
def test_one_kind_of_error_is_one_bar(kind: ErrorKind) -> None:
    truth, rows = truth_with_scores()
    found = as_table(spoilt(kind, rows), "made_up")
    budget = budget_of([RecordingOracle.of_tables(truth, found, use_cache=False)])
    now = budget.evaluations[()].macro.mean_ap
    assert now < 0.9
    assert budget.gain((kind,)) == pytest.approx(1 - now, abs=1e-6)
    # a wrong class is a false prediction beside a miss, and what ranks first wrongly can be ranked last
    shared: dict[ErrorKind, set[ErrorKind]] = {"class": {"presence", "misses", "ranking"}}
    for other in ERROR_KINDS:
        if other in (kind, "ranking") or other in shared.get(kind, set()):
            continue
        assert budget.gain((other,)) == pytest.approx(0, abs=1e-6), other
    for result in (budget.path[-1], budget.path[ERROR_KINDS.index(kind) + 1]):
        assert result.macro.mean_ap == pytest.approx(1, abs=1e-6)


def test_ranking_alone() -> None:
    truth, rows = truth_with_scores()
    extra = [{**r, "category": (r["category"] + 1) % 5, "score": 0.95} for r in rows[::3]]
    found = as_table(sorted(rows + extra, key=lambda r: r["frame"]), "made_up")
    budget = budget_of([RecordingOracle.of_tables(truth, found, use_cache=False)])
    assert budget.gain(("ranking",)) == pytest.approx(1 - budget.evaluations[()].macro.mean_ap, abs=1e-6)
    assert budget.gain(("place",)) == budget.gain(("energy",)) == 0


def test_a_region_turned_over_seam_and_up_is_back_on_its_label() -> None:
    truth, rows = truth_with_scores()
    tilted = RecordingOracle.of_tables(truth, as_table([{**rows[0]}], "made_up"), use_cache=False)
    # turn the first label's region onto the other label of its frame, and that back
    away = changed_regions(
        truth,
        as_table(rows[:1], "made_up"),
        tilted.changed(()).__class__(*(np.array([v]) for v in (0, -1, 1, -1, 0, rows[0]["category"], 0.5, 100.0))),
    )
    moved = away.points(0)[0]
    assert abs(moved[:, 1].mean() - rows[1]["xy"][:, 1].mean()) < 1
    assert abs(moved[:, 0].mean() - rows[1]["xy"][:, 0].mean()) < 1
    budget = budget_of([RecordingOracle.of_tables(truth, away, use_cache=False)])
    assert budget.evaluations[()].macro.mean_ap == 0
    back = RecordingOracle.of_tables(truth, away, use_cache=False)
    place: tuple[ErrorKind, ...] = ("place",)
    again = changed_regions(truth, away, back.changed(place))
    np.testing.assert_allclose(again.points(0)[0], rows[0]["xy"], atol=2e-5)


def test_tables_and_json_hold_the_same(budget: Budget) -> None:
    described = json.loads(json.dumps(budget.to_json(), allow_nan=False))
    gains, classes, pairs = budget_table(budget), budget_by_class(budget), pairs_table(budget)
    for k, kind in enumerate(ERROR_KINDS):
        gain = described["kinds"][kind]["gain"]["macro"]["mAP"]
        assert gain == gains.values[k, [c.key for c in gains.columns].index("macro_mAP")]
        assert gain == classes.values[-1, [c.key for c in classes.columns].index(kind)] == pairs.values[k, k]
    assert gains.values[-1, 1] == described["as_it_is"]["mAP"] == budget.evaluations[()].macro.mean_ap
    assert len(described["pairs"]) == 21
    assert described["one_after_the_other"][-1]["macro"]["mAP"] == budget.path[-1].macro.mean_ap
    with pytest.raises(InputError, match="holds no figures"):
        budget.gain(("class", "presence", "ranking"))


def test_moments_are_what_a_kind_changes(
    recordings: dict[str, tuple[AnnotationTable, AnnotationTable]], budget: Budget
) -> None:
    results = [result_of_tables(*pair, use_cache=False) for pair in recordings.values()]
    for kind in ERROR_KINDS:
        moments = budget_moments(results, budget, kind)
        assert len(moments)
        assert (np.diff(np.nan_to_num(moments.hurt)) <= 0).all()
        if kind != "ranking":
            assert len(moments) == sum(len(t) for t in budget.touched[kind])
        assert sum(len(budget_moments(results, budget, kind, category_id=c)) for c in range(13)) == len(moments)
    sounding = {
        (name, f, c) for name, (t, _) in recordings.items() for f, c in zip(t.frame, t.category_id, strict=True)
    }
    there = budget_moments(results, budget, "presence")
    assert not sounding & set(zip(there.recording, there.frame, there.category, strict=True))


def test_what_is_kept_is_not_rendered_again(
    recordings: dict[str, tuple[AnnotationTable, AnnotationTable]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "cache"))
    labels, predictions = {}, {}
    for side in ("labels", "predictions"):
        (tmp_path / side).mkdir()
    for name, (truth, found) in recordings.items():
        labels[name] = tmp_path / "labels" / f"{name}_std.json"
        predictions[name] = tmp_path / "predictions" / f"{name}.json"
        write_label_json(truth, labels[name])
        write_submission_json(found, predictions[name])
    first = budget_of_files(ScoreStore(), labels, predictions)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("rendered again")

    with monkeypatch.context() as patch:
        patch.setattr("sai_core.metrics.evaluation.oracles.render_table_0630", never)
        assert budget_of_files(ScoreStore(), labels, predictions).to_json() == first.to_json()
        # the verb gives the same, and its table
        where = ["--labels", str(tmp_path / "labels"), "--predictions", str(tmp_path / "predictions")]
        assert main(["evaluate", *where, "--budget", "--json", str(tmp_path / "out.json")]) == 0
    # rendered by two processes with nothing kept before: the same to the last bit, and nothing left for this one
    monkeypatch.setenv("SAI_CACHE_DIR", str(tmp_path / "another"))
    with monkeypatch.context() as patch:
        patch.setattr("sai_core.metrics.evaluation.oracles.render_table_0630", never)
        assert budget_of_files(ScoreStore(), labels, predictions, workers=2).to_json() == first.to_json()
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["budget"]["kinds"] == first.to_json()["kinds"]
    assert written["budget"]["as_it_is"]["mAP"] == written["macro"]["mAP"]
    assert "Energy field" in capsys.readouterr().out
    for wrong in (["--revision", "2026-04-02"], ["--count-missing"]):
        assert main(["evaluate", *where, "--budget", *wrong]) == 2
        assert "--budget" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(6))
def test_energies_are_those_of_the_nearest_point_of_equally_near_ones_the_first(seed: int) -> None:
    """Labels on whole pixels, over the seam, in any order; predictions between them, where up to four are as near."""
    rng = np.random.default_rng(seed)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(-4, 5), np.arange(84, 92)))
    lattice = np.stack([(x + (0, 180)[seed % 2]) % 360, y], axis=1).astype(float)
    xy = rng.permutation(lattice)[: rng.choice((1, 3, 40, 72))]
    label = table([(0, 3, (xy, rng.uniform(0.1, 1, len(xy))))])
    asked = (np.round(rng.uniform(-6, 6, (200, 2)) * 2) / 2 + ((0, 180)[seed % 2], 88)) % 360

    def distances(a: np.ndarray) -> np.ndarray:
        return np.linalg.norm(_nearest_turn(a[:, None] - xy[None]), axis=2)

    chosen = np.rint(np.linspace(0, 1, 16) * (len(xy) - 1)).astype(int)
    spacing = max(np.median(np.sort(distances(xy[chosen]), axis=1)[:, 1]), 1.0) if len(xy) > 1 else 1.0
    apart = distances(asked)
    expected = np.where(apart.min(axis=1) <= spacing, label.energy[apart.argmin(axis=1)], 0.0)
    found = LabelRegions(label)
    for _ in range(2):  # what is kept of a label does not change it
        np.testing.assert_array_equal(found.energies_at(0, asked), expected)
    assert (expected > 0).any()
    assert (expected == 0).any()


def test_labels_are_not_rendered_again(
    recordings: dict[str, tuple[AnnotationTable, AnnotationTable]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a miss gets is its label, whose map is there: dense regions are most of what rendering costs."""
    rendered = []

    def watched(
        labels: AnnotationTable, predictions: AnnotationTable, changed: Changed, **known: Any
    ) -> AnnotationTable:
        rendered.append(changed)
        return changed_regions(labels, predictions, changed, **known)

    monkeypatch.setattr("sai_core.metrics.evaluation.oracles.changed_regions", watched)
    for pair in recordings.values():
        oracle = RecordingOracle.of_tables(*pair, use_cache=False)
        for kinds in combinations_of(ERROR_KINDS):
            oracle.scores(kinds)
        assert len(oracle.changed(ERROR_KINDS[5:6])) > len(pair[1])
    assert rendered
    assert all((changed.source >= 0).all() for changed in rendered)


def test_nothing_at_all_has_a_budget() -> None:
    empty = AnnotationTable.empty("e")
    truth, rows = truth_with_scores()
    cases: list[tuple[Revision, AnnotationTable, AnnotationTable]] = [
        ("2026-06-30", empty, empty),
        ("2026-05-28", truth, empty),
        ("2026-05-18", empty, as_table(rows, "made_up")),
    ]
    for revision, labels, predictions in cases:
        budget = budget_of([RecordingOracle.of_tables(labels, predictions, use_cache=False)], revision=revision)
        json.dumps(budget.to_json(), allow_nan=False)
        budget_table(budget)
    alone = budget_of([RecordingOracle.of_tables(truth, empty, use_cache=False)])
    assert alone.gain(("misses",)) == pytest.approx(1)
    with pytest.raises(InputError, match="2026-04-02"):
        budget_of([], revision="2026-04-02")


def test_read_back_tables_are_the_same(tmp_path: Path) -> None:
    truth, found = crowded(9, "r")
    write_submission_json(found, tmp_path / "r.json")
    again = read_annotations(tmp_path / "r.json", recording="r", use_cache=False)
    place: tuple[ErrorKind, ...] = ("place",)
    one, other = (RecordingOracle.of_tables(truth, t, use_cache=False).scores(place) for t in (found, again))
    np.testing.assert_array_equal(one.detection_iou, other.detection_iou)
