"""What `-o` takes, and data in that form."""

import dataclasses
import enum
import json
from typing import Any

from longtask_client.cli.given import inputs
from longtask_client.cli.output import jsonpath


class Kind(enum.StrEnum):
    """The forms that there are."""

    TABLE = "table"  #: for people
    WIDE = "wide"  #: the same, with more columns
    JSON = "json"
    YAML = "yaml"
    NAME = "name"  #: what other commands take
    JSONPATH = "jsonpath"


@dataclasses.dataclass(frozen=True)
class Form:
    """A form, and for jsonpath the template."""

    kind: Kind
    template: str = ""

    def __str__(self) -> str:
        return self.kind + (f"={self.template}" if self.template else "")

    @property
    def is_data(self) -> bool:
        """Tell whether it is for programs, and the same in every version."""
        return self.kind in (Kind.JSON, Kind.YAML, Kind.JSONPATH)

    @property
    def is_wide(self) -> bool:
        """Tell whether there is room."""
        return self.kind is Kind.WIDE

    def written(self, document: Any) -> str:
        """Return data in this form."""
        if self.kind is Kind.YAML:
            import yaml  # slow to import, and few ask for it

            return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip("\n")
        if self.kind is Kind.JSONPATH:
            return jsonpath.render(self.template, document)
        return json.dumps(document, ensure_ascii=False, indent=2)


TABLE = Form(Kind.TABLE)
NAME = Form(Kind.NAME)


def read(word: "str | Form") -> Form:
    """Return the form that a word names.

    Raises:
        BadWord: There is none.
    """
    if isinstance(word, Form):
        return word
    name, equals, template = word.partition("=")
    try:
        kind = Kind(name)
    except ValueError as error:
        raise inputs.BadWord(f"-o {word}: {EVERY}") from error
    if (kind is Kind.JSONPATH) != bool(equals and template):
        raise inputs.BadWord("-o jsonpath: write it as jsonpath='{.phase}'")
    if template:
        jsonpath.render(template, None)  # nobody is asked for what cannot be shown
    return Form(kind, template)


EVERY = "json, yaml, name, wide, table or jsonpath='{.phase}'"
