"""Annotation container, readers, writers and the binary cache."""

from sai_core.annotations.coco import write_coco_json
from sai_core.annotations.compression import CompressionReport, compress_submission
from sai_core.annotations.dcase import DcaseMetadata, read_dcase_csv, write_dcase_csv
from sai_core.annotations.duplicates import drop_exact_duplicates, exact_duplicates
from sai_core.annotations.names import recording_name
from sai_core.annotations.reading import ReadResult, holds_nothing, read_annotations, read_annotations_with_report
from sai_core.annotations.sources import first_of_source
from sai_core.annotations.table import AnnotationTable
from sai_core.annotations.writing import write_label_json, write_submission_json

__all__ = [
    "AnnotationTable",
    "CompressionReport",
    "DcaseMetadata",
    "ReadResult",
    "compress_submission",
    "drop_exact_duplicates",
    "exact_duplicates",
    "first_of_source",
    "holds_nothing",
    "read_annotations",
    "read_annotations_with_report",
    "read_dcase_csv",
    "recording_name",
    "write_coco_json",
    "write_dcase_csv",
    "write_label_json",
    "write_submission_json",
]
