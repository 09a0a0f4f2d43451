"""Takes one part out of JSON that passes by piece by piece, and keeps nothing else of it.

A result may have many megabytes, and what a step takes of it is small. Of keys that stand twice in
an object the first counts.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import ijson

#: So much is read at once: a piece of ones and commas becomes many events.
_AT_ONCE: Final = 32 * 1024
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")
_BEGINS: Final = {"start_map": b"{", "start_array": b"["}
_ENDS: Final = {"end_map": b"}", "end_array": b"]"}
_WORDS: Final = {True: b"true", False: b"false", None: b"null"}


class NoPart(Exception):
    """There is nothing at that place; its words are for people."""


class TooLarge(Exception):
    """The part is larger than what is wanted."""


class Extractor:
    """Is shown JSON in pieces; has its part as compact JSON in the end."""

    def __init__(self, path: Sequence[str], *, limit: int) -> None:
        """Look for a part.

        Args:
            path: Keys and indexes into the JSON value, from the outside in.
            limit: How many bytes the part may have.
        """
        self.part = b""  #: once it is done
        self.is_done = False
        self._path = list(path)
        self._limit = limit
        self._events: Any = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events)
        self._level = 0  #: so many keys of the path are found
        self._index = -1  #: in the list that is gone through: of the item before
        self._wanted = -1  #: the item that is looked for in it
        self._is_list = False  #: what is gone through is one
        self._is_next = True  #: what comes next is at the place that is looked for
        self._skipped = 0  #: so many brackets are open in what is passed over
        self._taken: bytearray | None = None
        self._open = 0  #: so many brackets are open in what is taken
        self._needs_comma = False

    def see(self, piece: bytes) -> None:
        """Look at the next piece.

        Raises:
            NoPart: It cannot come any more.
            TooLarge: It is too large.
        """
        for start in range(0, len(piece), _AT_ONCE):
            if self.is_done:
                return
            self._read(piece[start : start + _AT_ONCE])

    def close(self) -> None:
        """Take note that nothing comes any more: a number ends there.

        Raises:
            NoPart: It did not come.
        """
        if not self.is_done:
            self._read(b"")
        if not self.is_done:
            raise NoPart("the JSON ends before it")

    def _read(self, data: bytes) -> None:
        try:
            self._parser.send(data)
        except StopIteration:
            pass  # the end was told
        except (ijson.JSONError, SystemError) as error:
            # The second is what comes of a number of thousands of digits.
            raise NoPart("it cannot be read as JSON") from error
        for event, value in self._events:
            if self._skipped:  # most of all that passes by
                self._skipped += (event in _BEGINS) - (event in _ENDS)
            elif not self.is_done:
                self._take(event, value)
        del self._events[:]

    def _take(self, event: str, value: Any) -> None:
        if self._taken is not None:
            self._copy(self._taken, event, value)
        elif event in _ENDS:
            key = self._path[self._level]
            has = f"the list has {self._index + 1} items"
            raise NoPart(has if self._is_list else f"there is no {key}")
        elif event == "map_key":
            self._is_next = value == self._path[self._level]
            self._level += self._is_next
        else:
            self._pass(event, value)

    def _pass(self, event: str, value: Any) -> None:
        """Look at a value on the way."""
        if self._is_list:
            self._index += 1
            self._is_next = self._index == self._wanted
            self._level += self._is_next
        if not self._is_next:
            self._skipped = int(event in _BEGINS)
        elif self._level == len(self._path):
            self._taken = bytearray()
            self._copy(self._taken, event, value)
        else:
            self._enter(event)

    def _enter(self, event: str) -> None:
        """Go into what the next key of the path speaks of."""
        key = self._path[self._level]
        self._is_list = event == "start_array"
        if event not in _BEGINS or (self._is_list and not _INDEX.fullmatch(key)):
            raise NoPart(f"there is no {key}")
        self._wanted = int(key) if self._is_list else -1
        self._index, self._is_next = -1, False

    def _copy(self, taken: bytearray, event: str, value: Any) -> None:
        if event in _ENDS:
            taken += _ENDS[event]
            self._open -= 1
        else:
            if self._needs_comma:
                taken += b","
            if event == "map_key":
                taken += _text(value) + b":"
            elif event in _BEGINS:
                taken += _BEGINS[event]
                self._open += 1
            elif event == "string":
                taken += _text(value)
            else:
                taken += str(value).encode() if event == "number" else _WORDS[value]
        self._needs_comma = event not in _BEGINS and event != "map_key"
        if len(taken) > self._limit:
            raise TooLarge
        if not self._open:
            self.part, self.is_done = bytes(taken), True


def _text(value: str) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
