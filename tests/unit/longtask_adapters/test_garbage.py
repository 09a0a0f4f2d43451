import gc
from collections.abc import Iterator

import pytest

from longtask_adapters import garbage


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_is_there_is_never_looked_at_again_and_the_rest_less_often() -> None:
    before = gc.get_threshold()
    there: list[object] = []
    there.append(there)
    garbage.keep_what_is_there()
    garbage.look_rarely()
    assert not any(one is there for one in gc.get_objects())
    assert all(now > then for now, then in zip(gc.get_threshold(), before, strict=True))
