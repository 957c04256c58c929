"""Pages for people with roles: what they are offered, what hand-made clicks and addresses do, what the core refuses."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import guard, identity
from pages.components import state_keys as keys
from pages.review.desk_element import Request
from sai_core import permissions
from sai_core.access import Access, SignedIn, read_audit
from sai_core.dataset import open_data_root
from sai_core.errors import InputError
from sai_core.inference.job import PredictionQueue, PredictionRequest
from sai_core.installation import asset
from sai_core.permissions import NotAllowedError
from sai_core.player.request import Fields
from sai_core.postprocess import load_system, save_system
from sai_core.review import ReviewStore, default_review, export_review, keep_label_set
from sai_core.review.databases import ServerReview
from sai_core.review.desk import Desk, Filters
from sai_core.runs import launch
from sai_core.runs.kinds import KINDS
from sai_core.runs.launch import LaunchSpec
from sai_core.runs.notes import write_notes
from sai_core.runs.outlook import look_ahead_apart
from sai_core.workspace import SetFacts, workspace
from sai_core.workspace.importing import import_set
from sai_core.workspace.marks import change_marks
from tests.figures.scenes import write_root
from tests.pages.test_sets import labels, predictions
from tests.pages.test_train import finished_run
from tests.review.helpers import files_of

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ("home", "dataset", "explorer", "predict", "tune", "scores", "review", "figures", "train", "label")
RECIPE = str(KINDS["detector"].recipes["small_a"])
VIEWER, REVIEWER, EDITOR = "cleo@example.org", "ben@example.org", "ann@example.org"


class Team:
    """A data root, a workspace with something of each kind in it, and a file of roles."""

    def __init__(self, folder: Path) -> None:
        self.root, self.secret = folder / "data", folder / "secret"
        write_root(self.root, n_frames=12, video_size=None)
        write_root(self.secret, n_frames=12, video_size=None, audio=False)
        predictions(self.root)
        labels(self.root, "corrected", frames=6)
        labels(self.root, "thrown", frames=3)
        here = workspace()
        here.trash(here.find("labels", "thrown"))
        finished_run(here.path / "runs", "first")
        self.audit, self.file = folder / "audit.jsonl", folder / "roles.toml"
        self.write()
        self.access: Access = identity.open_access(self.file)
        permissions.enforce(lambda: identity.find(self.access), self.access.record)

    def write(self, **options: Any) -> None:
        values = {"roots": [str(self.root)], "training": False, "paths": False, **options}
        lines = [
            f"{name} = {str(value).lower() if value in (True, False) else value}" for name, value in values.items()
        ]
        people = [f'"{VIEWER}" = "viewer"', f'"{REVIEWER}" = "reviewer"', f'"{EDITOR}" = "editor"']
        self.file.write_text("\n".join([*lines, f'audit = "{self.audit}"', "[people]", *people]))

    def page(self, name: str, mail: str, **parameters: str) -> AppTest:
        test = AppTest.from_file(str(REPOSITORY / "pages" / name / "page.py"), default_timeout=90)
        test.user = {"is_logged_in": True, "email": mail} if mail else {"is_logged_in": False}
        for key, value in {"root": str(self.root), **parameters}.items():
            test.query_params[key] = value
        return test.run()

    def acting(self, mail: str) -> Any:
        return permissions.acting_as(self.access.person_of(SignedIn(email=mail)))

    def kept(self) -> dict[str, Any]:
        """All files of the workspace and the data, without locks."""
        places = {**files_of(workspace().path), **files_of(self.root)}
        return {str(name): content for name, content in places.items() if ".lock" not in str(name)}


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    monkeypatch.setenv("SAI_WORKSPACE", str(tmp_path / "workspace"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    st.cache_resource.clear()
    yield Team(tmp_path)
    permissions.lift()
    st.cache_resource.clear()


def words(test: AppTest) -> str:
    kinds = (test.info, test.error, test.warning, test.success, test.caption, test.markdown)
    return " ".join(e.value for kind in kinds for e in kind).replace("\\", "")


# what of each page's buttons a viewer sees out of use
OFF = {
    "home": {"Restore", "Delete", "Delete them all"},
    "predict": {"Predict 1 recording"},
    "tune": {"Predict 1 recording with track A"},
    "scores": {"Make it as HTML", "Make it as PDF"},
    "review": {"Export", "Mix them in"},
    "train": {"Delete this run"},
}


@pytest.mark.parametrize("name", PAGES)
def test_a_viewer_sees_every_page_and_its_buttons_do_nothing(
    team: Team, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = team.kept()
    parameters = {"home": {"home_view": "Workspace"}, "train": {"run": "first"}}.get(name, {})
    test = team.page(name, VIEWER, **parameters)
    assert not test.exception, words(test)
    off = {button.label for button in test.button if button.disabled}
    assert OFF.get(name, set()) <= off
    # a page that offered everything to everybody: the core refuses it all the same
    with monkeypatch.context() as patch:
        patch.setattr(permissions, "allowed", lambda action: True)
        patch.setattr(permissions, "paths_allowed", lambda: True)
        test = team.page(name, VIEWER, **parameters)
        offered = [button for button in test.button if not button.disabled]
        assert OFF.get(name, set()) <= {button.label for button in offered}
        for button in offered:
            if button.key not in _ELSEWHERE:
                button.click()
        test.run()
    # an error page is answer enough for whoever presses what is not there; nothing may have happened
    assert team.kept() == before
    # nor anything for somebody who is not signed in, on a page that is asked for by itself
    nobody = team.page(name, "", **parameters)
    assert str(team.root) not in words(nobody)
    assert team.kept() == before


_ELSEWHERE = ("demo_panel", "browse_place_0", "browse_up", "browse_open", "browse_home")
"""Buttons of the data panel, which lead away from the data."""

HOSTILE = (
    {"root": "{secret}"},
    {"root": "{root}/../secret"},
    {"root": "/etc"},
    {"root": "file://{secret}"},
    {"predictions": "{secret}/predictions/first"},
    {"predictions": "../../secret/predictions"},
    {"labels": "{secret}/labels_dev"},
    {"root": "{root}/link"},
)


@pytest.mark.parametrize("mail", [VIEWER, EDITOR])
def test_no_address_opens_what_lies_elsewhere(team: Team, mail: str) -> None:
    team.write(paths=True)
    (team.root / "link").symlink_to(team.secret)
    for given in HOSTILE:
        parameters = {name: value.format(secret=team.secret, root=team.root) for name, value in given.items()}
        test = team.page("explorer", mail, **parameters)
        assert not test.exception
        assert test.error, given
        assert "outside of the folders" in test.error[0].value or "no such" in test.error[0].value, given
    for name, parameters in (
        ("review", {"review_file": str(team.secret / "x.sqlite")}),
        ("train", {"train_folder": str(team.secret)}),
        ("predict", {"predict_path": str(team.secret / "x.pth")}),
    ):
        test = team.page(name, mail, **parameters)
        assert not test.exception
        assert mail == VIEWER or "outside of the folders" in words(test), name
    assert not (team.secret / "x.sqlite").exists()


def test_what_was_opened_before_is_asked_about_again(team: Team) -> None:
    """The data root is kept in memory for all; the question whether it may be opened is not."""
    assert not team.page("explorer", VIEWER).error
    team.write(roots=[str(team.secret)])
    test = team.page("explorer", VIEWER)
    assert "outside of the folders" in test.error[0].value
    assert not team.page("explorer", VIEWER, root=str(team.secret)).error
    team.file.write_text("[people]")
    assert "has no role" in team.page("explorer", VIEWER, root=str(team.secret)).error[0].value


def test_a_link_inside_of_a_root_leads_nowhere_else(team: Team) -> None:
    (label,) = (team.root / "labels_dev").rglob("*_std.json")
    elsewhere = team.secret / "label.json"
    label.rename(elsewhere)
    label.symlink_to(elsewhere)
    with permissions.as_program():
        (recording,) = open_data_root(team.root).recordings
        assert recording.label_path is None
    test = team.page("explorer", VIEWER)
    assert not test.exception
    assert "outside the data root; left out" in words(test)


def _append(team: Team, reviewer: str) -> None:
    place = default_review(team.root)
    assert not isinstance(place, ServerReview)
    with ReviewStore(place) as store:
        store.append(reviewer=reviewer, split="s", recording="r", item="i", action="accept")


def _launch(team: Team, **options: Any) -> None:
    spec = LaunchSpec(kind="detector", recipe=RECIPE, data=(str(team.root),), **options)
    launch.launch(spec, workspace().folder("runs"), "second")


def _predict(team: Team) -> None:
    root = open_data_root(team.root)
    out = workspace().folder("predictions") / "new"
    system, checkpoint = load_system("Voted"), asset("weights", "track_a.safetensors")
    PredictionQueue().request(
        PredictionRequest(data=root.path, recordings=root.recordings, checkpoint=checkpoint, out=out, system=system)
    )


def _history(team: Team) -> Any:
    with ReviewStore(workspace().folder("reviews") / "none.sqlite") as store:
        return store.history()


DEEDS: dict[str, Callable[[Team], object]] = {
    "begin a set": lambda team: workspace().begin("labels", "new", SetFacts()),
    "trash": lambda team: workspace().trash(workspace().find("predictions", "mine")),
    "rename": lambda team: workspace().change(workspace().find("predictions", "mine"), name="other"),
    "restore": lambda team: workspace().restore(workspace().trashed()[0]),
    "delete": lambda team: workspace().delete(workspace().trashed()[0]),
    "empty the trash": lambda team: workspace().empty_trash(),
    "add": lambda team: workspace().add(team.root / "predictions", "predictions"),
    "forget": lambda team: workspace().forget(team.root),
    "export": lambda team: workspace().export(workspace().find("predictions", "mine"), workspace().path / "x.zip"),
    "import": lambda team: import_set(workspace(), team.root / "predictions" / "first"),
    "import a review": lambda team: ReviewStore(workspace().folder("reviews") / "x.sqlite").merge([]),
    "tag": lambda team: change_marks(workspace(), team.root, ["x"], add=["bad"]),
    "save a system": lambda team: save_system(load_system("Voted"), workspace().path / "systems" / "x.toml"),
    "note on a run": lambda team: write_notes(workspace().folder("runs") / "first", "x", []),
    "export a review": lambda team: export_review(open_data_root(team.root), _history(team), workspace().path / "x"),
    "keep labels": lambda team: keep_label_set(open_data_root(team.root), _history(team), "x"),
    "predict": _predict,
    "train": _launch,
    "resume": lambda team: launch.resume(workspace().folder("runs") / "first"),
    "stop": lambda team: launch.request_stop(workspace().folder("runs") / "first"),
    "end": lambda team: launch.terminate(workspace().folder("runs") / "first"),
    "delete a run": lambda team: launch.delete(workspace().folder("runs") / "first"),
    "decide": lambda team: _append(team, VIEWER),
    "decide as another": lambda team: _append(team, REVIEWER),
}


def test_a_viewer_is_refused_in_the_core(team: Team) -> None:
    before = team.kept()
    for number, (name, deed) in enumerate(DEEDS.items(), start=1):
        with team.acting(VIEWER), pytest.raises(NotAllowedError):
            deed(team)
        assert team.kept() == before, name
        lines = read_audit(team.audit)[0]
        assert len(lines) >= number, name
        assert all(line.who == VIEWER and line.result.startswith("refused") for line in lines)


def test_a_reviewer_adds_to_reviews_under_their_name_alone(team: Team, tmp_path: Path) -> None:
    with team.acting(REVIEWER):
        with pytest.raises(InputError, match="under the name"):
            _append(team, EDITOR)
        _append(team, REVIEWER)
        for place in (team.root / "x.sqlite", workspace().folder("predictions") / "mine" / "x.sqlite", tmp_path / "x"):
            with pytest.raises(InputError), ReviewStore(place) as store:
                store.append(reviewer=REVIEWER, split="s", recording="r", item="i", action="accept")
            assert not place.exists()
        before = team.kept()
        for deed in set(DEEDS) - {"decide", "decide as another"}:
            with pytest.raises(NotAllowedError):
                DEEDS[deed](team)
        assert team.kept() == before
    done = [(line.who, line.what) for line in read_audit(team.audit)[0] if line.result == "done"]
    assert done == [(REVIEWER, "accept")]


def test_an_editor_does_what_the_file_allows(team: Team, tmp_path: Path) -> None:
    with team.acting(EDITOR):
        workspace().trash(workspace().find("predictions", "mine"))
        workspace().restore(workspace().trashed()[0])
        _append(team, EDITOR)
        for deed in ("train", "resume", "stop", "delete a run"):
            with pytest.raises(NotAllowedError, match="Trainings are switched off"):
                DEEDS[deed](team)
        stored = workspace().find("labels", "corrected")
        with pytest.raises(InputError, match="the workspace alone"):
            workspace().export(stored, team.root / "out.zip")
        with pytest.raises(InputError, match="outside of the folders"):
            workspace().export(stored, tmp_path / "out.zip")
    team.write(training=True)
    with team.acting(EDITOR):
        for text in (f"start.detector={team.secret}/x.safetensors", 'start.detector="\\u002Fetc\\u002Fpasswd"'):
            with pytest.raises(InputError, match="outside of the folders"):
                _launch(team, overrides=(text,))
            spec = LaunchSpec(kind="detector", recipe=RECIPE, data=(str(team.root),), overrides=(text,))
            with pytest.raises(InputError, match="outside of the folders"):
                look_ahead_apart(spec, workspace().folder("runs") / "second")
            assert ["outside of the folders" in str(fault) for fault in launch.faults(spec)] == [True]
        with pytest.raises(InputError, match="outside of the folders"):
            launch.launch(
                LaunchSpec(kind="detector", recipe=str(team.file), data=(str(team.root),)),
                workspace().folder("runs"),
                "second",
            )
        with pytest.raises(InputError):
            launch.launch(
                LaunchSpec(kind="detector", recipe=RECIPE, data=(str(team.root),)), tmp_path / "runs", "second"
            )
        assert not (workspace().folder("runs") / "second").exists()
        launch.delete(workspace().folder("runs") / "first")
    results = [(line.what, line.result) for line in read_audit(team.audit)[0] if line.what == "delete training"]
    assert [result.split(":")[0] for _, result in results] == ["refused", "done"]


def test_nobody_decides_under_a_name_that_the_browser_sends(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk's element is a message of the websocket: whatever is in it, the name is that of who signed in."""
    performed: list[Any] = []
    original = Desk.perform

    def perform(self: Desk, request: Any, filters: Filters) -> Any:
        performed.append((self.reviewer, dict(request)))
        return original(self, request, filters)

    monkeypatch.setattr(Desk, "perform", perform)
    actions = [
        {"action": "accept", "item": "x", "uid": "0" * 32, "reviewer": name} for name in (EDITOR, REVIEWER, VIEWER)
    ]
    made = Request.of(Fields({"seq": 1, "actions": actions}))
    monkeypatch.setattr("pages.review.session.Request.of", lambda fields: made)
    test = team.page("review", REVIEWER, reviewer=EDITOR)
    for _ in range(60):
        if performed:
            break
        test.run()
    assert {name for name, _ in performed} == {REVIEWER}
    assert {request["reviewer"] for _, request in performed} == {REVIEWER}
    assert keys.REVIEW_NAME not in test.session_state


