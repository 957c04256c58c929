"""What a sound is: a small network that hears two seconds and scores the 13 classes (docs/listening.md).

:mod:`sai_core.listening` makes the sound (a beam, one source alone); this room says what it sounds like. It knows
nothing of directions and recordings. Only :mod:`sai_core.listener.network` needs torch, and is imported where it runs.
"""

from sai_core.listener.hearing import SHIPPED_LISTENER, Heard, Listener, open_listener

__all__ = ["SHIPPED_LISTENER", "Heard", "Listener", "open_listener"]
