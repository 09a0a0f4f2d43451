"""The building blocks of all kinds: the base of the models, and the types of single fields."""

import contextlib
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from longtask_crds import names


class Model(BaseModel):
    """A part of a resource: frozen, camelCase outside, snake_case inside."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        # A newer API server may know fields that this version does not.
        extra="ignore",
    )

    def to_json(self) -> dict[str, Any]:
        """Return it as the API server stores it: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


#: RFC 3339, within the years that every program can convert to UTC. The API server's own
#: `date-time` takes the year 0 and a zone of 99 hours, and then nobody could read the resource.
_TIME_PATTERN = (
    r"^(19|2[0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST = datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC)


def _whole_seconds(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:  # pydantic would let it through, and all of a list would fail
        raise ValueError("it is too early or too late for UTC") from error


Time = Annotated[
    datetime,
    AfterValidator(_whole_seconds),
    PlainSerializer(lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _TIME_PATTERN}),
]
"""An instant in UTC with whole seconds, as Kubernetes writes it."""


def _with_its_zone(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        # Its zone may carry it out of the years that can be written.
        return min(max(value, _EARLIEST), _LATEST)
    if isinstance(value, str) and re.fullmatch(_TIME_PATTERN, value):
        # Where types are strict, pydantic would take a text behind a function for no time.
        with contextlib.suppress(ValueError):  # there is no such day
            return _with_its_zone(datetime.fromisoformat(value))
    message = "a time is written as in RFC 3339, for example 2026-01-02T03:04:05Z"
    raise PydanticCustomError("rfc_3339", message)


GivenTime = Annotated[
    Time,
    BeforeValidator(_with_its_zone),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "pattern": _TIME_PATTERN, "maxLength": 35}
    ),
]
"""An instant that somebody asks for, with its zone; fractions of a second are dropped."""

Json = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON value."""

TaskName = Annotated[
    str, StringConstraints(pattern=names.DNS_LABEL_PATTERN, max_length=names.TASK_NAME_MAX)
]
Label = Annotated[str, StringConstraints(pattern=names.DNS_LABEL_PATTERN, max_length=63)]
#: With the number of an item behind it, it is still a label's value.
StepName = Annotated[str, StringConstraints(pattern=names.DNS_LABEL_PATTERN, max_length=60)]
SecretName = Annotated[str, StringConstraints(pattern=names.DNS_SUBDOMAIN_PATTERN, max_length=253)]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]

EnvName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128),
]

Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
Message = Annotated[str, StringConstraints(max_length=names.MESSAGE_MAX)]
Brief = Annotated[str, StringConstraints(max_length=names.BRIEF_MAX)]
Word = Annotated[str, StringConstraints(max_length=128)]
Percent = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
Priority = Annotated[int, Field(ge=0, le=100)]
_HOST = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
_PATH = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
#: `[host[:port]/]path[:tag][@digest]`. A single word without a port is no host but a path, and
#: paths are lower case: any other reference is one that no kubelet pulls.
_IMAGE_PATTERN = (
    rf"^((localhost|{_HOST}(\.{_HOST})+|\[[0-9a-fA-F:]+\])(:[0-9]{{1,5}})?/|{_HOST}:[0-9]{{1,5}}/)?"
    rf"{_PATH}(/{_PATH})*"
    r"(:[a-zA-Z0-9_][-a-zA-Z0-9_.]{0,127})?"
    r"(@[a-z0-9]+([-+._][a-z0-9]+)*:[0-9a-fA-F]{32,128})?$"
)


def _told_in_words(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        # The pattern says it too, but nobody can read it.
        message = "an image is [host[:port]/]path[:tag][@digest], its path in lower case"
        raise PydanticCustomError("image_reference", message) from None


Image = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512, pattern=_IMAGE_PATTERN),
    WrapValidator(_told_in_words),
]
"""A reference to an image, as `docker pull` takes it."""

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"

Quantity = Annotated[
    str,
    # `cpu: 1` is a number in YAML, and everybody writes it so.
    BeforeValidator(lambda v: str(v) if isinstance(v, int | float) else v),
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=20),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 20,
            "minimum": 0,  # of a number: the pattern speaks of strings only
        }
    ),
]
"""An amount of a resource, such as `250m` or `64Mi`."""
