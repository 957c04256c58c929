"""Command line: finds the verb's module, turns errors into exit codes.

Exit 0 on success, 2 for a user's mistake (one sentence on stderr), 1 for anything else. Only the module of the verb
that is called is imported, so that ``evaluate --help`` does not wait for torch.
"""

from __future__ import annotations

import argparse
import ast
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sai_core import __version__
from sai_core.errors import EnvironmentProblem, SaiError
from sai_core.files import user_path

_FULL: Final[frozenset[int]] = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO))
"""What the system says of a disk that is full or broken, wherever it happens."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call in one sentence, as every other mistake of a user."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def verbs() -> list[str]:
    """Names of the verbs that this installation has (the modules of ``sai_core.commands``, ``_`` for ``-``)."""
    folder = Path(__file__).parent / "commands"
    return sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.stem.startswith("_"))


def _module_of(verb: str) -> str:
    return verb.replace("-", "_")


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; with ``only``, import just that verb's module."""
    parser = _parser()
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in verbs():
        if only is None or name == only:
            importlib.import_module(f"sai_core.commands.{_module_of(name)}").add_parser(subparsers)
    for choice in subparsers.choices.values():
        _add_workspace(choice)
    return parser


def _parser() -> _Parser:
    parser = _Parser(
        prog="sai" if Path(sys.argv[0]).stem == "sai" else "python -m sai_core",
        description="Semantic acoustic imaging (DCASE 2026 Task 3) on the command line.",
    )
    parser.add_argument("--version", action="version", version=f"SAI Explorer {__version__}")
    _add_workspace(parser)
    return parser


def _overview() -> _Parser:
    """What ``--help`` without a verb needs: each verb's own line, read from its module without importing it."""
    parser = _parser()
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in verbs():
        source = (Path(__file__).parent / "commands" / f"{_module_of(name)}.py").read_text(encoding="utf-8")
        subparsers.add_parser(name, help=_help_in(source))
    return parser


def _help_in(source: str) -> str | None:
    """``help`` of the first ``add_parser`` call in a module's text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_parser":
            for keyword in node.keywords:
                if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return None


def _add_workspace(parser: argparse.ArgumentParser) -> None:
    """``--workspace`` for a verb and all its actions, so that it may stand anywhere."""
    parser.add_argument(
        "--workspace",
        metavar="DIR",
        default=argparse.SUPPRESS,  # what was given before the verb must not be overwritten by what was not after it
        help="folder in which everything that the program makes is kept ($SAI_WORKSPACE, else ~/sai-workspace)",
    )
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action.choices.values():
                _add_workspace(choice)


def _verb_in(arguments: Sequence[str]) -> str | None:
    """The verb of a call, options of all verbs before it passed over; None where there is none."""
    rest = list(arguments)
    while rest and rest[0].startswith("--workspace"):
        del rest[: 1 if "=" in rest[0] else 2]
    return rest[0] if rest and rest[0] in verbs() else None


@contextmanager
def _chosen_workspace(args: argparse.Namespace) -> Iterator[None]:
    """The workspace of ``--workspace`` for one call: whoever calls from a program of their own keeps theirs."""
    chosen = getattr(args, "workspace", None)
    if chosen is None:
        yield
        return
    from sai_core.workspace import use_workspace

    before = os.environ.get("SAI_WORKSPACE")
    use_workspace(chosen)
    try:
        yield
    finally:
        use_workspace(None)
        if before is not None:
            os.environ["SAI_WORKSPACE"] = before


def _joined(arguments: list[str]) -> list[str]:
    """``--where -tag:bad`` as ``--where=-tag:bad``: a filter and an order may begin with a minus."""
    joined: list[str] = []
    for argument in arguments:
        is_value = argument.startswith("-") and not argument.startswith("--") and argument != "-h"
        if is_value and joined and joined[-1] in ("--where", "--sort"):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _plain_paths(args: argparse.Namespace) -> None:
    """Every option that is a path, as people paste them: ``~``, quotes, ``file://``.

    Raises
    ------
    InputError
        Text that is no path, with the option's name.
    """
    for name, value in vars(args).items():
        what = f"option {name}"
        if isinstance(value, Path):
            setattr(args, name, user_path(value, what=what))
        elif isinstance(value, list) and any(isinstance(item, Path) for item in value):
            setattr(args, name, [user_path(item, what=what) if isinstance(item, Path) else item for item in value])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        verb = _verb_in(arguments)
        if verb == "dataset":
            arguments = _joined(arguments)
        args = (_overview() if verb is None else build_parser(verb)).parse_args(arguments)
        _plain_paths(args)
        with _chosen_workspace(args):
            code = int(args.run(args) or 0)
        sys.stdout.flush()  # here, where a reader that has gone is noticed, not at the end of the process
        return code
    except EnvironmentProblem as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except SaiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # the reader of our output (head, less) has gone; nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _FULL:
            traceback.print_exc()
            return 1
        print(f"error: {error.filename or 'a file'} cannot be written ({error.strerror}).", file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
