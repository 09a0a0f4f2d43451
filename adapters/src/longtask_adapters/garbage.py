"""How often Python looks for what refers to itself in a circle."""

import gc
from typing import Final

#: After so many objects more than went it looks at the youngest, and after each so many of these
#: looks at the next older ones. Python's own numbers are 700, 10 and 10.
_RARELY: Final = (20_000, 20, 20)


def keep_what_is_there() -> None:
    """Say that what was imported and made by now stays, and need not be looked at.

    To look at all of it takes a tenth of a second, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


def look_rarely() -> None:
    """Look less often at what is made from now on, most of which goes by itself.

    Not where others say how much is made: what refers to itself stays longer.
    """
    gc.set_threshold(*_RARELY)
