"""A folder of recorded sounds for ``simulate --sounds``, from Debian packages whose licences are free.

    mkdir packages && cd packages && apt-get download <the packages below>
    for f in *.deb; do dpkg -x $f ${f%%_*}; done
    python -m tests.benchmarks.recorded_sounds --packages packages --out sounds
    python -m tests.benchmarks.recorded_sounds --packages packages --out sounds --by-package

The first makes the 398 files of docs/detector.md. ``--by-package`` makes ``sounds/train`` and ``sounds/test``, a folder
of each package within that of a class: all files of a package are on one side (:data:`TESTED`). It takes more files
(:data:`MORE`), renders the General MIDI sound fonts among the packages (instruments, small bands, bells, telephones,
applause, claps; ``fluidsynth`` is needed) and lets ``flite`` speak, where they are installed, and prints what there is,
with the licences that the packages state. Excerpts
of music and what is rendered are written, all else linked.

Packages: alsa-utils, ardentryst, asterisk-core-sounds-en-wav, asterisk-core-sounds-fr-wav, baresip-core, berusky2-data,
bucklespring-data, circuslinux-data, festvox-ru, flightgear-data-base, foobillardplus-data, freeorion-data,
frozen-bubble-data, gnome-audio, gnome-shell-pomodoro-data, hedgewars-data, hydrogen-data, hydrogen-drumkits,
libjs-jsxc, libreoffice-common, linphone-common, lmms-common, lomiri-sounds, minetest-data, minetest-mod-homedecor,
monsterz-data, orage-data, pushover, redeclipse-data, scratch, searchandrescue-data, sonic-pi-samples, tuxpaint-data,
wesnoth-1.16-music (Debian 12); besides, for ``--by-package``: amphetamine-data, asterisk-core-sounds-es-wav,
asterisk-core-sounds-it-wav, asterisk-core-sounds-ru-wav, asterisk-moh-opsound-wav, asterisk-prompt-it-menardi-wav,
fluid-soundfont-gm, lugaru-data, oxygen-sounds, pathological, singularity-music, sound-theme-freedesktop,
timgm6mb-soundfont, trackballs-data, twinkle-common. Files are linked, nothing is copied or changed; a package that is
missing only makes its class poorer. What counts as which class was decided by the names of the files.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import soundfile

MOST: Final[int] = 60
"""Files of a class; more are drawn from, with a fixed seed."""

MOST_OF_PACKAGE: Final[int] = 40
"""Files of a class and package with ``--by-package``."""

MOST_MUSIC: Final[int] = 10
"""The same of music, whose files are minutes long."""

_KIT: Final[str] = "share/hydrogen/data/drumkits"
PATTERNS: Final[dict[str, tuple[str, ...]]] = {
    "female_speech": ("share/asterisk/sounds/*_f_*/*.wav", "share/sounds/alsa/[FRS]*_[CLR]*.wav"),
    "male_speech": (
        "share/festival/voices/russian/msu_ru_nsh_clunits/**/*.wav",
        "share/games/hedgewars/Data/Sounds/voices/British/*.ogg",
        "share/games/hedgewars/Data/Sounds/voices/Mobster/*.ogg",
    ),
    "clapping": (
        "share/lmms/samples/misc/applause01.ogg",
        "share/games/monsterz/sound/applause.wav",
        "share/games/foobillardplus/data/applause.wav",
        "share/games/circuslinux/data/sounds/applause.wav",
        "share/games/frozen-bubble/snd/applause.ogg",
        "lib/libreoffice/share/gallery/sounds/applause.wav",
        "share/scratch/Media/Sounds/Percussion/HandClap.wav",
        f"{_KIT}/Gimme A Hand*/HandClap*.wav",
        f"{_KIT}/GMRockKit/HandClap.wav",
        f"{_KIT}/The Black Pearl*/HandClap.wav",
        f"{_KIT}/Millo_MultiLayered2/clap_*.flac",
    ),
    "telephone": (
        "share/orage/sounds/Phone.wav",
        "share/sounds/linphone/rings/oldphone-mono.wav",
        "share/sounds/phone.wav",
        "share/libjs-jsxc/sound/Rotary-Phone6.mp3",
        "share/baresip/ring.wav",
        "share/sounds/lomiri/ringtones/*.ogg",
    ),
    "laughter": (
        "share/games/hedgewars/Data/Sounds/voices/*/Laugh.ogg",
        "share/games/monsterz/sound/laugh.wav",
        "share/scratch/Media/Sounds/Human/Laugh-*",
        "share/tuxpaint/sounds/giggle.wav",
    ),
    "domestic_sounds": (
        "share/buckle/wav/*.wav",
        "share/games/freeorion/default/data/sound/text_typing.ogg",
        "share/scratch/Media/Sounds/Effects/Typing.mp3",
        "share/scratch/Media/Sounds/Effects/SewingMachine.mp3",
        "share/scratch/Media/Sounds/Effects/Rattle.wav",
    ),
    "walk_footsteps": (
        "share/games/minetest/games/minetest_game/mods/default/sounds/default_wood_footstep*.ogg",
        "share/games/minetest/games/minetest_game/mods/default/sounds/default_hard_footstep*.ogg",
        "share/games/minetest/games/minetest_game/mods/default/sounds/default_gravel_footstep*.ogg",
        "share/games/ardentryst/Sounds/NYX/NYX_STEP_CONCRETE*.ogg",
        "share/games/berusky2/sound/sound/stepswood.wav",
        "share/games/berusky2/sound/sound/stepsstone2.wav",
        "share/games/redeclipse/data/sounds/player/footstep*.ogg",
        "share/games/redeclipse/data/sounds/player/concstep*.ogg",
        "share/games/hedgewars/Data/Sounds/steps.ogg",
        "share/scratch/Media/Sounds/Human/Footsteps-*",
    ),
    "door_open_close": (
        "share/games/minetest/games/minetest_game/mods/doors/sounds/doors_*door_*.ogg",
        "share/games/minetest/mods/homedecor/homedecor_doors_and_gates/sounds/homedecor_door_*.ogg",
        "share/games/searchandrescue/sounds/door_*.wav",
        "share/games/flightgear/Sounds/door_close.wav",
        "share/games/flightgear/Aircraft/c172p/Sounds/door-*.wav",
        "share/pushover/sounds/1?_Door*.ogg",
        "share/sonic-pi/samples/perc_door.flac",
        "share/scratch/Media/Sounds/Effects/Door*",
    ),
    "music": ("share/games/wesnoth/*/data/core/music/*.ogg", "share/scratch/Media/Sounds/Music Loops/Medieval*.mp3"),
    "musical_instrument": (
        "share/sonic-pi/samples/guit_*.flac",
        "share/lmms/samples/instruments/*.ogg",
        "share/scratch/Media/Sounds/Instruments/*",
        "share/scratch/Media/Sounds/Music Loops/[Xx]ylo*.mp3",
        "share/scratch/Media/Sounds/Music Loops/GuitarChords*.mp3",
    ),
    "water_tap": (
        "share/games/minetest/mods/homedecor/homedecor_common/sounds/homedecor_faucet.ogg",
        "share/scratch/Media/Sounds/Effects/WaterRunning.mp3",
        "share/games/redeclipse/data/sounds/ambience/waterfall_indoor.ogg",
        "share/games/redeclipse/data/sounds/ambience/waterfall1.ogg",
    ),
    "bell": (
        "share/gnome-pomodoro/sounds/*bell.ogg",
        "share/sonic-pi/samples/perc_bell*.flac",
        "share/scratch/Media/Sounds/Effects/BellToll.wav",
        "share/games/minetest/mods/homedecor/homedecor_electrical/sounds/homedecor_doorbell.ogg",
        "share/tuxpaint/sounds/typewriterbell.wav",
        "share/lmms/samples/effects/wind_chimes01.ogg",
    ),
    "knock": ("share/orage/sounds/Knock.wav",),
}


EXCERPT_S: Final[int] = 20
"""Of pieces of music; what is rendered or shorter is taken whole."""

MORE: Final[dict[str, tuple[str, ...]]] = {
    "male_speech": ("share/asterisk/sounds/*_m_*/*.wav",),
    "clapping": (
        "share/lmms/samples/drums/clap0?.ogg",
        f"{_KIT}/*/*[Cc]lap*",
        "share/hydrogen/data/drumkits/*/*[Cc]lap*",
    ),
    "telephone": (
        "share/twinkle/ringtone.wav",
        "share/sounds/Oxygen-Im-Phone-Ring.ogg",
        "share/sounds/freedesktop/stereo/phone-incoming-call.oga",
        "share/sounds/linphone/rings/*",
    ),
    "laughter": ("share/games/trackballs/sfx/*laugh.wav",),
    "domestic_sounds": (
        "share/orage/sounds/Boiling.wav",
        "share/games/minetest/mods/homedecor/*/sounds/homedecor_toilet_flush.ogg",
    ),
    "walk_footsteps": (
        "share/games/minetest/games/minetest_game/mods/default/sounds/default_*_footstep*.ogg",
        "share/games/amphetamine/sounds/step.wav",
        "share/games/lugaru/Sounds/FootStep*.ogg",
        "share/games/ardentryst/Sounds/*/*_STEP_*.ogg",
    ),
    "door_open_close": ("share/games/minetest/games/minetest_game/mods/xpanes/sounds/xpanes_*door_*.ogg",),
    "music": (
        "share/asterisk/moh/*.wav",
        "share/games/fretsonfire/data/songs/*/guitar.ogg",
        "share/games/fretsonfire/data/songs/*/song.ogg",
        "share/games/singularity/music/**/*.ogg",
        "share/singularity/music/**/*.ogg",
        "share/games/trackballs/music/*.ogg",
        "share/games/frozen-bubble/snd/*zik*.ogg",
        "share/games/pathological/music/*.ogg",
        "share/lmms/samples/beats/*.ogg",
    ),
    "musical_instrument": ("share/lmms/samples/stringsnpads/*.ogg",),
    "water_tap": ("share/games/minetest/games/minetest_game/mods/env_sounds/sounds/env_sounds_water.?.ogg",),
    "bell": ("share/sounds/freedesktop/stereo/bell.oga", f"{_KIT}/GMRockKit/Bell-*.wav"),
}
"""Beside :data:`PATTERNS`, with ``--by-package``."""

TESTED: Final[frozenset[str]] = frozenset(
    (
        "alsa-utils",
        "ardentryst",
        "asterisk-moh-opsound-wav",
        "asterisk-prompt-it-menardi-wav",
        "freeorion-data",
        "frozen-bubble-data",
        "hedgewars-data",
        "libreoffice-common",
        "orage-data",
        "scratch",
        "searchandrescue-data",
        "singularity-music",
        "timgm6mb-soundfont",
    )
)
"""Packages that are tested with; all others may be learned from."""

_TEXTS: Final[tuple[str, ...]] = (
    "Could you pass me the salt, please?",
    "I will be back at seven, so do not wait with dinner.",
    "The train was late again this morning.",
    "Who left the window open last night?",
    "That is not what I meant at all.",
    "We should meet on Thursday, if that suits you.",
    "There is some coffee left in the kitchen.",
    "No, the other one, on the upper shelf.",
    "It has been raining since Monday.",
    "What do you think of the new chairs?",
    "Let us begin with the second point on the list.",
    "I have never seen so many people in this street.",
    "My sister moved to the coast in spring.",
    "How long does it take to walk there?",
    "Just put it on the table.",
    "Nobody told me that the lift was broken.",
    "The last page is missing from this book.",
    "Yes, of course, any time.",
    "She said she would call before noon.",
    "Thank you, that was very kind of you.",
)
_VOICES: Final[dict[str, str]] = {"slt": "female_speech", "rms": "male_speech", "awb": "male_speech"}


def packages_of(packages: Path) -> dict[str, Path]:
    """Unpacked packages: folders that hold ``usr``, or the folder itself where all were unpacked into one."""
    found = {p.name: p for p in sorted(packages.iterdir()) if (p / "usr").is_dir()}
    return found or {"": packages}


def files_of(package: Path, patterns: Sequence[str]) -> list[Path]:
    """Files of an unpacked package that patterns find."""
    return sorted({p for pattern in patterns for p in (package / "usr").glob(pattern) if p.is_file()})


def collect(packages: Path, out: Path) -> dict[str, int]:
    """Link what the patterns find; number of files of each class."""
    counts = {}
    for name, patterns in PATTERNS.items():
        pairs = [(p.relative_to(root), p) for root in packages_of(packages).values() for p in files_of(root, patterns)]
        found = [path for _, path in sorted(pairs)]
        if len(found) > MOST:
            found = sorted(random.Random(1).sample(found, MOST))
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(found):
            link = folder / f"{number:03d}_{path.stem.replace(' ', '_')}{path.suffix.lower()}"
            if not link.is_symlink():
                link.symlink_to(path.resolve())
        counts[name] = len(found)
    return counts


def collect_by_package(packages: Path, out: Path) -> dict[tuple[str, str, str], int]:
    """Link and render into ``train`` and ``test``; number of files by side, class and package."""
    counts: dict[tuple[str, str, str], int] = {}
    for package, root in packages_of(packages).items():
        side = "test" if package in TESTED else "train"
        for name, patterns in PATTERNS.items():
            found = [path for path in files_of(root, [*patterns, *MORE.get(name, ())]) if is_readable(path)]
            most = MOST_MUSIC if name == "music" else MOST_OF_PACKAGE
            if len(found) > most:
                found = sorted(random.Random(1).sample(found, most))
            folder = out / side / name / package
            for number, path in enumerate(found):
                folder.mkdir(parents=True, exist_ok=True)
                link = folder / f"{number:03d}_{path.stem.replace(' ', '_')}{path.suffix.lower()}"
                if name == "music":
                    excerpt(path, link.with_suffix(".wav"))
                elif not link.is_symlink():
                    link.symlink_to(path.resolve())
        for font in sorted((root / "usr/share/sounds").glob("sf2/*.sf2")):
            if not font.is_symlink() and shutil.which("fluidsynth"):
                render_font(font, out / side, package)
    if shutil.which("flite"):
        speak(out / "train")
    for path in sorted(out.glob("t*/*/*/*")):
        key = (path.parts[-4], path.parts[-3], path.parts[-2])
        counts[key] = counts.get(key, 0) + 1
    return counts


def is_readable(path: Path) -> bool:
    """Whether libsndfile opens a file: some packages hold files that are none, or of other formats."""
    try:
        return soundfile.info(path).frames > 0
    except soundfile.LibsndfileError:
        return False


def excerpt(path: Path, out: Path) -> None:
    """Twenty seconds from the middle of a piece of music: all that a clip of some seconds is drawn from."""
    if out.exists():
        return
    with soundfile.SoundFile(path) as stream:
        wanted = EXCERPT_S * stream.samplerate
        stream.seek(max((stream.frames - wanted) // 2, 0))
        samples = stream.read(wanted, always_2d=True).mean(axis=1)
        soundfile.write(out, samples, stream.samplerate)


def speak(out: Path) -> None:
    """Sentences in the voices of ``flite``, made from recordings of speakers."""
    for voice, name in _VOICES.items():
        folder = out / name / "flite"
        folder.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(_TEXTS):
            path = folder / f"{voice}_{number:02d}.wav"
            if not path.exists():
                subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, timeout=60)


def render_font(font: Path, out: Path, package: str) -> None:
    """Play General MIDI on a sound font: melodies of all instruments, bands, and what sounds like other classes."""
    jobs: list[tuple[str, str, bytes]] = []
    for program in _INSTRUMENTS:
        jobs.append(("musical_instrument", f"program_{program:03d}", midi_of([melody(program, 0, seed=program)])))
    for number in range(8):
        rng = random.Random(900 + number)
        lead, chords, bass = rng.randrange(56, 76), rng.choice((0, 4, 25, 27, 48)), rng.randrange(32, 38)
        parts = [
            melody(lead, 0, seed=number),
            harmony(chords, 1, seed=number),
            line(bass, 2, seed=number),
            drums(number),
        ]
        jobs.append(("music", f"band_{number:02d}", midi_of(parts)))
    for number in range(4):
        for program in (14, 112):
            jobs.append(("bell", f"program_{program}_{number}", midi_of([strokes(program, seed=number)])))
        notes = [(0.0, 3.0, 60 + 5 * number, 100)]
        jobs.append(("telephone", f"program_124_{number}", midi_of([track(124, 0, notes)])))
        jobs.append(("clapping", f"program_126_{number}", midi_of([track(126, 0, [(0.0, 4.0, 56 + 4 * number, 110)])])))
        rng = random.Random(40 + number)
        claps = [(0.25 * k + rng.uniform(0, 0.03), 0.1, 39, rng.randrange(80, 120)) for k in range(12)]
        jobs.append(("clapping", f"hand_clap_{number}", midi_of([track(0, 9, claps)])))
    for name, stem, content in jobs:
        path = out / name / package / f"{stem}.wav"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(suffix=".mid") as stream:
            stream.write(content)
            stream.flush()
            command = ["fluidsynth", "-n", "-i", "-q", "-R", "0", "-C", "0", "-g", "0.7", "-r", "24000"]
            subprocess.run(
                [*command, "-F", str(path), str(font), stream.name], check=True, timeout=120, capture_output=True
            )


Note = tuple[float, float, int, int]
"""Second, length in seconds, key, velocity."""

_INSTRUMENTS: Final[tuple[int, ...]] = (
    0, 4, 6, 11, 13, 16, 19, 21, 24, 25, 27, 30, 32, 40, 41, 42, 45, 46, 56, 57, 60, 61, 65, 66, 68, 71, 73, 74, 75, 79,
    104, 105, 108,
)  # fmt: skip
"""Of General MIDI: keyboards, mallets, organs, guitars, strings, brass, reeds, pipes."""

_SCALE: Final[tuple[int, ...]] = (0, 2, 4, 5, 7, 9, 11, 12, 14, 16)


def melody(program: int, channel: int, *, seed: int) -> bytes:
    """Six seconds that wander over a scale."""
    rng = random.Random(seed)
    root, at, where, notes = rng.randrange(52, 66), 0.0, 3, []
    while at < 6.0:
        length = rng.choice((0.25, 0.25, 0.5, 0.75))
        where = min(max(where + rng.randrange(-2, 3), 0), len(_SCALE) - 1)
        notes.append((at, length * 0.95, root + _SCALE[where], rng.randrange(70, 115)))
        at += length
    return track(program, channel, notes)


def harmony(program: int, channel: int, *, seed: int) -> bytes:
    """Chords of a second and a half."""
    rng = random.Random(seed)
    root = rng.randrange(52, 60)
    starts = [rng.choice((0, 5, 7, 9)) for _ in range(4)]
    return track(program, channel, [(1.5 * k, 1.4, root + s + n, 70) for k, s in enumerate(starts) for n in (0, 4, 7)])


def line(program: int, channel: int, *, seed: int) -> bytes:
    """A bass line."""
    rng = random.Random(seed)
    root = rng.randrange(33, 42)
    return track(program, channel, [(0.375 * k, 0.35, root + rng.choice((0, 0, 5, 7)), 95) for k in range(16)])


def drums(seed: int) -> bytes:
    """Bass drum, snare and hi-hat."""
    notes = [(0.1875 * k, 0.1, 42, 70) for k in range(32)]
    notes += [(0.75 * k, 0.1, 36, 110) for k in range(8)] + [(0.75 * k + 0.375, 0.1, 38, 100) for k in range(8)]
    return track(0, 9, notes)


def strokes(program: int, *, seed: int) -> bytes:
    """Strokes of a bell."""
    rng = random.Random(seed)
    return track(program, 0, [(1.2 * k, 1.1, rng.randrange(60, 80), 110) for k in range(4)])


def track(program: int, channel: int, notes: Sequence[Note]) -> bytes:
    """A track of a MIDI file at 480 ticks a quarter of half a second."""
    events = [(0, bytes((0xC0 | channel, program)))]
    for at, length, key, velocity in notes:
        events.append((round(at * 960), bytes((0x90 | channel, key, velocity))))
        events.append((round((at + length) * 960), bytes((0x80 | channel, key, 0))))
    events.sort(key=lambda event: event[0])
    out, before = b"", 0
    for tick, message in events:
        out += _delta(tick - before) + message
        before = tick
    out += b"\x00\xff\x2f\x00"
    return b"MTrk" + len(out).to_bytes(4, "big") + out


def _delta(ticks: int) -> bytes:
    out = bytes((ticks & 0x7F,))
    while ticks := ticks >> 7:
        out = bytes((0x80 | (ticks & 0x7F),)) + out
    return out


def midi_of(tracks: Sequence[bytes]) -> bytes:
    """A MIDI file of some tracks."""
    header = b"MThd" + (6).to_bytes(4, "big") + b"\x00\x01" + len(tracks).to_bytes(2, "big") + (480).to_bytes(2, "big")
    return header + b"".join(tracks)


def licences_of(package: Path) -> str:
    """Licences that a package's copyright file names, the most frequent first; at most three."""
    names: Counter[str] = Counter()
    for path in (package / "usr/share/doc").glob("*/copyright"):
        if path.is_file():
            names.update(re.findall(r"^License: *(\S[^\n]*)$", path.read_text("utf-8", "replace"), flags=re.MULTILINE))
    return ", ".join(name.strip() for name, _ in names.most_common(3)) or "see its copyright file"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the folder and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--by-package", action="store_true", help="train and test, no package on both sides")
    chosen = parser.parse_args(arguments)
    if not chosen.by_package:
        for name, count in collect(chosen.packages, chosen.out).items():
            print(f"{name}: {count}")
        return
    counts = collect_by_package(chosen.packages, chosen.out)
    for side in ("train", "test"):
        print(f"\n| {side}: class | files | of packages |\n| --- | --- | --- |")
        for name in PATTERNS:
            there = {package: n for (s, c, package), n in counts.items() if (s, c) == (side, name)}
            print(f"| {name} | {sum(there.values())} | {', '.join(f'{p} {n}' for p, n in there.items())} |")
    print("\n| package | licences |\n| --- | --- |")
    roots = packages_of(chosen.packages)
    for package in sorted({package for _, _, package in counts}):
        print(f"| {package} | {licences_of(roots[package]) if package in roots else 'of the installed package'} |")


if __name__ == "__main__":
    main()
