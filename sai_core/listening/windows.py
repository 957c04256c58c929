"""What a player needs to let one listen in a direction: harmonics by windows, filters, sources by themselves.

Windows are those of the player's blocks. The player weights harmonics by itself, so that steering needs no server; for
the beams that adapt it gets the covariances of single frames, those of half a second around the window included. What
takes statistics over seconds (one source, everything but it) is made here, window by window.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
from scipy import fft

from sai_core.annotations import AnnotationTable
from sai_core.dataset import Recording, open_heard, spectrogram_of
from sai_core.files import file_signature
from sai_core.geometry import FRAME_RATE_HZ, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from sai_core.listening import lines
from sai_core.listening.beams import BEAMS, Beam, emphasis, half_width_deg
from sai_core.listening.binaural import ear_response
from sai_core.listening.encoding import TAPS, Array, Encoder, Reader, filters_of, orders_of
from sai_core.listening.signals import Signal, open_signal
from sai_core.listening.solo import NEAREST_DEG, Part, Solo
from sai_core.listening.sources import Track, sources_of
from sai_core.progress import Progress
from sai_core.viewing.player import BLOCK_FRAMES, columns_per_frame, encode_spectrogram, pack

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

ORDER: Final[dict[Array, int]] = {"foa": 1, "mic": 1, "eigen": 3}
"""Harmonics that travel: 4, or 16 of 32 capsules (768 kB a second; order 4 would be 1.2 MB for 6 degrees less)."""

_BRIEF: Final[dict[Array, str]] = {"eigen": "32 capsules", "foa": "FOA", "mic": "4 capsules"}

EAR_TAPS: Final[int] = 256
EAR_ZERO: Final[int] = 32
"""Taps of an ear's filter, and the one of time 0: 1.3 ms, so that the sound is not late against the picture."""

_LEVEL_WINDOWS: Final[int] = 8
_MOST_MATCHED: Final[float] = 10.0 ** (30.0 / 20.0)
_MOST_RAISED: Final[float] = 10.0 ** (12.0 / 20.0)
"""Of a source alone, to be about as loud as all: more would make something of nothing."""


