from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from browser_support import Stage, staged
from dashboard_support import StampedLogs, a_wide_pipeline, fill


@pytest.fixture
def kubernetes() -> StampedLogs:
    """Return a busy installation's."""
    made = StampedLogs()
    fill(made, datetime.now(UTC))
    a_wide_pipeline(made, datetime.now(UTC))
    return made


@pytest.fixture
async def stage(kubernetes: StampedLogs, tmp_path: Path) -> AsyncIterator[Stage]:
    """Serve it, and start a browser."""
    async with staged(kubernetes, tmp_path) as made:
        yield made
