"""Background work behind a player: comparisons, acoustic maps and sound, each question once for all who ask it."""

from __future__ import annotations

import threading
from typing import Final, cast, get_args

from cachetools import LRUCache

from sai_core.errors import check_known
from sai_core.files import file_signatures
from sai_core.jobs import Job, JobQueue
from sai_core.listening.job import HeardBeam
from sai_core.listening.lines import towards
from sai_core.listening.solo import Part, Solo
from sai_core.listening.sources import Track
from sai_core.listening.windows import PlayerSound, Solos
from sai_core.viewing.acoustic_layer import AcousticLayer, LayerKind, open_layer
from sai_core.viewing.comparison import Comparison, compare
from sai_core.viewing.recording_view import BytesCache, RecordingView

_MOST_SOUNDS: Final[int] = 12


class Work:
    """What opened recordings have made or are having made: started at the first call, shared by all who ask.

    Safe to use from several threads.

    Parameters
    ----------
    cache : BytesCache
        Where finished windows of sound are kept.
    """

    def __init__(self, cache: BytesCache) -> None:
        self._cache = cache
        # one comparison at a time: two systems of one recording share the rendered labels, which the second finds ready
        self._comparisons = JobQueue("comparisons", at_once=1)
        self._maps = JobQueue("acoustic-maps", at_once=2, keep=16)
        self._listening = JobQueue("listening", at_once=1, keep=64)
        self._spectrograms = JobQueue("listening-spectrograms", at_once=1, keep=8)
        self._solos = Solos()
        self._sounds: LRUCache[tuple[object, ...], PlayerSound] = LRUCache(_MOST_SOUNDS)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop what is still being made; whoever asks afterwards asks in vain."""
        for queue in (self._comparisons, self._maps, self._listening, self._spectrograms):
            for job in queue.jobs:
                job.cancel()

    def comparison(self, view: RecordingView, key: str, asker: str = "") -> Job[Comparison]:
        """Comparison of a system with the labels.

        That of another recording which the same one asked for before is given up, and with it the tables that it holds.
        """
        labels, predictions = view.tables["L"], view.tables[key]
        return self._comparisons.submit(
            (view.scene_id, key),
            lambda progress: compare(labels, predictions, progress=progress),
            title="Comparison",
            wanted_by=(asker, key) if asker else None,
        )

    def acoustic_layer(self, view: RecordingView, kind: LayerKind, weights: str) -> Job[AcousticLayer]:
        """Acoustic maps of a recording; ``weights`` is a file, "" for those that ship."""
        recording = view.recording
        job = self._maps.submit(
            (view.media.media_id, kind, weights),
            lambda progress: open_layer(recording, kind, weights=weights, progress=progress),
            title="Acoustic maps",
        )
        if job.error:  # told once, then tried anew: the user may have put the missing file there meanwhile
            self._maps.remove(job)
        return job

    def player_sound(self, view: RecordingView) -> PlayerSound:
        """A recording as it is heard in a direction, opened once until one of its files changes.

        Raises
        ------
        InputError
            No sound that tells directions.
        """
        recording = view.recording
        paths = (recording.mic_path, recording.foa_path, recording.eigen_path)
        key = (recording.name, recording.split, *map(str, paths), file_signatures(paths))
        with self._lock:
            sound = self._sounds.get(key)
        if sound is None:
            sound = PlayerSound(recording)  # outside of the lock: a slow file must not hold up the others
            with self._lock:
                sound = self._sounds.setdefault(key, sound)
        return sound

    def listening_facts(self, view: RecordingView) -> Job[bytes]:
        """What the sound in directions of a recording is made of.

        Raises
        ------
        InputError
            No sound that tells directions.
        """
        sound = self.player_sound(view)
        return self._listening.submit(sound.signature, lambda _: sound.facts(), title="Listening", reuse="unfailed")

    def listening_window(self, view: RecordingView, block: int) -> bytes:
        """Harmonics of a block, from the cache where possible.

        Raises
        ------
        InputError
            No sound that tells directions, or a file that has gone.
        """
        sound = self.player_sound(view)
        data = self._cache.get((sound.signature, block))
        if data is None:
            data = sound.window(block)
            self._cache.put((sound.signature, block), data)
        return data

    def listening_source(
        self, view: RecordingView, table: str, source: tuple[int, int], part: Part, block: int
    ) -> Job[bytes]:
        """A block of a source (class, number) alone or of all but it.

        Raises
        ------
        InputError
            No sound that tells directions.
        """
        sound, rows, solos = self.player_sound(view), view.tables[table], self._solos
        key = (view.scene_id, table, source, sound.signature)
        return self._listening.submit(
            (key, part, block),
            lambda _: solos.render(key, lambda: sound.solo(rows, *source), part, block),
            title="One source alone",
            reuse="unfailed",
        )

    def listening_spectrogram(
        self, view: RecordingView, way: str, of: tuple[int, int] | tuple[str, int, int], asker: str
    ) -> Job[bytes]:
        """Spectrogram of a direction (azimuth, elevation) or a source (table, class, number).

        Whoever asks for another one next wants this one no longer.

        Raises
        ------
        InputError
            No sound that tells directions, or no such source or beam.
        """
        sound = self.player_sound(view)
        track: Track | Solo
        if len(of) == 2:
            check_known("Beam", way, get_args(HeardBeam))
            track = towards(*of)
        else:
            track = sound.solo(view.tables[of[0]], of[1], of[2])
        return self._spectrograms.submit(
            (view.scene_id if len(of) == 3 else "", sound.signature, way, of),
            lambda progress: sound.spectrogram(track, cast("HeardBeam | Part", way), progress),
            title="Spectrogram",
            reuse="unfailed",
            wanted_by=asker,
        )