class Solos:
    """The last sources that were listened to by themselves: one of 32 capsules takes 110 MB.

    Parameters
    ----------
    most : int
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Solo] = OrderedDict()
        self._lock = threading.Lock()

    def render(self, key: Hashable, make: Callable[[], Solo], part: Part, index: int) -> bytes:
        """Container of one block of a source alone, or of everything but it; ``make`` where it is not kept.

        Header: ``index``, ``start``, ``stop``, ``scale`` (what full scale is), ``near`` (frames of the block in which
        another source is too near to be silenced). Array: ``samples`` int16. Before its first and after its last row a
        source's direction is held.
        """
        start, stop = index * BLOCK_FRAMES, (index + 1) * BLOCK_FRAMES
        with self._lock:  # a Solo is for one thread at a time
            solo = self._kept.get(key) or make()
            self._kept[key] = solo
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            samples, scale = _sixteen_bits(solo.render(start * SAMPLES_PER_FRAME, stop * SAMPLES_PER_FRAME, part))
            near = sum(frame in solo.too_near for frame in range(start, stop))
        header = {"index": index, "start": start, "stop": stop, "scale": scale, "near": near}
        return pack(header, {"samples": samples})


class _Heard:
    """What is heard between two samples, as a sound file would be; silence elsewhere."""

    sample_rate_hz = SAMPLE_RATE_HZ
    n_channels = 1

    def __init__(self, line: Reader, first: int, last: int, n_samples: int) -> None:
        self._line, self._first, self._last = line, first, last
        self.n_samples = n_samples

    def read_samples(self, start: int, stop: int) -> Float32Array:
        out = np.zeros((stop - start, 1), dtype=np.float32)
        low, high = max(start, self._first), min(stop, self._last)
        if low < high:
            out[low - start : high - start] = self._line(low, high)
        return out


class PlayerSound:
    """A recording as a player hears it in a direction. Safe to use from several threads.

    Parameters
    ----------
    recording : Recording

    Attributes
    ----------
    order : int
        Of the harmonics that travel.
    signature : tuple
        Of the files that are heard: what is kept of it is of no use when it changes.

    Raises
    ------
    InputError
        No sound that tells directions: the sentence says why.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._signal = open_signal(recording)
        self._source_signal = open_signal(recording, solo=True)
        self.order = ORDER[self._signal.array]
        self._encoder = _encoder(self._signal.array, self.order)
        self._lock = threading.Lock()
        self._facts: bytes | None = None
        self.signature = tuple(file_signature(signal.path) for signal in (self._signal, self._source_signal))

    def facts(self) -> bytes:
        """Container with what the player's sound is made of.

        Header: ``array``, ``order``, ``why`` (what is heard, a sentence), ``notes`` (what was converted or could not be
        used), ``beams`` (-3 dB angles), ``around`` (frames to each side that an adaptive beam learns from), ``gain``
        and ``source_gain`` (what harmonics and sources are raised by to be as loud as the recording's plain sound).
        Arrays, float32: ``ears`` (2, harmonics, taps; of SN3D harmonics), ``place`` (the same of order 4, for a single
        line), ``emphasis.<beam>`` (taps, causal) where the harmonics fade out at low frequencies.
        """
        with self._lock:
            if self._facts is None:
                self._facts = self._make_facts()
            return self._facts

    def _make_facts(self) -> bytes:
        array = self._signal.array
        own = self._source_signal.array
        alone = "" if own == array else f", one source alone from {_BRIEF[own]}"
        notes = dict.fromkeys((*self._signal.notes(), *self._source_signal.notes()))
        plain = self._plain_level()
        header = {
            "array": array,
            "order": self.order,
            "why": f"Directions are heard from {_BRIEF[array]}{alone}.",
            "notes": list(notes),
            "beams": {beam: half_width_deg(beam, self.order) for beam in BEAMS},
            "around": lines.ADAPTS_OVER,
            "gain": _match(plain, self._level(self._signal)),
            "source_gain": _match(plain, self._level(self._source_signal)),
        }
        arrays: dict[str, npt.NDArray[Any] | bytes] = {
            "ears": ear_filters(self.order).astype(np.float32),
            "place": ear_filters(lines.PLACED_ORDER).astype(np.float32),
        }
        if array != "foa":
            for beam in BEAMS:
                arrays[f"emphasis.{beam}"] = emphasis_filter(array, beam, self.order).astype(np.float32)
        return pack(header, arrays)

    def window(self, index: int) -> bytes:
        """Container of one block's harmonics.

        Header: ``index``, ``start``, ``stop`` (frames), ``harmonics``, ``scale`` (of a sample of 1). Arrays:
        ``samples`` int16 (harmonics, samples), ``covariance`` float32 (frames + 2 around, 4, 4) from ``start - around``
        on, of the first order's harmonics.
        """
        start, stop = index * BLOCK_FRAMES, (index + 1) * BLOCK_FRAMES
        if start >= self._signal.n_frames or index < 0:
            # beyond its end a recording is silent; the picture may go on
            harmonics = np.zeros((BLOCK_FRAMES * SAMPLES_PER_FRAME, self._encoder.n_out), dtype=np.float32)
            covariance = np.zeros((BLOCK_FRAMES + 2 * lines.ADAPTS_OVER, 4, 4))
        else:
            low = max(start - lines.ADAPTS_OVER, 0)
            with self._lock:
                longer = self._encoder.encode(
                    self._signal.read, low * SAMPLES_PER_FRAME, (stop + lines.ADAPTS_OVER) * SAMPLES_PER_FRAME
                )
            harmonics = longer[(start - low) * SAMPLES_PER_FRAME : (stop - low) * SAMPLES_PER_FRAME]
            first = longer[:, :4].reshape(-1, SAMPLES_PER_FRAME, 4)
            covariance = np.zeros((BLOCK_FRAMES + 2 * lines.ADAPTS_OVER, 4, 4))
            for at, part in enumerate(first, start=low):
                if at < self._signal.n_frames:
                    covariance[at - start + lines.ADAPTS_OVER] = part.T.astype(np.float64) @ part
        samples, scale = _sixteen_bits(harmonics.T)
        header = {"index": index, "start": start, "stop": stop, "harmonics": len(samples), "scale": scale}
        return pack(header, {"samples": samples, "covariance": covariance.astype(np.float32)})

    def solo(self, rows: AnnotationTable, category_id: int, number: int) -> Solo:
        """A source of annotations by itself, among the others of the same annotations.

        Raises
        ------
        InputError
            No such source.
        """
        sources = sources_of(rows)
        track = sources.find(number, category_id)
        return Solo(self._source_signal.array, self._source_signal.read, track, sources.others(track))

    def alone(
        self,
        track: Track,
        others: Sequence[Track],
        start: int,
        stop: int,
        *,
        around: tuple[int, int],
        progress: Progress,
    ) -> bytes:
        """Container of a source by itself from one frame to another, about as loud as all directions are played.

        Header: ``start``, ``stop``, ``scale`` (what full scale is), ``raised_db`` (what it is louder by than in the
        recording, 0 to 12), ``near`` (frames of ``around`` in which another source is too near to be silenced),
        ``nearest_deg`` (what too near is). Array: ``samples`` int16.

        Parameters
        ----------
        track : Track
        others : sequence of Track
            What is silenced, in the frames in which it has rows.
        start, stop : int
            Frames; silence after the recording's end.
        around : tuple of int
            First frame and frame after the last whose level is compared.
        progress : Progress
        """
        signal, each = self._source_signal, SAMPLES_PER_FRAME
        solo = Solo(signal.array, signal.read, track, others)
        pieces = []
        for frame in range(start, stop, BLOCK_FRAMES):
            progress((frame - start) / (stop - start), "listening")
            pieces.append(solo.render(frame * each, min(frame + BLOCK_FRAMES, stop) * each))
        samples = np.concatenate(pieces)
        low, high = (min(max(k, start), stop) for k in around)
        if low == high:
            low, high = start, stop
        with self._lock:
            omni = _rms(_encoder(signal.array, 0).encode(signal.read, low * each, high * each))
        gain, own = _match(self._plain(low, high), omni), _rms(samples[(low - start) * each : (high - start) * each])
        raised = float(np.clip(omni / own, 1.0, _MOST_RAISED)) if own > 0.0 else 1.0
        if (peak := float(np.abs(samples).max(initial=0.0)) * gain) > 0.0:
            raised = max(min(raised, 1.0 / peak), 1.0)  # nothing is clipped for being raised
        shorts, scale = _sixteen_bits(samples * np.float32(gain * raised))
        header = {
            "start": start,
            "stop": stop,
            "scale": scale,
            "raised_db": 20.0 * float(np.log10(raised)),
            "near": sum(low <= frame < high for frame in solo.too_near),
            "nearest_deg": NEAREST_DEG[signal.array],
        }
        return pack(header, {"samples": shorts})

    def spectrogram(self, track: Track | Solo, way: Beam | Literal["adaptive"] | Part, progress: Progress) -> bytes:
        """Container with the spectrogram of a direction or a source (as the player's own of the plain sound).

        Parameters
        ----------
        track : Track or Solo
            Direction (:func:`~sai_core.listening.lines.towards`) of a beam; source of ``solo`` and ``around``. A source
            is computed where it is, and a second around; the rest is empty.
        way : str
        progress : Progress
        """
        first, last = 0, self._signal.n_samples
        line: Reader
        if isinstance(track, Solo):
            solo, part = track, cast("Part", way)
            first = (solo.track.start - FRAME_RATE_HZ) * SAMPLES_PER_FRAME
            last = min(last, (solo.track.stop + FRAME_RATE_HZ) * SAMPLES_PER_FRAME)

            def line(start: int, stop: int) -> Float32Array:
                return solo.render(start, stop, part)[:, None]

        elif way == "adaptive":
            line = lines.adaptive(self._signal, track)
        else:
            line = lines.steered(self._signal, track, beam=cast("Beam", way), order=self.order)
        per_frame = columns_per_frame(self._signal.n_frames)
        source = _Heard(line, max(first, 0), last, self._signal.n_samples)
        return encode_spectrogram(spectrogram_of(source, columns_per_frame=per_frame, progress=progress))

    def _level_frames(self, n_frames: int) -> list[int]:
        """Seconds by which levels are compared, spread over the recording."""
        last = max(n_frames - FRAME_RATE_HZ, 0)
        return sorted({round(k) for k in np.linspace(0, last, _LEVEL_WINDOWS)})

    def _plain_level(self) -> float:
        """Root mean square of what is played where all directions are heard."""
        reader = open_heard(self._recording)
        assert reader is not None
        frames = self._level_frames(self._signal.n_frames)
        pieces = [reader.mono_pcm16(k / FRAME_RATE_HZ, k / FRAME_RATE_HZ + 1.0, SAMPLE_RATE_HZ) for k in frames]
        return _rms(np.concatenate(pieces) / 32768.0)

    def _plain(self, start: int, stop: int) -> float:
        """The same from one frame to another."""
        reader = open_heard(self._recording)
        assert reader is not None
        return _rms(reader.mono_pcm16(start / FRAME_RATE_HZ, stop / FRAME_RATE_HZ, SAMPLE_RATE_HZ) / 32768.0)

    def _level(self, signal: Signal) -> float:
        """The same of the omnidirectional channel."""
        omni = _encoder(signal.array, 0)
        frames = self._level_frames(self._signal.n_frames)
        second = FRAME_RATE_HZ * SAMPLES_PER_FRAME
        starts = [k * SAMPLES_PER_FRAME for k in frames]
        return _rms(np.concatenate([omni.encode(signal.read, k, k + second)[:, 0] for k in starts]))


