"""A folder of recorded sounds for ``simulate --sounds``, from Debian packages whose licences are free.

    mkdir packages && cd packages && apt-get download <the packages below> && for f in *.deb; do dpkg -x $f .; done
    python -m tests.benchmarks.recorded_sounds --packages packages --out sounds

Packages: alsa-utils, ardentryst, asterisk-core-sounds-en-wav, asterisk-core-sounds-fr-wav, baresip-core, berusky2-data,
bucklespring-data, circuslinux-data, festvox-ru, flightgear-data-base, foobillardplus-data, freeorion-data,
frozen-bubble-data, gnome-audio, gnome-shell-pomodoro-data, hedgewars-data, hydrogen-data, hydrogen-drumkits,
libjs-jsxc, libreoffice-common, linphone-common, lmms-common, lomiri-sounds, minetest-data, minetest-mod-homedecor,
monsterz-data, orage-data, pushover, redeclipse-data, scratch, searchandrescue-data, sonic-pi-samples, tuxpaint-data,
wesnoth-1.16-music (Debian 12). Files are linked, nothing is copied or changed; a package that is missing only makes its
class poorer. What counts as which class was decided by the names of the files.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MOST: Final[int] = 60
"""Files of a class; more are drawn from, with a fixed seed."""

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


def collect(packages: Path, out: Path) -> dict[str, int]:
    """Link what the patterns find; number of files of each class."""
    counts = {}
    for name, patterns in PATTERNS.items():
        found = sorted({p for pattern in patterns for p in (packages / "usr").glob(pattern) if p.is_file()})
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the folder and print what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    for name, count in collect(chosen.packages, chosen.out).items():
        print(f"{name}: {count}")


if __name__ == "__main__":
    main()
