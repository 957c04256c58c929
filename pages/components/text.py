"""Text from data on a page: shown as it is, never as Markdown, HTML or a formula."""

from __future__ import annotations

import html
import re
import unicodedata

_SPECIAL = re.compile(r"([\\`*_\[\](){}<>$~:!|#&])")
_LINE_START = re.compile(r"^([-+=]|\d{1,9}(?=[.]))")
_LINK = re.compile(r"(?i)\b(https?:|ftp:|mailto:|www\.)|(?<=\S)@(?=\S)")
_SYMBOL = re.compile(r"(?<=\s)(<->|<-|->|--|>=|<=|~=)(?=\s)")
_JOINER = "\u2060"
"""Takes no room and joins what stands around it: keeps addresses and arrows from being recognised as such."""

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
"""Unicode's kinds of characters that cannot be seen, turn the text's direction, or are half of one."""

_SEEN = frozenset("\u200c\u200d\u2060\ufe0f")
"""Of these kinds, what scripts and emoji need inside a word."""


def shown(text: object) -> str:
    """Text on one line; every character that could not be seen is written as its number.

    A line break becomes a space; control and bidirectional characters and half surrogates (names on disk that are no
    UTF-8) become a backslash, ``u`` and the number. For places that show plain text: options of a select box, tables.
    """
    parts = []
    for c in str(text):
        if c in "\r\n\t":
            parts.append(" ")
        elif unicodedata.category(c) in _UNSEEN and c not in _SEEN:
            parts.append(f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}")
        else:
            parts.append(c)
    return "".join(parts)


def plain(text: object) -> str:
    """Escape what Streamlit's Markdown would act on (links, pictures, colours, formulas, icons, lists, HTML).

    A file may be named ``![](http://somewhere)``; a sentence about it must show that name and fetch nothing. The same
    for everything that takes Markdown: text, captions, messages, labels of widgets, options of radio buttons, help,
    the text of a progress bar.
    """
    # Markdown leaves out spaces at the beginning, or takes four of them for code
    one_line = _LINK.sub(lambda m: m[0] + _JOINER, shown(text).lstrip())
    one_line = _SYMBOL.sub(lambda m: m[0][0] + _JOINER + m[0][1:], one_line)
    one_line = _SPECIAL.sub(r"\\\1", one_line)
    if match := _LINE_START.match(one_line):
        start = match[0]
        # a list item or an underline: the mark itself is escaped, of a number the full stop behind it
        one_line = f"{start}\\{one_line[len(start) :]}" if start.isdigit() else f"\\{one_line}"
    return one_line


def chart_text(text: object) -> str:
    """Escape what Plotly would act on in names, ticks and hover text: its HTML, ``%{...}`` and formulas."""
    escaped = html.escape(shown(text), quote=False)
    # a text that begins and ends with a dollar sign is a formula; %{ begins a value of the template
    return escaped.replace("$", f"${_JOINER}").replace("%{", f"%{_JOINER}{{")


def percent(share: float, decimals: int = 0) -> str:
    """A share of 1 as the pages write it: 81 %."""
    return f"{100 * share:.{decimals}f} %"