@lru_cache(maxsize=8)
def _encoder(array: Array, order: int) -> Encoder:
    """Shared by all recordings: a filter for 32 capsules takes a second to make."""
    return Encoder(array, order)


@lru_cache(maxsize=8)
def ear_filters(order: int) -> FloatArray:
    """From SN3D harmonics to the left and the right ear: (2, harmonics, :data:`EAR_TAPS`); see :data:`EAR_ZERO`."""
    response = ear_response(order) * np.sqrt(2.0 * orders_of(order) + 1.0)
    first = TAPS // 2 - EAR_ZERO
    filters = filters_of(response)[..., first : first + EAR_TAPS].copy()
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(EAR_ZERO // 2) + 0.5) / (EAR_ZERO // 2))
    filters[..., : ramp.size] *= ramp
    filters[..., -ramp.size :] *= ramp[::-1]
    filters.flags.writeable = False
    return filters


def emphasis_filter(array: Array, beam: Beam, order: int) -> FloatArray:
    """What :func:`~sai_core.listening.beams.beam_encoder` adds to harmonics, as a causal filter of the beam's sound.

    Of minimum phase: it is the same for all harmonics, so that nothing but the beam's own sound turns, and nothing is
    late.
    """
    cepstrum = fft.irfft(np.log(emphasis(array, beam, order)), 2 * TAPS)
    folded = np.concatenate([cepstrum[:1], 2 * cepstrum[1:TAPS], cepstrum[TAPS : TAPS + 1], np.zeros(TAPS - 1)])
    impulse = fft.irfft(np.exp(fft.rfft(folded)), 2 * TAPS)[:TAPS]
    impulse[-TAPS // 8 :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(TAPS // 8) + 0.5) / (TAPS // 8))
    return np.asarray(impulse)


def _sixteen_bits(samples: Float32Array) -> tuple[npt.NDArray[np.int16], float]:
    """Samples over the whole range of 16 bits, and what 1 is in them: nothing is clipped, nor lost for being quiet."""
    peak = float(np.abs(samples).max(initial=0.0))
    scale = peak or 1.0
    return np.rint(samples * np.float32(32767.0 / scale)).astype(np.int16), scale


def _rms(samples: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


def _match(plain: float, heard: float) -> float:
    """Gain that makes one level anheard, where both are heard at all."""
    if plain <= 0.0 or heard <= 0.0:
        return 1.0
    return float(np.clip(plain / heard, 1.0 / _MOST_MATCHED, _MOST_MATCHED))
