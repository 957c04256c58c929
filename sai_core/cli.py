"""Command line: finds the verb's module, turns errors into exit codes.

Exit 0 on success, 2 for a user's mistake (one sentence on stderr), 1 for anything else. Only the module of the verb
that is called is imported, so that ``evaluate --help`` does not wait for torch.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sai_core.errors import EnvironmentProblem, SaiError
from sai_core.files import user_path

_FULL: Final[frozenset[int]] = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO))
"""What the system says of a disk that is full or broken, wherever it happens."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong call in one sentence, as every other mistake of a user."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def verbs() -> list[str]:
    """Names of the verbs that this installation has (the modules of ``sai_core.commands``)."""
    folder = Path(__file__).parent / "commands"
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; with ``only``, import just that verb's module."""
    parser = _Parser(
        prog="python -m sai_core",
        description="Semantic acoustic imaging (DCASE 2026 Task 3) without a browser.",
    )
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in verbs():
        if only is None or name == only:
            importlib.import_module(f"sai_core.commands.{name}").add_parser(subparsers)
    return parser


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
        elif isinstance(value, list) and any(isinstance(one, Path) for one in value):
            setattr(args, name, [user_path(one, what=what) if isinstance(one, Path) else one for one in value])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    only = arguments[0] if arguments and arguments[0] in verbs() else None
    try:
        args = build_parser(only).parse_args(arguments)
        _plain_paths(args)
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
