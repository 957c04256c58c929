"""Roles of several people: the file, who somebody is, what each role may do, which paths are open, the audit log."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sai_core import doctor, permissions
from sai_core.access import Access, Roles, SignedIn, add_line, person_key, read_audit, read_roles, roles_path
from sai_core.cli import main
from sai_core.dataset.browse import check_allowed
from sai_core.errors import EnvironmentProblem, InputError
from sai_core.files import atomic_write, user_path
from sai_core.jobs import Job, JobQueue
from sai_core.permissions import ACTIONS, NotAllowedError, Person
from sai_core.progress import Progress
from sai_core.threads import start_thread

FILE = """\
default = "{default}"
roots = ["{root}"]
training = {training}
paths = {paths}
audit = "{audit}"

[people]
"Ann@Example.org" = "editor"
"ben@example.org" = "reviewer"
"cleo@example.org" = "viewer"
"sub:Dora-7" = "viewer"
"""


class Place:
    """A data root, a workspace, something secret beside them, and a file of roles."""

    def __init__(self, folder: Path) -> None:
        self.root, self.workspace, self.secret = folder / "data", folder / "workspace", folder / "secret"
        for inner in (self.root / "labels_dev", self.workspace, self.secret, folder / "etc"):
            inner.mkdir(parents=True)
        (self.secret / "key").write_text("secret")
        self.file, self.audit = folder / "etc" / "roles.toml", folder / "etc" / "audit.jsonl"
        self.write()

    def write(self, *, training: bool = False, paths: bool = False, default: str = "refused") -> None:
        values = {"training": str(training).lower(), "paths": str(paths).lower(), "default": default}
        self.file.write_text(FILE.format(root=self.root, audit=self.audit, **values))

    def access(self) -> Access:
        return Access(self.file, writable=[self.workspace])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def signed_in(place: Place) -> Iterator[Callable[..., Place]]:
    """Work under the file's rules as somebody; None: nobody knows as whom."""
    stack = []

    def sign_in(email: str | None, **options: Any) -> Place:
        place.write(**options)
        access = place.access()
        permissions.enforce(lambda: None if email is None else access.person_of(SignedIn(email=email)), access.record)
        stack.append(access)
        return place

    yield sign_in
    permissions.lift()


# ---------------------------------------------------------------- the file


def test_the_file_says_who_may_do_what(place: Place) -> None:
    access = place.access()
    people = {mail: access.person_of(SignedIn(email=mail)) for mail in ("ANN@example.org ", "ben@example.org")}
    assert [p.role for p in people.values()] == ["editor", "reviewer"]
    assert [p.name for p in people.values()] == ["ann@example.org", "ben@example.org"]
    assert access.person_of(SignedIn(subject="Dora-7")).role == "viewer"
    assert access.person_of(SignedIn(subject="dora-7")).role == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("people = 3", "people"),
        ('[people]\n"a@b.c" = "boss"', "people of a@b.c is 'boss'; choose viewer, reviewer or editor"),
        ('[people]\n"a@b.c" = "editor"\n"A@b.c" = "viewer"', "is there twice"),
        ('[people]\n"  " = "editor"', "is nobody"),
        ('[people]\n"sub:" = "editor"', "is nobody"),
        ('[people]\n"' + "a" * 61 + '" = "editor"', "longer than 60"),
        ('default = "admin"', "choose refused, viewer, reviewer or editor"),
        ('roots = ["data"]', "not an absolute path"),
        ('roots = ["/no/such/folder"]', "there is no folder"),
        ('audit = "log.jsonl"', "not an absolute path"),
        ("training = 1", "true or false"),
        ("trainings = true", "unknown settings trainings"),
        ("training = ", "is not a TOML file"),
        ("\udc80", "is not a TOML file"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "roles.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=reason) as found:
        read_roles(path)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)


def test_no_file_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Access(tmp_path / "roles.toml")
    monkeypatch.setenv("SAI_ROLES", "roles.toml")
    with pytest.raises(InputError, match="not an absolute path"):
        roles_path()
    monkeypatch.setenv("SAI_ROLES", " ")
    assert roles_path() is None


