"""``listen``: the sound of a direction, of a labelled or predicted source, or of the scene at two ears, as WAV."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sai_core.commands import _hearing
from sai_core.progress import Progress, TerminalProgress, no_progress

if TYPE_CHECKING:
    from sai_core.dataset import DataRoot, Recording
    from sai_core.listener import Listener
    from sai_core.listening.job import Clip, Hearing, Session
    from sai_core.listening.sources import Sources, Track

_EXAMPLE = """examples:
  python -m sai_core listen --data STARSS23 --recording fold4_room23_mix001 --azimuth 40 --elevation 10 --out door.wav
  python -m sai_core listen --data STARSS23 --recording fold4_room23_mix001 --track 2 --solo --out person.wav
  python -m sai_core listen --data STARSS23 --recording fold4_room23_mix001 --binaural --yaw 90 --out left.wav
  python -m sai_core listen --data STARSS23 --class Knock --solo --out knocks/
  python -m sai_core listen --data STARSS23 --recording fold4_room23_mix001 --track 2 --solo --classes

24 kHz, 24 bits. Tracks are those of the metadata (source numbers), else of the labels; with --predictions those of a
prediction set. A track is heard from its first to its last frame, a direction from beginning to end; --start and --end
are seconds. --class without --track writes every event of the class as a clip into a folder, without --recording those
of all recordings. The best signal of a recording is taken: 32 capsules, else FOA (beams) or 4 capsules (solo).
--classes prints what a network, the listener, makes of the sound: every two seconds and over all the likeliest classes,
with scores that add up to 1 with that of none of them. They are evidence, no labels.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "listen",
        help="hear a direction, one source alone or all but it, or the scene at two ears, as WAV",
        description="Write what is heard in a direction of a recording, of one of its sources, or at two ears.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="data root")
    parser.add_argument("--recording", metavar="R", help="recording (required except with --class)")
    parser.add_argument("--split", metavar="S", help="split, where a name is in several; of the recordings of --class")
    parser.add_argument("--out", type=Path, metavar="X.wav|DIR", help="sound file; folder of --class")
    parser.add_argument("--classes", action="store_true", help="what the listener hears: scores of the classes")
    parser.add_argument(
        "--listener", type=Path, metavar="FILE", help="another listener (`train listener`) for --classes"
    )
    where = parser.add_argument_group("where to listen")
    _hearing.add_direction(where)
    where.add_argument("--track", type=int, metavar="N", help="number of a source (metadata), label or prediction")
    where.add_argument(
        "--class", dest="class_name", metavar="C", help="class: name or number; of --track, or all events"
    )
    where.add_argument("--predictions", metavar="A.json", help="tracks of a prediction file, folder or set")
    where.add_argument(
        "--label-set", metavar="DIR_OR_SET", help="tracks of these labels: a label set's name, or a folder"
    )
    where.add_argument("--start", type=float, metavar="S", help="seconds from the beginning of the recording")
    where.add_argument("--end", type=float, metavar="S", help="seconds from the beginning of the recording")
    _hearing.add_manner(parser.add_argument_group("how"))
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, no summary; notes still")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the call, listen and write."""
    from sai_core.dataset import open_data_root
    from sai_core.workspace import root_for

    _check(args)
    category = _hearing.category(args.class_name)
    hearing = _hearing.hearing_of(args)
    notes: list[str] = []
    root = root_for(
        open_data_root(args.data), [args.predictions] if args.predictions else [], labels=args.label_set, notes=notes
    )
    if category is not None and args.track is None:
        done = _clips(args, root, hearing, category, notes)
    else:
        done = _one(args, root, hearing, category, notes)
    for sentence in notes:
        print(f"note: {sentence}", file=sys.stderr)
    if args.json:
        print(json.dumps({"mode": hearing.mode, "files": done, "notes": notes}, indent=1, ensure_ascii=False))
    elif not args.quiet:
        for item in done:
            if args.out is not None:
                print(f"{item['path']}: {item['start_s']:.2f} to {item['end_s']:.2f} s, peak {_level(item)}")
            if args.classes:
                _print_classes(item)
    return 0


