"""Review: decisions on suspicious moments."""
