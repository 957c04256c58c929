"""Who uses the app, where several people do: signing in by ``st.login``, and the person behind every run of a script.

The environment variable ``SAI_ROLES`` names the file of roles (:mod:`sai_core.access`); without it nobody signs in and
nothing is checked. With it, the person comes from the signed cookie that Streamlit made of the provider's answer and
read when the browser's connection began: no address, field or message of the connection changes it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import streamlit as st
from streamlit import config
from streamlit.auth_util import get_secrets_auth_section, is_authlib_installed
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.components.text import plain
from sai_core import permissions
from sai_core.access import ROLES_VARIABLE, Access, SignedIn, roles_path
from sai_core.dataset import demo_root
from sai_core.errors import InputError
from sai_core.files import cache_root
from sai_core.installation import asset
from sai_core.permissions import NOBODY, Person
from sai_core.workspace import workspace

_OF_PROVIDER: Final[tuple[str, ...]] = ("client_id", "client_secret", "server_metadata_url")
_LEAST_SECRET: Final[int] = 32
"""Characters of the secret that signs the cookies: who guesses it is whoever they like."""

_HOW: Final[str] = "docs/serving.md says how"


def install() -> str:
    """Let the file of roles hold from now on; why that cannot be, in one sentence, else "".

    To be called once, when the server starts.
    """
    try:
        path = roles_path()
        if path is None:
            return ""
        if problem := _auth_problem():
            return problem
        access = open_access(path)
    except InputError as error:
        return str(error)
    permissions.enforce(lambda: find(access), access.record)
    return ""


def open_access(path: Path) -> Access:
    """Roles of a file, with the folders of this program.

    Raises
    ------
    InputError
        As :func:`sai_core.access.read_roles`.
    """
    # here, since most apps have one user and need none of it before their first page
    from sai_core.postprocess.systems import systems_folders
    from sai_core.runs.kinds import KINDS
    from sai_core.runs.launch import default_runs_folder

    recipes = {recipe.parent for kind in KINDS.values() for recipe in kind.recipes.values()}
    return Access(
        path,
        places=(demo_root(), asset("weights"), *sorted(recipes), *systems_folders()),
        writable=(workspace().path, default_runs_folder().absolute()),
        scratch=(cache_root(), Path(tempfile.gettempdir())),
    )


def find(access: Access) -> Person | None:
    """Person whose browser the running script works for; None outside of such a script."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return None
    claims = context.user_info
    return access.person_of(SignedIn.of(claims)) if claims.get("is_logged_in") is True else NOBODY


def gate() -> None:
    """Let only those on who have a role; the others sign in, or read why not, and the run of the script ends."""
    if not permissions.enforced():
        if os.environ.get(ROLES_VARIABLE, "").strip() and (problem := install()):
            # started in another way than by its own server: rather nobody than everybody
            st.error(plain(problem))
            st.stop()
        if not permissions.enforced():
            return
    somebody = permissions.person() or NOBODY
    if "look" in somebody.actions:
        return
    if somebody is NOBODY:
        st.title("SAI Explorer", anchor=False)
        for name in providers():
            label = "Sign in" if name is None else f"Sign in with {plain(name)}"
            st.button(label, key=f"sai_sign_in_{name}", type="primary", icon=":material/login:", on_click=_login(name))
    else:
        st.error(plain(somebody.problem))
        st.button("Sign out", key="sai_sign_out", on_click=st.logout)
    st.stop()


def _login(name: str | None) -> Any:
    return (lambda: st.login()) if name is None else (lambda: st.login(name))


def providers() -> list[str | None]:
    """Names of the providers in ``secrets.toml``; None for one that has no name."""
    section = get_secrets_auth_section()
    named = [name for name, part in section.items() if isinstance(part, Mapping) and "client_id" in part]
    return [*([None] if "client_id" in section else []), *named]


def _auth_problem() -> str:
    """What keeps people from signing in, in one sentence; "" where nothing does."""
    start = f"{ROLES_VARIABLE} names a file of roles, but nobody could sign in: "
    if not is_authlib_installed():
        return f"{start}the package Authlib is missing; run: pip install 'Authlib>=1.3.2' httpx."
    try:
        section = get_secrets_auth_section()
    except Exception as error:  # whatever is wrong with the file, the app must not start without it
        return f"{start}.streamlit/secrets.toml cannot be read ({type(error).__name__}); {_HOW}."
    if config.get_option("server.trustedUserHeaders"):
        return f"{start}server.trustedUserHeaders would let a header of a request say who somebody is; take it out."
    if not section:
        return f"{start}.streamlit/secrets.toml has no [auth]; {_HOW}."
    for name in ("redirect_uri", "cookie_secret"):
        if not isinstance(section.get(name), str) or not section[name]:
            return f"{start}[auth] of .streamlit/secrets.toml has no {name}; {_HOW}."
    if not str(section["redirect_uri"]).endswith("/oauth2callback"):
        return f"{start}redirect_uri must be the address of the app with /oauth2callback behind it; {_HOW}."
    if len(section["cookie_secret"]) < _LEAST_SECRET:
        return f"{start}cookie_secret must have {_LEAST_SECRET} characters at least, drawn at random; {_HOW}."
    found = providers()
    if not found:
        return f"{start}[auth] of .streamlit/secrets.toml has no client_id; {_HOW}."
    for provider in found:
        part = section if provider is None else section[provider]
        missing = [name for name in _OF_PROVIDER if not part.get(name)]
        if missing:
            where = "[auth]" if provider is None else f"[auth.{provider}]"
            return f"{start}{where} of .streamlit/secrets.toml has no {missing[0]}; {_HOW}."
    return ""
