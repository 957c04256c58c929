"""Names of recordings, splits, systems, runs and reviewers that would act as Markdown, HTML, formulas or formats.

Every page is drawn on data that bear them; in whatever it sends to the browser, what the browser would take for
Markdown must be escaped. The browser test looks at the same in a real browser: nothing is fetched from elsewhere.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as hs
from streamlit.testing.v1 import AppTest

from pages.components import state_keys as keys
from pages.components.text import chart_text, plain, shown
from sai_core.review import ReviewStore
from tests.figures.scenes import write_root
from tests.tuning.stand_in import write_root as write_raw_root

REPOSITORY = Path(__file__).resolve().parents[2]

RECORDING = "![x](http:&#47;&#47;127.0.0.1:9&#47;p.png) :red[r] :smile: $y^2$ <b>b {0} {x} \"q\" 'a' `c` **d**"
SYSTEM = "- ![s](x) :blue[s] {1} $z$ <i>i"
SPLIT = "1. s :green[t] {y} ![u](v)"
REVIEWER = "anna ![w](v) :red[r] {z} $a$ <u>u"

_ACTIVE = re.compile(r"(?<!\\)(!\[|\]\(|:(?:red|blue|green|smile)|\$|<[biu]>|\*\*d)")
"""Beginnings of what would act, without the backslash that makes them plain."""

_PLAIN_FIELDS = {
    "Selectbox": {"options", "raw_value", "default"},
    "MultiSelect": {"options", "raw_values", "string_values"},
    "TextInput": {"value", "default", "placeholder", "query_param_key"},
    "TextArea": {"value", "default", "placeholder"},
    "Code": {"code_text"},
    "Dataframe": {"alt"},  # read aloud
    "BidiComponent": {"json", "bytes", "mixed", "arrow_data", "js_content", "html_content", "css_content"},
    "PlotlyChart": {"spec", "config"},
    "LinkButton": {"url"},
    "PageLink": {"page", "query_string"},
    "Image": {"url"},
    "DownloadButton": {"url"},
}
"""What the browser shows, or does not show, without reading it as Markdown."""

_NEVER_SHOWN = {"id", "form_id", "user_key", "element_id", "fragment_id", "formatted_id", "page_script_hash"}


def texts(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """``(message type.field, text)`` of everything in a protocol message that the browser might take for Markdown."""
    kind = type(message).__name__
    for field, value in message.ListFields():
        name = field.name
        if name in _NEVER_SHOWN or name in _PLAIN_FIELDS.get(kind, ()):
            continue
        many = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        for one in value if many else [value]:
            if isinstance(one, Message):
                yield from texts(one, f"{path}/{kind}.{name}")
            elif isinstance(one, str):
                yield f"{path}/{kind}.{name}", one


def messages(test: AppTest) -> Iterator[Message]:
    stack: list[Any] = [test._tree]
    while stack:
        node = stack.pop()
        if isinstance(proto := getattr(node, "proto", None), Message):
            yield proto
        stack += list(getattr(node, "children", {}).values())


def active(test: AppTest) -> list[tuple[str, str]]:
    """Texts with something of the hostile names that would act."""
    own = (":red", ":blue", ":green")  # the pages' own colours are fine, those of the names end in r], s] and t]
    found = []
    for proto in messages(test):
        for where, text in texts(proto):
            for match in _ACTIVE.finditer(text):
                mine = match[0].startswith(own) and not re.match(r":\w+\[[rst]\]", text[match.start() :])
                if not mine and match[0] != "](":
                    found.append((where, text[:300]))
    return found


AWAITED = {"scores": {"Dataframe", "PlotlyChart"}, "review": {"BidiComponent"}, "explorer": {"BidiComponent"}}
"""What a page shows once its work in the background is done, and no bar of progress any more."""


def kinds(test: AppTest) -> set[str]:
    return {type(proto).__name__ for proto in messages(test)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose names are all hostile; the labels are large enough for a progress bar."""
    root = tmp_path_factory.mktemp("hostile") / "root"
    write_root(root, recording=RECORDING, split=SPLIT, n_frames=200, video_size=None, audio=False, systems=(SYSTEM,))
    broken = root / "predictions" / f"{SYSTEM}2"
    broken.mkdir()
    (broken / f"{RECORDING}.json").write_text('{"annotations": [{"metadata_frame_index": 3, "categ')
    return root


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("XDG_DATA_HOME", "SAI_RUNS_DIR", "SAI_SYSTEMS_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def opened(page: str, root: Path, **parameters: str) -> AppTest:
    # the home page leads to the others, which only the app knows
    script = REPOSITORY / ("app.py" if page == "home" else f"pages/{page}/page.py")
    test = AppTest.from_file(str(script), default_timeout=120)
    test.query_params["label_root" if page == "label" else "root"] = str(root)
    for name, value in parameters.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception
    return test


@pytest.mark.slow
@pytest.mark.parametrize("view", ["Budget", "Slices", "Ranking"])
def test_no_view_of_scores_takes_a_name_for_markdown(view: str, root: Path) -> None:
    test = opened("scores", root, **{keys.SCORES_VIEW: view})
    end = time.monotonic() + 60
    while "Dataframe" not in kinds(test) or "Progress" in kinds(test):
        assert time.monotonic() < end, "what comes from the background did not come"
        time.sleep(0.2)
        test.run()
    if view == "Slices":
        test.segmented_control(key=keys.SCORES_ATTRIBUTE).set_value("recording").run()
        assert "Dataframe" in kinds(test)
    assert not test.exception
    assert active(test) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    ["home", "dataset", "explorer", "predict", "tune", "scores", "review", "figures", "train", "label", "doctor"],
)
def test_no_page_takes_a_name_for_markdown(page: str, root: Path) -> None:
    test = opened(page, root, **({keys.REVIEW_NAME: REVIEWER} if page == "review" else {}))
    seen = active(test)
    end = time.monotonic() + 60
    while page in AWAITED and not AWAITED[page] <= kinds(test) - {"Progress"} == kinds(test):
        assert time.monotonic() < end, "what comes from the background did not come"
        time.sleep(0.2)
        test.run()
        assert not test.exception
        seen += active(test)
    assert seen == []


