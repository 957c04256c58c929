"""Doctor: what is installed, which device there is, what the data root holds, what is missing."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from pages.components import data_bar
from pages.components.text import plain
from sai_core.dataset import DataRoot
from sai_core.doctor import codecs_text, gather


@st.cache_resource(ttl=30, max_entries=4, show_spinner="Looking at this machine")
def _report(_root: DataRoot | None, path: str) -> dict[str, Any]:
    return gather(_root)


def main() -> None:
    """Draw the page."""
    bar = st.container(horizontal=True, vertical_alignment="center")
    root = data_bar.choose_root(bar)
    report = _report(root, str(root.path) if root is not None else "")
    problems = report["problems"] + (report["data"]["problems"] if report["data"] else [])
    with bar:
        if st.button("Look again", icon=":material/refresh:"):
            _report.clear()
            st.rerun()
        st.download_button(
            "Report as JSON",
            json.dumps(report, indent=2),
            "doctor.json",
            "application/json",
            icon=":material/download:",
            help="Attach this when you ask for help; it contains paths of this machine.",
        )
    if problems:
        for problem in problems[:20]:
            st.warning(plain(problem))
        if len(problems) > 20:
            st.caption(f"... and {len(problems) - 20} more in the report.")
    else:
        st.success("No problems found.")
    machine, torch = report["machine"], report["torch"]
    facts, packages = st.columns([1, 1], gap="medium")
    with facts:
        st.subheader("Machine", anchor=False)
        rows = {
            "Program": f"sai_core {report['program']}",
            "Python": report["python"]["version"],
            "System": machine["system"],
            "Cores": str(machine["n_cores"]),
            "Memory": f"{_gib(machine['memory_available'])} of {_gib(machine['memory_total'])} free",
            "torch / torchvision": f"{torch['torch']} / {torch['torchvision']}"
            + (", operators run" if torch["operators_work"] else ", operators do not run"),
            "Devices": ", ".join(f"{d['name']} ({d['model']})" for d in report["devices"]),
            "OpenCV": "works" if report["opencv_works"] else "does not work",
            "Video": "is decoded and written" if report["pyav_works"] else "decoding and writing do not work",
            "Video codecs": codecs_text(report["video_codecs"]),
            "Cache": f"{_gib(machine['cache_bytes'])} of {_gib(machine['cache_budget'])}",
        }
        st.dataframe(pd.DataFrame({"what": rows.keys(), "is": rows.values()}), hide_index=True, width="stretch")
        # below the table: a long path would be cut off in a cell
        st.caption(f"Cache folder: {plain(machine['cache_path'])}")
        if report["workspace"] is not None:
            st.caption(f"Workspace: {plain(report['workspace']['path'])}")
        st.caption("The same from a terminal: `python -m sai_core doctor --data ROOT`")
    with packages:
        st.subheader("Packages", anchor=False)
        table = pd.DataFrame(
            [
                {
                    "package": p["name"],
                    "installed": p["installed"] or "missing",
                    "needed": p["required"],
                    "fine": p["problem"] is None,
                }
                for p in report["packages"]
            ]
        )
        st.dataframe(table, hide_index=True, width="stretch", height=420)
    if report["data"]:
        _data(report["data"])


def _data(data: dict[str, Any]) -> None:
    st.subheader("Data", anchor=False)
    rows = [
        {
            "split": split or "(none)",
            **{k: v for k, v in counts.items() if k != "seconds"},
            "minutes": counts["seconds"] / 60,
        }
        for split, counts in data["splits"].items()
    ]
    if rows:
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            width="stretch",
            column_config={"minutes": st.column_config.NumberColumn(format="%.1f")},
        )
    for sentence in data["missing"]:
        st.caption(plain(sentence))


def _gib(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 2**30:.1f} GiB" if size >= 2**28 else f"{size / 2**20:.0f} MiB"


main()