def test_the_file_and_its_log_lie_where_nobody_writes(place: Place) -> None:
    inside = place.workspace / "roles.toml"
    inside.write_text("")
    with pytest.raises(InputError, match="keep it elsewhere"):
        Access(inside, writable=[place.workspace])
    link = place.file.with_name("link.toml")
    link.symlink_to(inside)
    with pytest.raises(InputError, match="keep it elsewhere"):
        Access(link, writable=[place.workspace])
    place.audit = place.root / "audit.jsonl"
    place.write(paths=True)
    with pytest.raises(InputError, match="audit lies where"):
        place.access()
    place.write()  # where nobody names folders, nothing is written into a root
    place.access()


def test_a_change_counts_from_the_next_question_on(place: Place) -> None:
    access = place.access()
    assert access.person_of(SignedIn(email="ann@example.org")).role == "editor"
    place.file.write_text('[people]\n"ann@example.org" = "viewer"')
    assert access.person_of(SignedIn(email="ann@example.org")).role == "viewer"
    place.file.write_text("[people\n")
    broken = access.person_of(SignedIn(email="ann@example.org"))
    assert not broken.actions
    assert "until the file of roles is right again" in broken.problem
    place.file.unlink()
    assert not access.person_of(SignedIn(email="ann@example.org")).actions
    place.write()
    assert access.person_of(SignedIn(email="ann@example.org")).role == "editor"


# ---------------------------------------------------------------- who somebody is


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "ann@example.org"}, "editor"),
        ({"email": "ann@example.org", "email_verified": True}, "editor"),
        ({"email": "ann@example.org", "email_verified": "true"}, "editor"),
        ({"email": "ann@example.org", "email_verified": False}, ""),
        ({"email": "ann@example.org", "email_verified": "false"}, ""),
        ({"email": "ann@example.org", "email_verified": 0}, ""),
        ({"sub": "ann@example.org"}, ""),  # a subject that looks like somebody's e-mail
        ({"email": "sub:Dora-7"}, ""),  # and an e-mail that looks like a subject
        ({"sub": "Dora-7"}, "viewer"),
        ({"email": "x@y.z", "sub": "Dora-7"}, "viewer"),
        ({"email": ["ann@example.org"]}, ""),
        ({"email": ""}, ""),
        ({}, ""),
        ({"name": "ann@example.org", "preferred_username": "ann@example.org"}, ""),
        ({"email": "ann@example.org\u200b"}, ""),
        ({"email": "аnn@example.org"}, ""),  # a Cyrillic a
    ],
)
def test_a_person_is_who_the_provider_says(place: Place, claims: dict[str, Any], role: str) -> None:
    somebody = place.access().person_of(SignedIn.of(claims))
    assert somebody.role == role
    assert bool(somebody.problem) == (role == "")


@pytest.mark.parametrize("default", ["viewer", "reviewer", "editor"])
def test_others_have_the_role_of_the_default(place: Place, default: str) -> None:
    place.write(default=default)
    access = place.access()
    assert access.person_of(SignedIn(email="eve@example.org")).role == default
    assert access.person_of(SignedIn(email="cleo@example.org")).role == "viewer"
    assert access.person_of(SignedIn()).role == ""
    assert access.person_of(SignedIn(email="eve@example.org", verified=False)).role == ""
    assert access.person_of(None).role == ""


@given(st.text(max_size=40))
def test_a_name_is_made_plain_once(name: str) -> None:
    assert person_key(person_key(name)) == person_key(name)


# ---------------------------------------------------------------- what each role may do


