"""Annotation container, readers, writers, validation and the binary cache."""

from sai_core.annotations.table import AnnotationTable

__all__ = ["AnnotationTable"]
