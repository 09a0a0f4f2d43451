"""What a CustomResourceDefinition says beyond the fields: names, columns, rules."""

import dataclasses
from typing import Any

from pydantic import BaseModel

from longtask_crds import acceptance, names


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; wide ones appear with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as the CRD wants it."""
        out: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return out | ({"priority": 1} if self.wide else {})


@dataclasses.dataclass(frozen=True)
class Rule:
    """A CEL rule and the sentence that a user reads when it fails."""

    rule: str
    message: str
    field: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the CRD wants it."""
        out = {"rule": self.rule, "message": self.message}
        return out | ({"fieldPath": self.field} if self.field else {})


@dataclasses.dataclass(frozen=True)
class CrdFacts:
    """All of one kind that its model does not say."""

    kind: str
    plural: str
    short: str
    model: type[BaseModel]
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[Column, ...]
    root_rules: tuple[Rule, ...] = ()
    spec_rules: tuple[Rule, ...] = ()
    status_rules: tuple[Rule, ...] = ()
    #: Rules by the path of a part of the spec; `[]` goes into a list's items, "" is all of it.
    inner_rules: tuple[tuple[str, tuple[Rule, ...]], ...] = ()
    selectable: tuple[str, ...] = ()
    default_status: dict[str, Any] | None = None


def name_rules(most: int) -> tuple[Rule, ...]:
    """Return what a resource's name must be, of at most so many characters."""
    return (
        Rule(
            f"size(self.metadata.name) <= {most}",
            f"metadata.name: at most {most} characters, so that the names of Jobs still fit",
        ),
        Rule(
            f"self.metadata.name.matches('{names.DNS_LABEL_PATTERN}')",
            "metadata.name: only lower-case letters, digits and '-', as in a DNS label",
        ),
    )


def static_rules(*rules: acceptance.Rule) -> tuple[Rule, ...]:
    """Return rules that a spec can break by itself, as a definition has them."""
    return tuple(
        Rule(
            _for_keys(rule) if rule.for_keys else rule.cel,
            rule.message,
            # A name with a dash is no path that every version reads; the message names it too.
            f".{rule.field}" if rule.field and "-" not in rule.field else None,
        )
        for rule in rules
    )


def _for_keys(rule: acceptance.Rule) -> str:
    if rule.field is None:
        return f"self.all(name, {rule.cel})"
    return f"!has(self.{rule.field}) || self.{rule.field}.all(name, {rule.cel})"


def rules_at(
    place: str, rules: tuple[tuple[str, tuple[acceptance.Rule, ...]], ...]
) -> tuple[tuple[str, tuple[Rule, ...]], ...]:
    """Return the rules of parts of a spec that stands at a place in another."""
    return tuple(
        (".".join(filter(None, (place, part))), static_rules(*of_part)) for part, of_part in rules
    )
