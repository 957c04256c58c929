"""Train: runs, started and watched."""
