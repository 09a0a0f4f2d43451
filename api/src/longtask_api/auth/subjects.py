"""What stands in labels for people whom others know: no label can hold their names."""

import hashlib
import json

from longtask_crds import names

#: No user of LongTask's own is called so.
KUBERNETES_PREFIX = "k8s-"
OIDC_PREFIX = "oidc-"


def of_kubernetes(username: str) -> str:
    """Return the subject of a user of Kubernetes."""
    return KUBERNETES_PREFIX + _letters(username)


def of_oidc(issuer: str, sub: str) -> str:
    """Return the subject of whom an issuer calls so: another's may be called so too."""
    return OIDC_PREFIX + _letters(json.dumps([issuer, sub]))


def _letters(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return names.letters(digest)[:16]
