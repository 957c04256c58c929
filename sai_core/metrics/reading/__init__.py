"""What a page, a table or a report reads from scores: systems, diagnostics, drill-down, calibration, tables."""