MAY = {
    "viewer": {"look"},
    "reviewer": {"look", "decide"},
    "editor": {"look", "decide", "make"},
    "editor with training": {"look", "decide", "make", "train"},
    "nobody": set(),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", list(MAY))
def test_every_role_and_action(signed_in: Callable[..., Place], role: str, action: Any) -> None:
    mails = {"viewer": "cleo@example.org", "reviewer": "ben@example.org", "editor": "ann@example.org"}
    place = signed_in(mails.get(role.split()[0], "eve@example.org"), training="training" in role)
    assert permissions.allowed(action) == (action in MAY[role])
    job_of = JobQueue("test")
    if action in MAY[role]:
        permissions.check(action)
        assert job_of.submit("key", lambda _: 3, needs=action).wait(5)
    else:
        with pytest.raises(NotAllowedError):
            permissions.check(action)
        with pytest.raises(NotAllowedError):
            job_of.submit("key", lambda _: 3, needs=action)
        with pytest.raises(NotAllowedError):
            Job(lambda _: 3, needs=action)
        assert job_of.jobs == ()
    if "make" in MAY[role]:
        with atomic_write(place.workspace / "file", "w") as stream:
            stream.write("x")
    else:
        with pytest.raises(NotAllowedError), atomic_write(place.workspace / "file", "w"):
            pass
        assert not list(place.workspace.iterdir())


def test_without_rules_everything_is_as_it_was(place: Place) -> None:
    assert permissions.person() is None
    assert not permissions.enforced()
    for action in ACTIONS:
        permissions.check(action)
        with permissions.recorded(action, "x"):
            pass
    assert user_path(place.secret / "key").read_text() == "secret"
    with atomic_write(place.secret / "more"):
        pass


def test_what_nobody_asked_for_is_refused(signed_in: Callable[..., Place]) -> None:
    place = signed_in(None)
    for action in ACTIONS:
        with pytest.raises(NotAllowedError, match="Nobody is signed in"):
            permissions.check(action)
    with pytest.raises(NotAllowedError):
        user_path(place.root)
    with permissions.as_program(), atomic_write(place.workspace / "own"):
        pass


def test_the_background_works_for_whoever_asked(place: Place) -> None:
    """A viewer's job that ends starts the editor's, whose thread works for the editor, and the other way round."""
    access = place.access()
    here = threading.local()

    def find() -> Person | None:
        return access.person_of(SignedIn(email=here.mail)) if hasattr(here, "mail") else None

    permissions.enforce(find, access.record)
    try:
        jobs, go, seen = JobQueue("test", at_once=1), threading.Event(), {}

        def work(name: str) -> Callable[[Progress], None]:
            def run(_: Progress) -> None:
                go.wait(5)
                start_thread(lambda: seen.update({name: permissions.person().name}), name="inner").join()  # type: ignore[union-attr]

            return run

        here.mail = "cleo@example.org"
        first = jobs.submit("viewer", work("viewer"))
        here.mail = "ann@example.org"
        second = jobs.submit("editor", work("editor"), needs="make", title="Making")
        here.mail = "cleo@example.org"
        third = jobs.submit("viewer again", work("viewer again"))
        for call in (second.cancel, lambda: jobs.remove(second)):
            with pytest.raises(NotAllowedError):
                call()
        go.set()
        assert all(job.wait(5) for job in (first, second, third))
        assert [job.state for job in (first, second, third)] == ["done"] * 3
        mails = {"viewer": "cleo@example.org", "editor": "ann@example.org", "viewer again": "cleo@example.org"}
        assert seen == mails
    finally:
        permissions.lift()
    lines, _ = read_audit(place.audit)
    assert [(line.who, line.what, line.on, line.result.split(":")[0]) for line in lines] == [
        ("ann@example.org", "start", "Making", "begun"),
        ("cleo@example.org", "cancel", "Making", "refused"),
        ("cleo@example.org", "remove", "Making", "refused"),
        ("ann@example.org", "start", "Making", "done"),
    ]


# ---------------------------------------------------------------- which paths are open


def test_paths_outside_are_refused(signed_in: Callable[..., Place]) -> None:
    place = signed_in("ann@example.org", paths=True)
    (place.root / "link").symlink_to(place.secret)
    (place.root / "file").symlink_to(place.secret / "key")
    (place.root / "circle").symlink_to(place.root / "circle")
    (place.root.parent / "data-of-others").mkdir()
    (place.root.parent / "way-in").symlink_to(place.root)
    for inside in (place.root, place.root / "labels_dev" / "..", place.root.parent / "way-in" / "x", place.workspace):
        user_path(inside)
        check_allowed(inside)
    user_path(f'"{place.root}/x"')
    user_path(f"file://{place.root}")
    for name in ("Track A", "set", "x" * 250):  # names, not places
        user_path(name)
    outside = (
        place.secret,
        place.secret / "key",
        place.root / "..",
        place.root / ".." / "secret" / "key",
        place.root / "labels_dev" / ".." / ".." / "secret",
        place.root / "link" / "key",
        place.root / "file",
        place.root / "circle",
        place.root.parent / "data-of-others",
        place.root.with_name("DATA"),
        Path("/"),
        Path("/proc/self/root"),
        Path("/proc/self/environ"),
        place.file,
        place.audit,
        "~",
        f"file://{place.secret}",
        f"'{place.secret}'",
        ".",
        "..",
        "",
        "../secret",
        f"file://{place.root}/%2e%2e/secret",
    )
    for path in outside:
        with pytest.raises(InputError):
            user_path(path)
        with pytest.raises(InputError):
            check_allowed(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            ["..", ".", "data", "labels_dev", "link", "secret", "key", "Data", "däta", "da\u0308ta", "x", ""]
        ),
        max_size=7,
    )
)
def test_whatever_is_typed_what_is_opened_lies_inside(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    place = _shared_place(tmp_path_factory)
    access = place.access()
    permissions.enforce(lambda: access.person_of(SignedIn(email="ann@example.org")), access.record)
    try:
        path = user_path("/".join([str(place.root), *parts]))
    except InputError:
        return
    finally:
        permissions.lift()
    real = Path(os.path.realpath(path))
    assert real == place.root or place.root in real.parents or place.workspace in (real, *real.parents)


_made: list[Place] = []


def _shared_place(factory: pytest.TempPathFactory) -> Place:
    if not _made:
        place = Place(factory.mktemp("paths"))
        (place.root / "link").symlink_to(place.secret)
        (place.root / "däta").mkdir()
        _made.append(place)
    return _made[0]


@pytest.mark.parametrize("paths", [False, True])
def test_files_are_made_in_the_workspace_and_where_paths_may_be_named(
    signed_in: Callable[..., Place], paths: bool
) -> None:
    place = signed_in("ann@example.org", paths=paths)
    (place.workspace / "link").symlink_to(place.secret)
    with atomic_write(place.workspace / "deep" / "file"):
        pass
    for outside in (place.secret / "new", place.workspace / "link" / "new", place.file, place.audit):
        with pytest.raises(NotAllowedError), atomic_write(outside):
            pass
    assert sorted(p.name for p in place.secret.iterdir()) == ["key"]
    if paths:
        with atomic_write(place.root / "new"):
            pass
    else:
        with pytest.raises(NotAllowedError, match="the workspace alone"), atomic_write(place.root / "new"):
            pass


# ---------------------------------------------------------------- the audit log


def test_each_deed_is_a_line(signed_in: Callable[..., Place]) -> None:
    place = signed_in("ben@example.org")
    with permissions.recorded("decide", "accept", "dev/fold1 item"):
        pass
    with pytest.raises(ZeroDivisionError), permissions.recorded("decide", "reject", 'a "b"\nc'):
        _ = 1 / 0
    with pytest.raises(NotAllowedError), permissions.recorded("make", "export", "x" * 2000):
        pass
    lines, n_broken = read_audit(place.audit)
    assert n_broken == 0
    assert [line.result.split(":")[0] for line in lines] == ["done", "failed", "refused"]
    assert {(line.who, line.role) for line in lines} == {("ben@example.org", "reviewer")}
    assert lines[1].on == 'a "b"\nc'
    assert len(lines[2].on) == 500
    assert lines[0].time < lines[1].time < lines[2].time
    assert place.audit.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_logged_is_not_done(signed_in: Callable[..., Place]) -> None:
    place = signed_in("ben@example.org")
    place.audit.mkdir()
    done = []
    with pytest.raises(EnvironmentProblem, match="audit log"), permissions.recorded("decide", "accept"):
        done.append(1)
    assert not done


def test_a_piece_of_a_line_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.jsonl"
    facts = {"who": "a", "role": "editor", "what": "start", "on": "", "result": "done"}
    add_line(path, **facts)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    add_line(path, **facts | {"on": "\udcff\u2028"})
    lines, n_broken = read_audit(path)
    assert (len(lines), n_broken) == (2, 1)
    assert path.read_bytes().startswith(whole)


def test_the_end_of_the_log_is_printed(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def doctor_says(*arguments: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main(["doctor", *arguments]) == code
        return capsys.readouterr()

    assert "SAI_ROLES names no file of roles" in doctor_says("--audit", code=2)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAI_ROLES", str(place.file))
        assert doctor_says("--audit") == (f"{place.audit}: no line yet\n", "")
        facts = {"who": "ann@example.org", "role": "editor", "what": "start", "result": "done"}
        for k in range(25):
            add_line(place.audit, **facts, on=f"run {k}")
        with place.audit.open("a") as stream:
            stream.write('{"time"')
        hostile = "a\n2026 eve \x1b[2J\u202e" + "x" * 100
        add_line(place.audit, **facts, on=hostile)
        out, err = doctor_says("--audit")
        title, head, *rows, note = out.splitlines()
        assert title == f"{place.audit}: lines 7 to 26 of 26"
        assert head.split("  ")[0] == "time (UTC)"
        assert [row.endswith(f"done    run {k}") for k, row in enumerate(rows[:-1], start=6)] == [True] * 19
        assert rows[-1].endswith("a\\n2026 eve \\x1b[2J\\u202e" + "x" * 32 + "...")
        assert note == "1 text is cut; --json has them whole."
        assert err == f"warning: {place.audit}: 1 line is damaged, as after a power cut.\n"
        report = json.loads(doctor_says("--audit", "2", "--json")[0])
        assert (report["lines"], report["damaged"]) == (26, 1)
        assert [line["on"] for line in report["last"]] == ["run 24", hostile]
        assert len(doctor_says("--audit", "0")[0].splitlines()) == 29
        assert "expected a number of lines" in doctor_says("--audit", "-1", code=2)[1]
        assert doctor_says("--audit", "--quiet") == ("", err)
        place.file.write_text(place.file.read_text().replace("audit =", "# audit ="))
        assert f"{place.file} names none" in doctor_says("--audit", code=2)[1]


def _log(path: str, name: str) -> None:
    for number in range(20):
        add_line(Path(path), who=name, role="editor", what="start", on=f"{number} " + "x" * 400, result="done")


def test_processes_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_log, args=(str(path), f"p{k}")) for k in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    for k in range(3):
        assert [r["on"].split()[0] for r in rows if r["who"] == f"p{k}"] == [str(n) for n in range(20)]
    assert len(rows) == 60


def test_roles_have_a_meaning_each() -> None:
    from sai_core.settings import describe

    assert all(len(setting.help) > 3 and setting.wanted != "another value" for setting in describe(Roles))


def test_the_file_of_the_documentation_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "serving.md").read_text("utf-8")
    text = page.partition("```toml\n# roles\n")[2].partition("```")[0]
    assert text
    file, audit = tmp_path / "roles.toml", tmp_path / "audit.jsonl"
    file.write_text(text.replace("/data/STARSS23", str(tmp_path)).replace("/var/lib/sai/audit.jsonl", str(audit)))
    access = Access(file)
    assert access.person_of(SignedIn(email="ben@example.org")).role == "reviewer"
    assert access.person_of(SignedIn(email="eve@example.org")).role == ""
    # what the machine's doctor tells of it
    add_line(audit, who="a", role="editor", what="start", on="x", result="done")
    with audit.open("a") as stream:
        stream.write('{"time"')
    monkeypatch.setenv("SAI_ROLES", str(file))
    facts, problems = doctor._access()
    assert facts is not None
    assert (facts["people"], facts["lines"]) == (3, 1)
    assert "1 line is damaged" in problems[0]
    file.write_text("people = 3")
    assert doctor._access()[0] is None
    assert str(file) in doctor._access()[1][0]