# ---------------------------------------------------------------- the start of the app


AUTH = (
    '[auth]\nredirect_uri = "http://127.0.0.1:8501/oauth2callback"\n'
    'cookie_secret = "0123456789abcdef0123456789abcdef"\n'
    'client_id = "sai"\nclient_secret = "x"\nserver_metadata_url = "http://localhost:1/x"\n'
)


@pytest.mark.parametrize(
    ("secrets", "reason"),
    [
        ({}, "has no [auth]"),
        ({"cookie_secret": ""}, "has no cookie_secret"),
        ({"cookie_secret": "short"}, "32 characters"),
        ({"redirect_uri": ""}, "has no redirect_uri"),
        ({"redirect_uri": "http://127.0.0.1:8501"}, "with /oauth2callback"),
        ({"client_id": ""}, "has no client_id"),
        ({"server_metadata_url": ""}, "has no server_metadata_url"),
        (None, ""),
    ],
)
def test_with_roles_the_app_starts_with_a_provider_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str] | None, reason: str
) -> None:
    whole = dict(line.split(" = ") for line in AUTH.splitlines()[1:])
    plain = {name: value.strip('"') for name, value in whole.items()} | (secrets or {})
    monkeypatch.setattr(identity, "get_secrets_auth_section", lambda: plain if secrets != {} else {})
    file = tmp_path / "roles.toml"
    file.write_text("[people]\n")
    monkeypatch.setenv("SAI_ROLES", str(file))
    monkeypatch.setattr(guard.config, "get_option", lambda name: "0.0.0.0" if name == "server.address" else [])
    try:
        problem = identity.install()
        assert reason in problem
        assert "\n" not in problem
        assert permissions.enforced() == (not reason)
        # another address than this computer's own is open to those who sign in alone
        assert bool(guard.exposure()) == bool(reason)
    finally:
        permissions.lift()
    file.write_text("people = 3")
    monkeypatch.setattr(identity, "get_secrets_auth_section", lambda: plain)
    assert str(file) in identity.install() or reason
    assert not permissions.enforced()
    monkeypatch.delenv("SAI_ROLES")
    assert identity.install() == ""


def test_without_its_server_the_script_lets_nobody_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAI_ROLES", str(tmp_path / "roles.toml"))
    test = AppTest.from_file(str(REPOSITORY / "app.py"), default_timeout=60).run()
    assert not test.exception
    assert "nobody could sign in" in test.error[0].value
    assert not test.button
