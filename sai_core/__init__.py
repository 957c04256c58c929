"""Core library of the semantic acoustic imaging explorer (DCASE 2026 Task 3).

Nothing in this package imports streamlit; the pages are a thin layer over it. ``docs/architecture.md`` says
which room holds what and in which direction data flows.
"""

__version__ = "0.2.0"
