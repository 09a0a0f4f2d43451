"""What keeps a task from ever running: refused at the door, and again for what came by `kubectl`.

Two sorts of rules. Those that a spec breaks by itself stand once (`rules`), in CEL for the API
server and in Python for the API: `make generate` writes the one into the definitions, `breaches`
asks the other, and one corpus of specs tests both. Those that need the type or the installation are
asked by the API at the door and by the operator again (`admission`). What a field's own schema says
stands with the field. Needs the extra `rules` (jsonschema-rs).
"""

from longtask_crds.acceptance.admission import MOST_AHEAD, Violation, types_of, unusable, violations
from longtask_crds.acceptance.rules import MAX_FINDINGS, TASK, TYPE, Breach, Rule, breaches

__all__ = [
    "MAX_FINDINGS",
    "MOST_AHEAD",
    "TASK",
    "TYPE",
    "Breach",
    "Rule",
    "Violation",
    "breaches",
    "types_of",
    "unusable",
    "violations",
]
