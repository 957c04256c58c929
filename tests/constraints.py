"""Write ``constraints.txt`` anew: the versions behind requirements.txt as they are installed, with wheel hashes.

``python -m tests.constraints`` asks pip what it would install (nothing is) with the versions of this environment, on
the platform that it runs on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# Versions that the tests ran with, and the hashes of their wheels for CPython 3.11 on Linux x86-64. A copy of them:
#   pip install --require-hashes --no-deps -r constraints.txt
# requirements.txt has the ranges, for everyone else. Made by tests/constraints.py; a test holds the two together.
"""


def main() -> None:
    """Ask pip and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        report, frozen = Path(folder, "report.json"), Path(folder, "frozen.txt")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        frozen.write_bytes(subprocess.run([*pip, "freeze"], check=True, capture_output=True).stdout)
        asked = ["-r", str(ROOT / "requirements.txt"), "-c", str(frozen)]
        options = ["--dry-run", "--quiet", "--ignore-installed", "--report", str(report)]
        subprocess.run([*pip, "install", *options, *asked], check=True)
        found = json.loads(report.read_text())["install"]
    lines = []
    for item in found:
        name = item["metadata"]["name"].lower().replace("_", "-")
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={item['metadata']['version']} \\\n    --hash=sha256:{digest}\n")
    (ROOT / "constraints.txt").write_text(HEAD + "".join(sorted(lines)))


if __name__ == "__main__":
    main()
