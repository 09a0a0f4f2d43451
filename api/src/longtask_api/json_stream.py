"""Tells of bytes that pass by whether they are JSON and whether they are text, and keeps none.

A result may have many megabytes: parsed it would take many times that, and sign by sign Python
would take minutes. So each piece is made small first, as Crockford once checked JSON by regular
expressions: a string becomes one sign, and so does a number, and a list of such, and what holds
such lists. What is left is as long as the brackets that open or close in it, and is read.
"""

import codecs
import re
from typing import Final

# Control characters are no part of JSON, so these can be nothing else.
_STRING, _SCALAR, _PAIR = b"\x01\x02\x03"
_PLACES: Final = b"\x01\x02\x03[]{}:,"

_INSIDE_SOURCE: Final = rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*'
#: The inside of a string, up to its end or to half an escape.
_INSIDE: Final = re.compile(_INSIDE_SOURCE)
_LONGEST_ESCAPE: Final = len(rb"\u0000")
_WHOLE_STRING: Final = re.compile(b'"' + _INSIDE_SOURCE + b'"')
#: All up to a string that does not end.
_WHOLE: Final = re.compile(rb'(?:[^"]*"' + _INSIDE_SOURCE + rb'")*[^"]*')
#: What a word is made of, that the next piece may go on with.
_WORD: Final = b"-+.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_WHOLE_SCALAR: Final = re.compile(
    rb"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
)
#: What becomes a smaller thing, wherever it stands.
_REDUCTIONS: Final = (
    (re.compile(rb"\x01:[\x01\x02]"), bytes([_PAIR])),
    (re.compile(rb"\[(?:[\x01\x02](?:,[\x01\x02])*)?\]|\{(?:\x03(?:,\x03)*)?\}"), bytes([_SCALAR])),
    # Neighbours that nothing else can belong to.
    (re.compile(rb"(?<=[\[,])[\x01\x02](?:,[\x01\x02])+(?=[\],])"), bytes([_SCALAR])),
    (re.compile(rb"(?<=[{,])\x03(?:,\x03)+(?=[},])"), bytes([_PAIR])),
)
#: So often it is made smaller: what is nested more deeply still is read sign by sign.
_ROUNDS: Final = 20
#: What has a longer number or is nested deeper is taken for text: no reader would get through.
_MOST: Final = 1024 * 1024

_CLOSING: Final = {ord("["): ord("]"), ord("{"): ord("}")}
_COMMA, _COLON = b",:"

# What may come next.
_VALUE, _FIRST_ITEM, _FIRST_KEY, _KEY, _COLON_NEXT, _MORE, _NOTHING = range(7)


class Watcher:
    """Is shown a stream piece by piece; at the end it knows."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._may_be_text = self._may_be_json = True
        self._next = _VALUE
        self._open = bytearray()  #: what will close the brackets that are open
        self._in_string = False
        self._rest = b""  #: the end of the last piece, where it may be half of something

    def see(self, piece: bytes) -> None:
        """Look at the next piece."""
        self._decode(piece)
        self._may_be_json = self._may_be_json and self._read(self._rest + piece)

    def is_text(self) -> bool:
        """Return whether all that was seen, and nothing comes after it, is UTF-8."""
        self._decode(b"", final=True)
        return self._may_be_text

    def is_json(self) -> bool:
        """Return whether all that was seen, and nothing comes after it, is one JSON value."""
        if not self.is_text():
            return False
        # A blank ends the last word.
        whole = self._may_be_json and self._read(self._rest + b" ") and not self._in_string
        return whole and self._next == _NOTHING

    def _decode(self, piece: bytes, *, final: bool = False) -> None:
        try:
            self._utf8.decode(piece, final)
        except UnicodeDecodeError:
            self._may_be_text = self._may_be_json = False

    def _read(self, data: bytes) -> bool:
        """Go through the data as far as it is whole; tell whether it may be JSON."""
        start = 0
        if self._in_string:
            start = _end(_INSIDE, data, 0)
            if _goes_on(data, start):
                self._rest = data[start:]
                return True
            if data[start] != ord('"'):
                return False
            self._in_string = False
            start += 1
        end = _end(_WHOLE, data, start)
        if end < len(data):
            self._in_string = True
            inside = _end(_INSIDE, data, end + 1)
            if not _goes_on(data, inside):
                return False
            whole, self._rest = data[start:end], data[inside:]
        else:
            # Stripped, not searched for: a search begins at each sign of a long word anew.
            word_at = max(start, len(data.rstrip(_WORD)))
            whole, self._rest = data[start:word_at], data[word_at:]
        signs = _signs(whole)
        if signs is None or not all(map(self._take, signs)):
            return False
        if self._in_string and not self._take(_STRING):
            return False
        return len(self._rest) + len(self._open) <= _MOST

    def _take(self, sign: int) -> bool:
        """Take one sign; tell whether it may stand there."""
        is_value = self._next in (_VALUE, _FIRST_ITEM)
        is_key = self._next in (_KEY, _FIRST_KEY)
        if is_value and sign in (_STRING, _SCALAR):
            self._end_value()
        elif is_key and sign == _STRING:
            self._next = _COLON_NEXT
        elif is_key and sign == _PAIR:
            self._next = _MORE
        elif is_value and sign in _CLOSING:
            self._open.append(_CLOSING[sign])
            self._next = _FIRST_ITEM if sign == ord("[") else _FIRST_KEY
        elif self._open[-1:] == bytes([sign]) and self._next in (_MORE, _FIRST_ITEM, _FIRST_KEY):
            self._open.pop()
            self._end_value()
        elif sign == _COMMA and self._next == _MORE:
            self._next = _VALUE if self._open[-1] == ord("]") else _KEY
        elif sign == _COLON and self._next == _COLON_NEXT:
            self._next = _VALUE
        else:
            return False
        return True

    def _end_value(self) -> None:
        self._next = _MORE if self._open else _NOTHING


def _signs(whole: bytes) -> bytes | None:
    """Return what the data comes to, its words and strings being whole; None if it is no JSON."""
    if any(sign in whole for sign in (_STRING, _SCALAR, _PAIR)):
        return None
    signs = _WHOLE_STRING.sub(bytes([_STRING]), whole)
    signs = _WHOLE_SCALAR.sub(bytes([_SCALAR]), signs)
    signs = signs.translate(None, b" \t\n\r")
    if signs.translate(None, _PLACES):
        return None
    for _ in range(_ROUNDS):
        before = len(signs)
        for pattern, smaller in _REDUCTIONS:
            signs = pattern.sub(smaller, signs)
        if len(signs) == before:
            break
    return signs


def _goes_on(data: bytes, at: int) -> bool:
    """Tell whether what stands inside a string may go on after the data."""
    return at == len(data) or (data[at] == ord("\\") and len(data) - at < _LONGEST_ESCAPE)


def _end(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Return where what fits ends; here if nothing does."""
    found = pattern.match(data, at)
    return found.end() if found else at
