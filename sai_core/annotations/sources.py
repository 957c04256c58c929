"""Sources of a frame, told apart: an annotation is not always a source of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sai_core.annotations.table import AnnotationTable

NO_NUMBER = -1
"""Source number of annotations that have none."""


def first_of_source(table: AnnotationTable) -> npt.NDArray[np.bool_]:
    """Which annotations are the first of their source in their frame, shape (n,): so many sources sound at once.

    A source is a class and a source number. The official labelling code writes a label whose region has several parts
    once per part (docs/labels.md, row 5), so rows of a frame are not its sources. Annotations without a source number
    cannot be told apart: each counts.
    """
    order = np.lexsort((table.instance_id, table.category_id, table.frame))  # stable: the first of each stays first
    again = np.zeros(len(table), np.bool_)
    if len(table) > 1:
        same = table.instance_id[order[1:]] != NO_NUMBER
        for column in (table.frame, table.category_id, table.instance_id):
            same &= np.diff(column[order]) == 0
        again[order[1:]] = same
    return ~again
