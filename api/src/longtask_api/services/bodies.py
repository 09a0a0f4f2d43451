"""From the JSON of a request's body to what it says."""

import json
from typing import Any, TypeVar

from pydantic import ValidationError

from longtask_api import errors
from longtask_crds import v1alpha1

M = TypeVar("M", bound=v1alpha1.Model)


def read(model: type[M], document: Any) -> M:
    """Return what the JSON document is, and nothing besides.

    Raises:
        Invalid: It is none of these; each wrong field is named.
    """
    try:
        # From JSON, for a time is a text there; and strictly, for `"50"` is no number.
        return model.model_validate_json(
            json.dumps(document), strict=True, extra="forbid", by_alias=True, by_name=False
        )
    except ValidationError as error:
        raise errors.Invalid(errors=errors.findings(error)) from error
