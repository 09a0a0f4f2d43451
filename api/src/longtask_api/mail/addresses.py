"""Which texts are addresses that a mail can be sent to, and whom it may be sent to."""

import dataclasses
import re
from collections.abc import Iterable
from typing import Final, Self

#: As browsers have it. No quotes, no brackets, no list, nothing that another header could begin in.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(
    rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*", re.ASCII
)
_LONGEST: Final = 254
#: In a list of domains: all of them.
_ANY: Final = "*"


def is_address(text: str) -> bool:
    """Tell whether a mail can be sent there."""
    return len(text) <= _LONGEST and _ADDRESS.fullmatch(text) is not None


def normal(address: str) -> str:
    """Return the address as it is compared: no host minds capitals, and hardly a mailbox does."""
    return address.casefold()


@dataclasses.dataclass(frozen=True)
class Guard:
    """Whom the installation sends mails to though they have no account: it is nobody's relay."""

    domains: frozenset[str]
    recipients: frozenset[str]

    @classmethod
    def of(cls, *, domains: Iterable[str], recipients: Iterable[str]) -> Self:
        """Return the guard that lets these domains and addresses pass; `*` is every domain."""
        return cls(
            frozenset(domain.casefold().lstrip("@") for domain in domains),
            frozenset(map(normal, recipients)),
        )

    def allows(self, address: str) -> bool:
        """Tell whether anybody may have this address mailed."""
        domain = normal(address).rpartition("@")[2]
        return _ANY in self.domains or domain in self.domains or normal(address) in self.recipients
