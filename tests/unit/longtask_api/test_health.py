from collections.abc import Sequence

import pytest

from longtask_adapters.kube import connection, kinds
from longtask_adapters.kube.informer import Informer
from longtask_adapters.testing import MemoryKubernetes
from longtask_api import errors
from longtask_api.services.health import Health
from longtask_crds import v1alpha1


class Watched(Informer[v1alpha1.LongTask]):
    """An informer in a state of the test's choice."""

    def __init__(self, *, synced: bool = True, failing: float = 0, silent: float = 0) -> None:
        asked = connection.Connection(MemoryKubernetes(), user_agent="test")
        super().__init__(asked, kinds.TASKS, "longtasks")
        self._failing, self._silent = failing, silent
        if synced:
            self.synced.set()

    def failing_for(self) -> float:
        return self._failing

    def silent_for(self) -> float:
        return self._silent


@pytest.mark.parametrize(
    ("informer", "ended", "illnesses", "obstacles"),
    [
        pytest.param(Watched(), [], [], [], id="all-is-well"),
        pytest.param(
            Watched(synced=False), [], [], ["longtasks are not read yet"], id="not-read-yet"
        ),
        pytest.param(Watched(failing=14), [], [], [], id="a-short-outage-is-nothing"),
        pytest.param(
            Watched(failing=16), [], [], ["Kubernetes tells nothing of longtasks"], id="an-outage"
        ),
        pytest.param(Watched(silent=179), [], [], [], id="two-bookmarks-may-be-late"),
        pytest.param(
            Watched(silent=181), [], [], ["Kubernetes tells nothing of longtasks"], id="deaf"
        ),
        pytest.param(
            Watched(), ["a loop"], ["a loop has ended"], ["a loop has ended"], id="a-dead-loop"
        ),
    ],
)
async def test_what_probes_are_told(
    informer: Watched, ended: Sequence[str], illnesses: list[str], obstacles: list[str]
) -> None:
    health = Health([informer], ended=lambda: ended)
    assert (health.illnesses(), health.obstacles()) == (illnesses, obstacles)


async def test_an_empty_cache_answers_nothing() -> None:
    Health([Watched()], ended=list).check_synced()
    with pytest.raises(errors.Unavailable):
        Health([Watched(), Watched(synced=False)], ended=list).check_synced()