def _check(args: argparse.Namespace) -> None:
    """What is wrong about a call by itself."""
    from sai_core.errors import InputError

    if args.out is None and not args.classes:
        raise InputError("Say where the sound goes (--out), or --classes for what it is.")
    if args.listener is not None and not args.classes:
        raise InputError("--listener is for --classes; leave it out, or add --classes.")
    if args.classes and args.binaural:
        raise InputError("--classes hears one direction or source, not two ears; leave out --binaural.")
    if args.recording is None and (args.class_name is None or args.track is not None):
        raise InputError("Say which recording (--recording); only --class by itself goes through all.")
    _hearing.check(args)
    if not _hearing.is_pointed(args) and not args.binaural:
        raise InputError(
            "Say where to listen: --azimuth (and --elevation), --track or --class; or --binaural for the whole scene."
        )
    if args.predictions is not None and args.label_set is not None:
        raise InputError("--predictions and --label-set both say whose tracks; give one of them.")


def _session(
    args: argparse.Namespace, root: DataRoot, recording: Recording, hearing: Hearing
) -> tuple[Session, Sources | None]:
    """A recording opened with its sources; they are read only where they count."""
    from sai_core.errors import InputError
    from sai_core.listening.job import Session

    wanted = args.track is not None or args.class_name is not None
    sources: Sources | None = None
    if wanted or args.solo or args.around:
        sources = _hearing.sources_of_recording(root, recording, predictions=args.predictions, label_set=args.label_set)
        if wanted and sources is None:
            raise InputError(
                f"{recording.name}: has neither metadata nor labels, so there are no tracks; give --predictions."
            )
    return Session(recording, hearing, sources), sources


def _one(
    args: argparse.Namespace, root: DataRoot, hearing: Hearing, category: int | None, notes: list[str]
) -> list[dict[str, Any]]:
    from sai_core.dataset.outputs import material_of
    from sai_core.errors import InputError
    from sai_core.figures.paper.material import check_output
    from sai_core.listening.job import span_of
    from sai_core.listening.lines import towards

    recording = root.recording(args.recording, args.split)
    if args.out is not None:
        if args.out.suffix.lower() != ".wav":
            raise InputError(f"{args.out}: sound is written as .wav; change the file's ending.")
        check_output(args.out, root, inputs=material_of(recording))
    by = _listener(args)
    session, sources = _session(args, root, recording, hearing)
    track: Track | None = None
    if args.track is not None:
        assert sources is not None
        track = sources.find(args.track, category)
        if track.gaps:
            notes.append(
                f"{track} has no direction in {track.gaps} frames between its first and its last: interpolated."
            )
    elif args.azimuth is not None:
        track = towards(args.azimuth, args.elevation or 0.0)
    start, stop, cuts = span_of(session.signal, track, args.start, args.end)
    item = _heard(args, session, track, start, stop, args.out, by)
    notes += [*cuts, *session.notes()]
    return [item]


def _clips(
    args: argparse.Namespace, root: DataRoot, hearing: Hearing, category: int, notes: list[str]
) -> list[dict[str, Any]]:
    from sai_core.dataset.outputs import material_of
    from sai_core.errors import InputError
    from sai_core.figures.paper.material import check_output
    from sai_core.listening.job import span_of
    from sai_core.taxonomy import class_name

    recordings: Sequence[Recording] = root.recordings if args.split is None else root.of_split(args.split)
    if args.recording is not None:
        recordings = (root.recording(args.recording, args.split),)
    folder: Path | None = None
    if args.out is not None:
        if args.out.exists() and not args.out.is_dir():
            raise InputError(f"{args.out}: is a file; every event of a class becomes a clip of its own: give a folder.")
        inputs = [path for r in recordings for path in material_of(r)]
        folder = check_output(args.out / "clip.wav", root, inputs=inputs).parent
    by = _listener(args)
    progress = _progress(args)
    done: list[dict[str, Any]] = []
    left_out, replaced = 0, 0
    shared_notes: Counter[str] = Counter()
    for number, recording in enumerate(recordings):
        try:
            session, sources = _session(args, root, recording, hearing)
        except InputError as error:
            if args.recording is not None:
                raise
            notes.append(f"Left out: {error}")
            continue
        assert sources is not None
        events = sources.events(category)
        for event in events:
            try:
                start, stop, cuts = span_of(session.signal, event, args.start, args.end)
            except InputError:
                left_out += 1
                continue
            split = f"{recording.split}_" if recording.split and args.recording is None else ""
            name = f"{split}{recording.name}_{_slug(class_name(category))}_{event.number}_{event.start:05d}.wav"
            path = folder / name if folder is not None else None
            replaced += path is not None and path.exists()
            done.append(_heard(args, session, event, start, stop, path, by, silent=True))
            notes += cuts
        if events:
            shared_notes.update(session.notes())
        progress((number + 1) / len(recordings), f"{len(done)} clips")
    notes += [
        note if len(recordings) == 1 else f"In {n} recording{'s' * (n != 1)}: {note}"
        for note, n in shared_notes.items()
    ]
    if left_out:
        notes.append(f"{left_out} events lie outside the requested time or after the end of the sound: left out.")
    if replaced:
        notes.append(f"{replaced} clips of an earlier call were replaced.")
    if not done:
        raise InputError(
            f"No event of {class_name(category)} was found to be heard" + (f": {notes[-1]}" if notes else ".")
        )
    return done


