"""What a log means: undo without limit, verdicts that start over, conflicts, agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sai_core.review.entries import Entry
from sai_core.review.history import History, agreement, cohen_kappa
from tests.review.helpers import entry


def test_kappa_of_cohens_kind() -> None:
    # 20 + 15 of 50 agree; by chance (25 * 30 + 25 * 20) / 2500 = 0.5: (0.7 - 0.5) / 0.5
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    observed, kappa = cohen_kappa(pairs)
    np.testing.assert_allclose([observed, kappa], [0.7, 0.4], rtol=0, atol=1e-12)
    assert cohen_kappa([("a", "a"), ("b", "b")]) == (1.0, 1.0)
    assert all(map(math.isnan, cohen_kappa([])))
    assert math.isnan(cohen_kappa([("a", "a")] * 5)[1])


def test_agreement_counts_items_that_both_decided() -> None:
    log = [
        entry("accept", item="1", reviewer="ann", time=1),
        entry("accept", item="1", reviewer="bob", time=2),
        entry("reject", item="2", reviewer="ann", time=3),
        entry("accept", item="2", reviewer="bob", time=4),
        entry("accept", item="3", reviewer="ann", time=5),
    ]
    (found,) = agreement(History(log))
    assert (found.reviewers, found.n_items, found.observed) == (("ann", "bob"), 2, 0.5)


def test_a_verdict_starts_over_and_changes_add_up() -> None:
    edits = [{"op": "set", "targets": ["0.0.1.0"], "category": 4}]
    shift = [{"op": "shift", "targets": ["0.0.1.0"], "azimuth_deg": 1, "elevation_deg": 0}]
    log = [entry("class", time=1, after={"edits": edits}), entry("shift", time=2, after={"edits": shift})]
    assert History(log).state("i").views[0].outcome == "class 4 + shift"
    assert History(log).state("i").views[0].edits == edits + shift
    log.append(entry("reject", time=3))
    assert History(log).state("i").views[0].outcome == "reject"
    assert History(log).applied() == []
    log.append(entry("undo", time=4, ref=log[-1].uid))
    assert History(log).state("i").views[0].edits == edits + shift


def test_conflicts_and_how_they_end() -> None:
    log = [entry("accept", reviewer="ann", time=1), entry("reject", reviewer="bob", time=2)]
    assert History(log).state("i").status == "conflict"
    assert History(log).state("i").chosen("agreed") is None
    settled = [*log, entry("accept", reviewer="bob", time=3, after={"settles": True})]
    assert History(settled).state("i").status == "done"
    settled = [*log, entry("reject", reviewer="cem", time=3, after={"settles": True})]
    assert History(settled).state("i").status == "done"
    assert History(settled).state("i").chosen().reviewer == "cem"  # type: ignore[union-attr]
    # agreement is about what each found alone: the settling line is no opinion
    assert len(agreement(History(settled))) == 1
    reopened = [*settled, entry("accept", reviewer="ann", time=4)]
    assert History(reopened).state("i").status == "conflict"


def test_only_the_own_lines_can_be_undone() -> None:
    first = entry("accept", reviewer="ann", time=1)
    assert History([first, entry("undo", reviewer="bob", time=2, ref=first.uid)]).state("i").status == "done"


def test_others_decisions_are_not_seen_on_the_item_itself() -> None:
    edits = [{"op": "set", "targets": ["0.0.1.0"], "category": 4}]
    log = [entry("class", item=i, reviewer="bob", time=k, after={"edits": edits}) for k, i in enumerate("12")]
    assert [e.item for e in History(log).seen_by("ann", "1")] == ["2"]
    assert [e.item for e in History(log).seen_by("bob", "1")] == ["1", "2"]


@given(st.lists(st.sampled_from(["decide", "undo", "redo"]), max_size=30))
def test_undo_and_redo_behave_like_an_editors(steps: list[str]) -> None:
    log: list[Entry] = []
    done: list[str] = []
    back: list[str] = []
    for time, step in enumerate(steps):
        history = History(log)
        target = {"undo": history.undo_target, "redo": history.redo_target}.get(step)
        if target is None:
            log.append(entry("accept", item=str(time), time=time))
            done, back = [*done, log[-1].uid], []
            continue
        line = target("ann")
        source = done if step == "undo" else back
        assert (line.uid if line else None) == (source[-1] if source else None)
        if line is not None:
            log.append(entry(step, item=line.item, time=time, ref=line.uid))
            source.pop()
            (back if step == "undo" else done).append(line.uid)
    assert [e.uid for e in History(log).standing] == sorted(done, key=[e.uid for e in log].index)


@pytest.mark.parametrize("policy", ["latest", "agreed"])
def test_unsure_changes_nothing(policy: str) -> None:
    assert History([entry("unsure")]).applied(policy=policy) == []  # type: ignore[arg-type]
    assert History([entry("unsure")]).state("i").status == "unsure"
