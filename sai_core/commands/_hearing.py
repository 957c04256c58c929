"""What verbs ask of whoever wants to hear something: the arguments, what is wrong about them, and the tracks."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sai_core.dataset import DataRoot, Recording
    from sai_core.listening.job import Hearing, Mode
    from sai_core.listening.sources import Sources


def add_direction(group: argparse._ArgumentGroup) -> None:
    """``--azimuth`` and ``--elevation``."""
    group.add_argument("--azimuth", type=float, metavar="DEG", help="direction, growing to the left")
    group.add_argument("--elevation", type=float, metavar="DEG", help="direction, growing upwards (0)")


def add_manner(group: argparse._ArgumentGroup) -> None:
    """Beam, source alone, two ears, signal and level."""
    group.add_argument(
        "--beam",
        choices=("max-re", "cardioid", "hypercardioid", "adaptive"),
        help="beam towards the direction or track (max-re); adaptive: zeros where other sound comes from",
    )
    alone = group.add_mutually_exclusive_group()
    alone.add_argument("--solo", action="store_true", help="the source alone: minimum variance, others silenced")
    alone.add_argument("--around", action="store_true", help="everything but the source")
    group.add_argument("--binaural", action="store_true", help="two ears; the whole scene if nothing is pointed at")
    group.add_argument("--yaw", type=float, default=0.0, metavar="DEG", help="head to the left (0)")
    group.add_argument("--pitch", type=float, default=0.0, metavar="DEG", help="head upwards (0)")
    group.add_argument("--roll", type=float, default=0.0, metavar="DEG", help="head to the right shoulder (0)")
    group.add_argument("--signal", choices=("auto", "eigen", "foa", "mic"), default="auto", help="what is heard (auto)")
    group.add_argument("--gain", type=float, default=0.0, metavar="DB", help="level (0)")


def is_pointed(args: argparse.Namespace) -> bool:
    """Whether the arguments name a direction, a track or a class."""
    return args.azimuth is not None or args.track is not None or args.class_name is not None


def check(args: argparse.Namespace) -> None:
    """What is wrong about the arguments by themselves.

    Raises
    ------
    InputError
    """
    from sai_core.errors import InputError

    if args.azimuth is not None and (args.track is not None or args.class_name is not None):
        raise InputError("--azimuth is a direction, --track and --class follow sources; give one of them.")
    if args.elevation is not None and args.azimuth is None:
        raise InputError("--elevation needs --azimuth.")
    if args.azimuth is not None:
        if not math.isfinite(args.azimuth):
            raise InputError(f"--azimuth {args.azimuth} is not an angle; give degrees.")
        if args.elevation is not None and not -90 <= args.elevation <= 90:
            raise InputError(f"--elevation {args.elevation:g} is not from -90 to 90 degrees.")
    if not is_pointed(args) and (args.solo or args.around or args.beam):
        raise InputError("Say where to listen: --azimuth (and --elevation), --track or --class.")
    if args.beam and (args.solo or args.around):
        raise InputError("--solo and --around have a beam of their own; leave out --beam.")


def hearing_of(args: argparse.Namespace) -> Hearing:
    """The arguments as a choice.

    Raises
    ------
    InputError
        Choices that do not go together.
    """
    from sai_core.listening.job import Hearing

    mode: Mode = "solo" if args.solo else "around" if args.around else "beam" if is_pointed(args) else "all"
    return Hearing(
        mode=mode,
        beam=args.beam or "max-re",
        binaural=args.binaural,
        yaw_deg=args.yaw,
        pitch_deg=args.pitch,
        roll_deg=args.roll,
        signal=args.signal,
        gain_db=args.gain,
    )


def category(text: str | None) -> int | None:
    """Class of ``--class``; None where it was not given.

    Raises
    ------
    InputError
        No class of this name or number.
    """
    from sai_core.errors import InputError
    from sai_core.taxonomy import CLASS_NAMES, category_of

    if text is None:
        return None
    number = int(text) if text.isdecimal() and len(text) <= 3 else None
    found = number if number is not None and number < len(CLASS_NAMES) else category_of(text)
    if found is None:
        raise InputError(
            f"--class {text!r} is not one of the classes; choose one of {', '.join(CLASS_NAMES)}, or 0 to 12."
        )
    return found


def sources_of_recording(
    root: DataRoot, recording: Recording, *, predictions: str | None, label_set: str | None
) -> Sources | None:
    """Tracks of a recording: of predictions where they are named, else of its metadata, else of its labels.

    Parameters
    ----------
    root : DataRoot
    recording : Recording
    predictions : str or None
        File, folder, or name of a prediction set.
    label_set : str or None
        Name of a label set that ``root`` has been opened with: its labels come before the metadata.

    Raises
    ------
    InputError
        A file that cannot be read.
    """
    from sai_core.annotations import read_annotations, read_dcase_csv
    from sai_core.figures.paper.material import find_system
    from sai_core.listening.sources import sources_of

    if predictions is not None:
        path = find_system(predictions, root, recording).path
        assert path is not None
    elif recording.metadata_path is not None and label_set is None:
        return sources_of(read_dcase_csv(recording.metadata_path))
    elif recording.label_path is not None:
        path = recording.label_path
    else:
        return None
    return sources_of(read_annotations(path, recording=recording.name))