@pytest.mark.slow
def test_messages_about_hostile_paths(root: Path, tmp_path: Path) -> None:
    name = "![x](y) :red[r] $z$ <b>b {0}"
    for page, key in (("review", keys.REVIEW_FILE), ("predict", keys.PREDICT_PATH), ("train", keys.TRAIN_FOLDER)):
        test = opened(page, root, **{key: str(tmp_path / name / "none.x")})
        assert active(test) == []
    for page in ("home", "explorer", "scores"):
        test = opened(page, tmp_path / name)
        assert len(test.error) == 1
        assert active(test) == []


@pytest.mark.slow
def test_hostile_reviews(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with ReviewStore(path) as store:
        for reviewer in (REVIEWER, f"{REVIEWER}2"):
            store.append(
                reviewer=reviewer,
                split=SPLIT,
                recording=RECORDING[:150],
                item="i",
                action="tag",
                comment=RECORDING,
                tags=(":red[r]",),
            )
    test = opened("review", root, **{keys.REVIEW_FILE: str(path), keys.REVIEW_NAME: REVIEWER})
    assert active(test) == []


@pytest.mark.slow
def test_tuning_with_hostile_names(tmp_path: Path) -> None:
    root = write_raw_root(tmp_path / ":red[r] ![x](y) {0}", n_frames=20)
    test = opened("tune", root)
    assert active(test) == []


def test_the_search_finds_what_acts(tmp_path: Path) -> None:
    """The tests above can fail."""
    test = AppTest.from_string(f"import streamlit as st\nst.progress(0.5, {RECORDING!r})\nst.button({SYSTEM!r})").run()
    assert len({where for where, _ in active(test)}) == 2


anything = hs.text(hs.characters(exclude_categories=())) | hs.text(
    "![](){}<>$:`*_\\\n\r\t-+=#1. @w\u202e\ud800\0", max_size=30
)


@given(anything)
def test_plain_text_has_nothing_that_acts(text: str) -> None:
    result = plain(text)
    result.encode("utf-8")  # what goes to the browser
    assert "\n" not in result
    unescaped = re.sub(r"\\[\\`*_\[\](){}<>$~:!|#&+=.-]", "", result)
    assert not re.search(r"[`*_\[\](){}<>$~:!|#&]", unescaped)
    assert not re.match(r"\s*[-+=]|\s*\d+\.|\s{4}", result)
    for c in "\u202a\u202e\u2066\x1b\x00\x7f\ud800":
        assert c not in result


@given(anything)
def test_nothing_is_lost(text: str) -> None:
    kept = re.sub(r"\\([\\`*_\[\](){}<>$~:!|#&+=.-])", r"\1", plain(text)).replace("\u2060", "")
    assert kept == shown(text).replace("\u2060", "").lstrip()


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("take_1.wav", r"take\_1.wav"),
        ("a\nb", "a b"),
        ("a\u202eb", "a\\\\u202eb"),
        ("\x1b[31m", "\\\\x1b\\[31m"),
        ("caf\udce9", "caf\\\\udce9"),
        ("- a", "\\- a"),
        ("12. a", "12\\. a"),
        ("a - b", "a - b"),
        ("&#47;", "\\&\\#47;"),
        ("日本 👩‍🔬", "日本 👩‍🔬"),
    ],
)
def test_how_text_is_shown(text: str, result: str) -> None:
    assert plain(text) == result


@given(anything)
def test_charts_take_no_html(text: str) -> None:
    result = chart_text(text)
    result.encode("utf-8")
    assert "<" not in result
    assert "%{" not in result
