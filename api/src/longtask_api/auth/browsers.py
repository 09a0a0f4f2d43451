"""What browsers do by themselves, and how it is told from what somebody meant.

A browser sends its cookies with every request, whichever page has it ask. So with a cookie nothing
is changed unless a page of ours asks for it, which the browser says in `Origin`. And it takes
whatever a name leads to for the page of that name, so only names are answered to that are known.
"""

import dataclasses
from typing import Final
from urllib.parse import urlsplit

#: With this prefix browsers take it over https alone, for this host alone and for all its paths.
_GUARDED: Final = "__Host-"
_COOKIE: Final = "longtask"
_PORTS: Final = {"http": 80, "https": 443}


@dataclasses.dataclass(frozen=True)
class Browsers:
    """What the installation says of browsers."""

    is_plain: bool = False  #: they come by http, where no cookie can be guarded
    public_url: str = ""  #: where users reach the API
    hosts: frozenset[str] = frozenset()  #: other names by which they may; without any, all
    origins: frozenset[str] = frozenset()  #: whose pages may call the API as well, without a cookie

    @property
    def cookie(self) -> str:
        """Return the name of the cookie that a session is in."""
        return _COOKIE if self.is_plain else _GUARDED + _COOKIE

    def is_ours(self, origin: str | None, host: str) -> bool:
        """Tell whether it is a page of ours that has a browser ask for something.

        Args:
            origin: What the browser says of the page; one that it does not name is none of ours.
            host: By which name it asks. A proxy that ends TLS changes the scheme, and not this.
        """
        parts = urlsplit(origin or "")
        if parts.scheme not in _PORTS or not parts.hostname:
            return False
        own = urlsplit(self.public_url)
        return parts.netloc.lower() in _spellings(host.lower(), parts.scheme) or (
            (parts.scheme, parts.netloc.lower()) == (own.scheme, own.netloc.lower())
        )

    def answers_to(self, host: str) -> bool:
        """Tell whether this is a name by which the API may be reached."""
        if not self.hosts:
            return True
        name = urlsplit(f"//{host}").hostname
        return name in self.hosts or name == urlsplit(self.public_url).hostname


def _spellings(host: str, scheme: str) -> set[str]:
    """Return what an origin at that host may look like: browsers leave the usual port out."""
    port = f":{_PORTS[scheme]}"
    return {host, host.removesuffix(port)}
