"""The one fragment that watches background jobs: progress, cancel, why there is no result, another try."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import background
from sai_core.errors import InputError
from sai_core.jobs import Job
from sai_core.progress import Progress

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def script() -> None:
    import streamlit as st

    from pages.components import background

    queue = background.queue("test", at_once=1)
    job = queue.find("key")
    if job is None:
        st.info("no job")
    elif background.ready(job, again=queue):
        st.success(str(job.result))


def submit(work: Callable[[Progress], object], *, title: str = "", when_cancelled: str = "Stopped.") -> Job[object]:
    return background.queue("test", at_once=1).submit("key", work, title=title, when_cancelled=when_cancelled)


def said(test: AppTest) -> list[str]:
    assert not test.exception, test.exception
    return [e.value for kind in (test.info, test.error, test.success) for e in kind]


def progress_text(test: AppTest) -> str:
    return str(test.get("progress")[0].proto.text)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_every_session_sees_the_job_from_its_turn_to_its_result() -> None:
    go_on, first = threading.Event(), threading.Event()

    def before(progress: Progress) -> None:
        assert first.wait(PATIENCE_S)

    def work(progress: Progress) -> int:
        progress(0.25, "reading *all* files")
        assert go_on.wait(PATIENCE_S)
        return 42

    background.queue("test", at_once=1).submit("before", before)
    job = submit(work, title="Sum")
    one, two = (AppTest.from_function(script, default_timeout=PATIENCE_S).run() for _ in range(2))
    assert progress_text(one) == progress_text(two) == "Sum\\: Waiting for its turn"
    first.set()
    until(lambda: job.fraction == 0.25)
    assert progress_text(one.run()) == progress_text(two.run()) == "Sum\\: reading \\*all\\* files"
    go_on.set()
    assert job.wait(PATIENCE_S)
    assert said(one.run()) == said(two.run()) == ["42"]
    assert not one.button


def test_cancelled_by_one_session_it_says_so_and_may_be_tried_again() -> None:
    begun = threading.Event()

    def work(progress: Progress) -> None:
        begun.set()
        while True:
            progress(0.5, "on its way")
            time.sleep(0.005)

    job = submit(work, when_cancelled="Cancelled; no file was written.")
    assert begun.wait(PATIENCE_S)
    one, two = (AppTest.from_function(script, default_timeout=PATIENCE_S).run() for _ in range(2))
    [cancel] = one.button
    assert cancel.label == "Cancel"
    cancel.click().run()
    assert job.wait(PATIENCE_S)
    assert said(one.run()) == said(two.run()) == ["Cancelled; no file was written."]
    [again] = two.button
    assert again.label == "Try again"
    again.click().run()
    assert said(two) == said(one.run()) == ["no job"]


def test_a_job_that_stops_late_is_said_to_be_stopping() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(progress: Progress) -> str:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return "done all the same"

    job = submit(work, title="Sum")
    assert begun.wait(PATIENCE_S)
    job.cancel()
    test = AppTest.from_function(script, default_timeout=PATIENCE_S).run()
    assert progress_text(test) == "Sum\\: stopping"
    assert test.button[0].disabled
    go_on.set()
    assert job.wait(PATIENCE_S)
    assert said(test.run()) == ["done all the same"]


def test_why_there_is_no_result_is_shown_as_it_is() -> None:
    def work(progress: Progress) -> None:
        raise InputError("![x](http://somewhere): is empty.")

    assert submit(work).wait(PATIENCE_S)
    [sentence] = said(AppTest.from_function(script, default_timeout=PATIENCE_S).run())
    assert "\\!\\[x\\]\\(" in sentence


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (600, "10 min"), (12000, "3 h 20 min"), (5399, "1 h 30 min")]
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert background.span(seconds) == words
