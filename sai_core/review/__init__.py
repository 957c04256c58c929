"""Annotation review: what is worth a look, what was decided about it, and the corrected labels that follow."""

from sai_core.review.deciding import apply_decisions, decide
from sai_core.review.entries import Entry
from sai_core.review.export import (
    corrected_labels,
    diff_csv,
    diff_markdown,
    differences,
    export_review,
    keep_label_set,
    revised_scores,
    statistics,
)
from sai_core.review.history import Agreement, History, agreement, cohen_kappa
from sai_core.review.queue import KIND_TITLES, KINDS, Item, Queue, QueueSettings, build_queue
from sai_core.review.store import ReviewStore, default_review, read_review_file, second_review, write_review_file

__all__ = [
    "KINDS",
    "KIND_TITLES",
    "Agreement",
    "Entry",
    "History",
    "Item",
    "Queue",
    "QueueSettings",
    "ReviewStore",
    "agreement",
    "apply_decisions",
    "build_queue",
    "cohen_kappa",
    "corrected_labels",
    "decide",
    "default_review",
    "diff_csv",
    "diff_markdown",
    "differences",
    "export_review",
    "keep_label_set",
    "read_review_file",
    "revised_scores",
    "second_review",
    "statistics",
    "write_review_file",
]
