"""Timings as text of other programs: Audacity label tracks, ELAN, RTTM, WebVTT; written and read.

References
----------
Audacity's label export (tab-separated seconds and text; a line that begins with a backslash holds a frequency range).
ELAN Annotation Format 3.0 (``EAFv3.0.xsd``: time slots in milliseconds, alignable annotations in tiers). Rich
Transcription Time Marked files (NIST RT-09: ten fields, SPEAKER lines with channel, onset and duration). WebVTT (W3C).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final
from xml.etree import ElementTree

from sai_core.errors import InputError
from sai_core.interchange.timings import Timing, check_span, of_one_recording, parse_text

MAX_CHARACTERS: Final[int] = 64 << 20
_VTT_SPAN: Final = re.compile(
    r"^\s*(?:(\d+):)?(\d{1,2}):(\d{1,2}\.\d{3})\s+-->\s+(?:(\d+):)?(\d{1,2}):(\d{1,2}\.\d{3})"
)
_VTT_TAG: Final = re.compile(r"<[^>]*>")
_RTTM_FIELDS: Final[tuple[int, ...]] = (9, 10)


@dataclass(frozen=True)
class TimingFormat:
    """A format of timings.

    Attributes
    ----------
    name, suffix, title : str
    write : callable
        (timings, recording, media) -> text; ``media`` is the file name of the sound, "" where there is none.
    read : callable
        (text, where) -> timings.
    """

    name: str
    suffix: str
    title: str
    write: Callable[[Sequence[Timing], str, str], str]
    read: Callable[[str, str], list[Timing]]


def read_timings(text: str, where: str, name: str = "") -> list[Timing]:
    """Timings of a file's text.

    Parameters
    ----------
    text : str
    where : str
        File, for messages; its ending says the format unless ``name`` does.
    name : str
        One of :data:`FORMATS`.

    Raises
    ------
    InputError
        An unknown ending, or something in it that is no event, with its line. A file without any event is none: all
        of them were deleted.
    """
    suffix = PurePath(where).suffix.lower()
    chosen = FORMATS.get(name) or next((f for f in FORMATS.values() if f.suffix == suffix), None)
    if chosen is None:
        endings = ", ".join(f"{f.suffix} ({f.title})" for f in FORMATS.values())
        raise InputError(f"{where}: the ending says no format of events; known are {endings}.")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"{where}: is longer than any list of events; is it the right file?")
    timings = chosen.read(text.removeprefix("\ufeff"), where)
    return sorted(timings, key=lambda t: (t.start_s, t.stop_s, t.category_id))


# ---------------------------------------------------------------------- Audacity


def write_audacity(timings: Sequence[Timing], recording: str, media: str) -> str:
    """A label track: ``File > Import > Labels``."""
    return "".join(f"{t.start_s:.6f}\t{t.stop_s:.6f}\t{t.text}\n" for t in timings)


def read_audacity(text: str, where: str) -> list[Timing]:
    """Labels of a label track; labels without length are refused, since an event has one."""
    timings = []
    for at, line in _lines(text, where):
        if line.startswith("\\"):
            continue  # the frequency range of the label above
        parts = line.split("\t")
        if len(parts) < 3:
            raise InputError(f"{at}: expected beginning, end and text, with tabs between them.")
        start, stop = _seconds(parts[0], at), _seconds(parts[1], at)
        check_span(start, stop, at)
        timings.append(Timing(start, stop, *parse_text(parts[2], at)))
    return timings


# ---------------------------------------------------------------------- RTTM


def write_rttm(timings: Sequence[Timing], recording: str, media: str) -> str:
    """One SPEAKER line an event; the class and number stand for the speaker, with underscores for spaces."""
    name = recording.replace(" ", "_") or "recording"
    return "".join(
        f"SPEAKER {name} 1 {t.start_s:.3f} {t.stop_s - t.start_s:.3f} <NA> <NA> {t.text.replace(' ', '_')} <NA> <NA>\n"
        for t in timings
    )


def read_rttm(text: str, where: str) -> list[Timing]:
    """SPEAKER lines of one recording; other kinds of lines are no events."""
    timings, names = [], []
    foreign_line = ""
    for at, line in _lines(text, where):
        fields = line.split()
        if line.startswith(";;") or fields[0] != "SPEAKER":
            foreign_line = foreign_line or ("" if line.startswith(";;") else at)
            continue
        if len(fields) not in _RTTM_FIELDS:
            raise InputError(
                f"{at}: a SPEAKER line has {_RTTM_FIELDS[0]} or {_RTTM_FIELDS[1]} fields; this has {len(fields)}."
            )
        start = _seconds(fields[3], at)
        stop = start + _seconds(fields[4], at)
        check_span(start, stop, at)
        names.append(fields[1])
        timings.append(Timing(start, stop, *parse_text(fields[7], at)))
    if foreign_line and not timings:
        raise InputError(f"{foreign_line}: is no event, and no line begins with SPEAKER; is it the right file?")
    of_one_recording(names, where)
    return timings


# ---------------------------------------------------------------------- WebVTT


def write_webvtt(timings: Sequence[Timing], recording: str, media: str) -> str:
    """Subtitles for a video of the recording: one cue an event, with its direction."""
    cues = [f"WEBVTT\n\nNOTE {_vtt_text(recording)}\n"]
    for k, t in enumerate(timings, start=1):
        where = "" if math.isnan(t.azimuth_deg) else f"\n{t.azimuth_deg:.0f}°, {t.elevation_deg:.0f}°"
        cues.append(f"{k}\n{_vtt_time(t.start_s)} --> {_vtt_time(t.stop_s)}\n{_vtt_text(t.text)}{where}\n")
    return "\n".join(cues)


def read_webvtt(text: str, where: str) -> list[Timing]:
    """Cues; the first line of each says class and number."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[0].startswith("WEBVTT"):
        raise InputError(f"{where}: does not begin with WEBVTT.")
    timings = []
    for k, line in enumerate(lines):
        if "-->" not in line:
            continue
        at = f"{where}, line {k + 1}"
        match = _VTT_SPAN.match(line)
        if match is None:
            raise InputError(f"{at}: is no span of time; expected 00:00:01.000 --> 00:00:02.000.")
        h1, m1, s1, h2, m2, s2 = match.groups()
        start = 3600 * int(h1 or 0) + 60 * int(m1) + float(s1)
        stop = 3600 * int(h2 or 0) + 60 * int(m2) + float(s2)
        check_span(start, stop, at)
        cue = lines[k + 1] if k + 1 < len(lines) else ""
        cue = _VTT_TAG.sub("", cue)
        for escaped, sign in (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&amp;", "&")):
            cue = cue.replace(escaped, sign)
        timings.append(Timing(start, stop, *parse_text(cue, f"{where}, line {k + 2}")))
    return timings


# ---------------------------------------------------------------------- ELAN


def write_elan(timings: Sequence[Timing], recording: str, media: str) -> str:
    """An ``.eaf`` file: one tier a source, the class as the text of each annotation."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "SAI Explorer",
            # the same events give the same file
            "DATE": "1970-01-01T00:00:00+00:00",
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = ElementTree.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    if media:
        kind = "video/mp4" if PurePath(media).suffix.lower() == ".mp4" else "audio/x-wav"
        described = {"MEDIA_URL": f"./{media}", "RELATIVE_MEDIA_URL": f"./{media}", "MIME_TYPE": kind}
        ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", described)
    order = ElementTree.SubElement(root, "TIME_ORDER")
    for k, t in enumerate(timings):
        for n, seconds in ((2 * k + 1, t.start_s), (2 * k + 2, t.stop_s)):
            slot = {"TIME_SLOT_ID": f"ts{n}", "TIME_VALUE": str(round(1000 * seconds))}
            ElementTree.SubElement(order, "TIME_SLOT", slot)
    for tier_text in dict.fromkeys(t.text for t in timings):
        tier = ElementTree.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": "source", "TIER_ID": tier_text})
        for k, t in enumerate(timings):
            if t.text == tier_text:
                holder = ElementTree.SubElement(tier, "ANNOTATION")
                slots = {"TIME_SLOT_REF1": f"ts{2 * k + 1}", "TIME_SLOT_REF2": f"ts{2 * k + 2}"}
                aligned = ElementTree.SubElement(
                    holder, "ALIGNABLE_ANNOTATION", {"ANNOTATION_ID": f"a{k + 1}", **slots}
                )
                ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = t.text
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "source", "TIME_ALIGNABLE": "true"},
    )
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def read_elan(text: str, where: str) -> list[Timing]:
    """Alignable annotations whose text, or else whose tier, names a class."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{where}: declares a document type or entities, which no ELAN file does.")
    try:
        root = ElementTree.fromstring(text.encode("utf-8"))
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{where}: is no XML ({error}).") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise InputError(f"{where}: is no ELAN file (its outermost element is {root.tag}).")
    slots = {
        slot.get("TIME_SLOT_ID"): _seconds(slot.get("TIME_VALUE", ""), where) / 1000
        for slot in root.iter("TIME_SLOT")
        if slot.get("TIME_VALUE") is not None
    }
    timings = []
    for tier in root.iter("TIER"):
        name = tier.get("TIER_ID", "")
        for found in tier.iter("ALIGNABLE_ANNOTATION"):
            at = f"{where}, tier {name!a}, annotation {found.get('ANNOTATION_ID')}"
            ends = [slots.get(found.get(key)) for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")]
            if None in ends:
                raise InputError(f"{at}: has no time; align it in ELAN first.")
            start, stop = (float(end) for end in ends if end is not None)
            check_span(start, stop, at)
            value = (found.findtext("ANNOTATION_VALUE") or "").strip()
            category, number = parse_text(value or name, at)
            if number is None:
                # the class alone was typed into a source's tier
                with suppress(InputError):
                    number = parse_text(name, at)[1]
            timings.append(Timing(start, stop, category, number))
    if not timings and root.find(".//ANNOTATION") is not None:
        raise InputError(f"{where}: none of its annotations has a time of its own; align them in ELAN first.")
    return timings


FORMATS: Final[dict[str, TimingFormat]] = {
    f.name: f
    for f in (
        TimingFormat("audacity", ".txt", "Audacity labels", write_audacity, read_audacity),
        TimingFormat("elan", ".eaf", "ELAN", write_elan, read_elan),
        TimingFormat("rttm", ".rttm", "RTTM", write_rttm, read_rttm),
        TimingFormat("webvtt", ".vtt", "WebVTT", write_webvtt, read_webvtt),
    )
}
"""Formats of timings by name."""


def _lines(text: str, where: str) -> Iterator[tuple[str, str]]:
    for k, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{where}, line {k}", line


def _seconds(text: str, at: str) -> float:
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{at}: {text.strip()!a} is no time in seconds.")
    return value


def _vtt_time(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _vtt_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("-->", "")
