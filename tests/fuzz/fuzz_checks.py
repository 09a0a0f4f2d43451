"""Checks that schemathesis does not have: it loads them by SCHEMATHESIS_HOOKS."""

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import schemathesis

BATCH = "createTasks"


@schemathesis.check
def batch_refuses_each_wrong_order(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """A batch is answered 200 whatever is in it; what is wrong in it is refused at its place."""
    if case.operation.definition.raw.get("operationId") != BATCH or response.status_code != 200:
        return
    orders = case.body.get("items") if isinstance(case.body, dict) else None
    assert isinstance(orders, list), f"this is no batch, and was taken: {case.body!r:.200}"
    answer = response.json()
    assert len(answer["items"]) == len(orders), "each order has its answer"
    taken = [item["status"] < 400 for item in answer["items"]]
    assert answer["accepted"] == sum(taken), "what was taken is counted"
    is_order = _order_of(case.operation.schema)
    for order, item in zip(orders, answer["items"], strict=True):
        assert item["status"] < 500, f"broke: {order!r:.200}"
        assert item["status"] >= 400 or is_order(order), f"wrong, and taken: {order!r:.200}"


def _order_of(schema: Any) -> Callable[[object], bool]:
    """Return what tells whether something is an order as the description has it."""
    raw: Mapping[str, Any] = schema.raw_schema
    described = {"$ref": "#/components/schemas/TaskOrder", "components": raw["components"]}
    return jsonschema.Draft202012Validator(described).is_valid
