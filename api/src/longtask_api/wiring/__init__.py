"""Everything behind the endpoints: made once, started, and ended in the right order."""

from longtask_api.wiring.making import running
from longtask_api.wiring.services import Services

__all__ = ["Services", "running"]
