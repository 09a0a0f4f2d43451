"""Start the operator: read the settings, wire the parts, let kopf run them."""

import contextlib
import sys
from collections.abc import AsyncIterator

import kopf
import uvloop

from longtask_adapters import garbage, logs
from longtask_crds import names
from longtask_operator import handlers, wiring
from longtask_operator.settings import Settings


def main() -> None:
    """Run until the process is told to stop."""
    settings = Settings()
    # kopf's one record for each event of each object says nothing that ours do not.
    logs.configure(settings.log_level, quiet=["kopf"])
    sys.setrecursionlimit(names.RECURSION_LIMIT)
    operator = wiring.Operator(settings)

    @contextlib.asynccontextmanager
    async def start(memo: handlers.Memo) -> AsyncIterator[None]:
        async with operator.running() as parts:
            memo.mirror = parts.mirror
            yield

    garbage.keep_what_is_there()
    garbage.look_rarely()
    # kopf's own `run` takes up no other loop than asyncio's.
    uvloop.run(
        kopf.operator(
            registry=handlers.registry,
            memo=handlers.Memo(start=start),
            standalone=True,
            namespaces=[settings.namespace],
        )
    )


if __name__ == "__main__":
    main()
