"""Reports of a system, or of several beside each other, in one file: HTML that needs no network, or PDF."""

from sai_core.reporting.content import Report, ReportOptions, gather_report
from sai_core.reporting.page import as_html
from sai_core.reporting.paper import as_pdf

__all__ = ["Report", "ReportOptions", "as_html", "as_pdf", "gather_report"]
