"""Text from data on a page: shown as it is, never as Markdown."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_\[\](){}<>$~:!|#])")


def plain(text: object) -> str:
    """Escape what Streamlit's Markdown would act on (links, pictures, colours, formulas, icons, HTML).

    A file may be named ``![](http://somewhere)``; a sentence about it must show that name and fetch nothing.
    """
    return _SPECIAL.sub(r"\\\1", str(text))
