"""What the download buttons of the scores page hold: the table in view as CSV, LaTeX and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pages.scores import views
from sai_core.metrics.reading.tables import Table, to_csv, to_latex


@dataclass(frozen=True)
class Export:
    """Texts of the three files.

    Attributes
    ----------
    titles : tuple of str
        Of the tables in them.
    csv, latex, json : str
        CSV and LaTeX of the tables, one after the other; the JSON of the command line: one object for the views of
        one system, a list of objects with the system's name for the others.
    """

    titles: tuple[str, ...]
    csv: str
    latex: str
    json: str


def export(view: str, scene: views.Scene) -> Export:
    """Files of a view; views without a table of figures give the per-class table."""
    tables = _tables(view, scene)
    objects: Any = scene.chosen.evaluation.to_json()
    if view in (views.SYSTEMS, views.COMPARE):
        pair = [s for s in (scene.chosen, scene.second) if s is not None]
        shown = list(scene.systems.values()) if view == views.SYSTEMS else pair
        objects = [{"system": s.name, **s.evaluation.to_json()} for s in shown]
    if view == views.BUDGET and scene.budget is not None:
        objects["budget"] = scene.budget.to_json()
    if view == views.SLICES and scene.slices is not None:
        objects["slices"] = scene.slices.to_json()
    if view == views.SELD and scene.field is not None:
        objects["field"] = scene.field.to_json()
    if view == views.RANKING and scene.ranking is not None:
        objects = {"revision": scene.revision, "ranking": scene.ranking.to_json()}
    return Export(
        tuple(t.title for t in tables),
        "\n".join(map(to_csv, tables)),
        "\n".join(map(to_latex, tables)),
        json.dumps(objects, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    )


def _tables(view: str, scene: views.Scene) -> list[Table]:
    if view == views.SYSTEMS:
        return views.systems_of(scene)
    if view == views.RECORDINGS:
        return [views.recordings_of(scene)]
    if view == views.BUDGET and scene.budget is not None:
        return views.budgets_of(scene)
    if view == views.SLICES and scene.slices is not None:
        return views.slices_shown(scene)
    if view == views.SELD and scene.field is not None:
        return views.seld_of(scene)
    if view == views.RANKING and scene.ranking is not None:
        return views.rankings_of(scene)
    if view == views.COMPARE:
        table = views.comparison_of(scene)
        return [table] if table is not None else []
    return [views.classes_of(scene)]
