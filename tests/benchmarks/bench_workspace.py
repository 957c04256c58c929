"""How long a workspace of 200 prediction sets of 80 files each takes to list.

Run ``python -m tests.benchmarks.bench_workspace``. Prints one line of JSON: seconds for names and facts of all sets,
for the files of all, for a data root with all of them (the files known by then), and for the same once more.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from sai_core.dataset import open_data_root
from sai_core.workspace import SetFacts, with_sets, workspace

N_SETS, N_FILES = 200, 80


def main() -> None:
    """Make the sets, list them, print."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, SAI_WORKSPACE=f"{folder}/workspace"):
        names = [f"fold4_room23_mix{n:03d}" for n in range(N_FILES)]
        sounds = Path(folder, "data", "mic_dev", "dev-test")
        sounds.mkdir(parents=True)
        for name in names:
            (sounds / f"{name}.wav").touch()
        root = open_data_root(f"{folder}/data")
        asked = tuple(f"dev-test/{name}" for name in names)
        for n in range(N_SETS):
            facts = SetFacts(made_by="predict", data=str(root.path), recordings=asked, system_toml="# setting\n" * 300)
            stored = workspace().begin("predictions", f"set {n}", facts)
            for name in names:
                (stored.folder / f"{name}.json").touch()
                (stored.folder / "raw" / f"{name}.key").mkdir(parents=True)
        time.sleep(2.5)  # what has changed just now is not remembered
        began = time.perf_counter()
        sets = workspace().sets("predictions")
        listed = time.perf_counter()
        n_files = sum(s.n_files for s in sets)
        counted = time.perf_counter()
        n_sets = len(with_sets(root).prediction_sets)
        opened = time.perf_counter()
        with_sets(root)
        again = time.perf_counter()
    print(
        json.dumps(
            {
                "sets": n_sets,
                "files": n_files,
                "list_s": round(listed - began, 3),
                "files_s": round(counted - listed, 3),
                "with_sets_s": round(opened - counted, 3),
                "again_s": round(again - opened, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
