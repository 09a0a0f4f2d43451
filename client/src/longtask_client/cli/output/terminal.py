"""Data on standard output, talk on standard error."""

import codecs
import sys
import unicodedata
from collections.abc import Iterable


def show(text: str, *, end: str = "\n") -> None:
    """Print data: as it is, but a terminal would obey what steers it, so there that is left out."""
    print(visible(text) if sys.stdout.isatty() else text, end=end, flush=True)


def pour(pieces: Iterable[bytes]) -> None:
    """Print bytes as they come: exactly, but a terminal gets them as text, and a line's end."""
    if not sys.stdout.isatty():
        sys.stdout.flush()
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for piece in pieces:
        print(visible(decoder.decode(piece)), end="")
    print(visible(decoder.decode(b"", final=True)), flush=True)


def say(text: str) -> None:
    """Tell the user something that is no data."""
    print(plain(text), file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """Return the text in one line, without what could steer a terminal: tasks' authors wrote it."""
    return "".join(
        "�" if unicodedata.category(c) in {"Cc", "Cf"} else c for c in " ".join(text.split())
    )


def visible(text: str) -> str:
    """Return data as a terminal may show it: lines, tabs and returns, but no control sequences."""
    keep = "\n\r\t"
    return "".join(c if c in keep or unicodedata.category(c) != "Cc" else "�" for c in text)