def _listener(args: argparse.Namespace) -> Listener | None:
    """Opened before anything is heard: a file that is none is told at once."""
    from sai_core.listener import open_listener

    return open_listener(args.listener) if args.classes else None


def _heard(
    args: argparse.Namespace,
    session: Session,
    track: Track | None,
    start: int,
    stop: int,
    path: Path | None,
    by: Listener | None,
    *,
    silent: bool = False,
) -> dict[str, Any]:
    """Write what is heard, ask the listener, or both; what is said of it."""
    progress = no_progress if silent else _progress(args)
    clip = session.write(track, start, stop, path, progress=progress) if path is not None else None
    item = _item(session, track, start, stop, clip)
    if by is None:
        return item
    from sai_core.geometry import FRAME_RATE_HZ, SAMPLES_PER_FRAME
    from sai_core.listening.hearing import scores_over
    from sai_core.taxonomy import CLASS_NAMES

    first, last = start // SAMPLES_PER_FRAME, -(-stop // SAMPLES_PER_FRAME)
    length = 2 * FRAME_RATE_HZ
    frames, scores = scores_over(
        session.line(track), first, last, by, every=length, n_frames=session.signal.n_frames, progress=progress
    )
    # a last window that would begin after the end says nothing of its own
    rows = frames < last if (frames < last).any() else frames == frames[0]
    names = (*CLASS_NAMES, "none of them")
    item["classes"] = {name: round(float(p), 4) for name, p in zip(names, scores[rows].mean(axis=0), strict=True)}
    item["windows"] = [
        {
            "start_s": (frame - length // 2) / FRAME_RATE_HZ,
            "end_s": (frame + length // 2) / FRAME_RATE_HZ,
            "classes": {name: round(float(p), 4) for name, p in zip(names, row, strict=True)},
        }
        for frame, row in zip(frames[rows].tolist(), scores[rows], strict=True)
    ]
    item["heard_by"] = {"listener": str(by.path), "learned_from": by.origin}
    return item


def _print_classes(item: dict[str, Any]) -> None:
    who = f"{item['class']}, track {item['track']}" if "track" in item else f"azimuth {item['azimuth_deg']:g} degrees"
    print(f"{item['recording']}, {who}, {item['start_s']:.2f} to {item['end_s']:.2f} s: {_best(item['classes'])}")
    if len(item["windows"]) > 1:
        for window in item["windows"]:
            print(f"  {max(window['start_s'], 0.0):7.1f} to {window['end_s']:.1f} s: {_best(window['classes'])}")


def _best(scores: dict[str, float]) -> str:
    best = sorted(scores.items(), key=lambda pair: -pair[1])[:3]
    return ", ".join(f"{name} {score:.2f}" for name, score in best)


def _item(session: Session, track: Track | None, start: int, stop: int, clip: Clip | None) -> dict[str, Any]:
    """What is said of what was heard."""
    from sai_core.geometry import SAMPLE_RATE_HZ
    from sai_core.listening.lines import samples_to_frame
    from sai_core.taxonomy import class_name

    item: dict[str, Any] = {
        **({"path": str(clip.path)} if clip is not None else {}),
        "recording": session.recording.name,
        "split": session.recording.split,
        "signal": session.signal.array,
        "order": session.order,
        "start_s": start / SAMPLE_RATE_HZ,
        "end_s": stop / SAMPLE_RATE_HZ,
        **({"peak": clip.peak, "clipped": clip.clipped} if clip is not None else {}),
    }
    if track is not None:
        azimuth, elevation = track.at(samples_to_frame((start + stop) / 2))
        item |= {"azimuth_deg": float(azimuth[0]), "elevation_deg": float(elevation[0])}
        if track.category_id >= 0:
            item |= {"class": class_name(track.category_id), "track": track.number}
    return item


def _level(item: dict[str, Any]) -> str:
    import math

    if not item["peak"] > 0:
        return "silent"
    # what is over full scale was written as full scale
    return f"{min(20 * math.log10(item['peak']), 0.0):.1f} dBFS{', clipped' if item['clipped'] else ''}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _progress(args: argparse.Namespace) -> Progress:
    return no_progress if args.quiet else TerminalProgress("listen")
