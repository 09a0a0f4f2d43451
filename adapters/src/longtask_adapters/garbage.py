"""How often Python looks for what refers to itself in a circle."""

import gc
from typing import Final

#: After so many objects more than went it looks at the youngest, and after each so many of these
#: looks at the next older ones. Python's own numbers are 700, 10 and 10: a request or a pass makes
#: thousands of objects, nearly all of which go by themselves when it is over.
_THRESHOLDS: Final = (20_000, 20, 20)


def look_rarely() -> None:
    """Look at what a server makes less often, and at what is there by now never again.

    What was imported and made by now stays; to look at all of it takes a tenth of a second, in
    which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
