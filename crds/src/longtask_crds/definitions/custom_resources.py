"""From the facts of a kind to its CustomResourceDefinition."""

from typing import Any

from longtask_crds import names
from longtask_crds.definitions import (
    facts,
    longtask,
    longtaskqueue,
    longtaskschedule,
    longtasktype,
    schema,
)

ALL = (longtask.FACTS, longtasktype.FACTS, longtaskqueue.FACTS, longtaskschedule.FACTS)


def custom_resource_definition(of: facts.CrdFacts) -> dict[str, Any]:
    """Return the CustomResourceDefinition of one kind."""
    spec = schema.structural_schema(of.spec)
    status = schema.structural_schema(of.status)
    for path, rules in of.inner_rules:
        _add_rules(_at(spec, path), rules)
    _add_rules(spec, of.spec_rules)
    _add_rules(status, of.status_rules)
    conditions = status["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    if of.default_status:
        status["default"] = of.default_status
    root = {
        "type": "object",
        "description": of.model.__doc__,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of this schema."},
            "kind": {"type": "string", "description": "The kind of this resource."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    _add_rules(root, of.root_rules)
    version: dict[str, Any] = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [c.to_json() for c in of.columns],
    }
    if of.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in of.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{of.plural}.{names.GROUP}",
            "labels": {"app.kubernetes.io/part-of": "longtask"},
        },
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": of.kind,
                "listKind": f"{of.kind}List",
                "plural": of.plural,
                "singular": of.kind.lower(),
                "shortNames": [of.short],
                # Not the plural: `kubectl delete longtasks --all` would take queues as well.
                "categories": ["longtask-all"],
            },
            "versions": [version],
        },
    }


def _at(node: dict[str, Any], path: str) -> dict[str, Any]:
    for part in path.split(".") if path else ():
        node = node["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            node = node["items"]
    return node


def _add_rules(node: dict[str, Any], rules: tuple[facts.Rule, ...]) -> None:
    if rules:
        node.setdefault("x-kubernetes-validations", []).extend(rule.to_json() for rule in rules)
