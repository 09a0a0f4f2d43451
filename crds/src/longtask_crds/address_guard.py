"""Which addresses and URLs LongTask may connect to on behalf of a user: pure rules, no IO.

`ipaddress.is_global` is no check: it calls NAT64 and 6to4 forms of private addresses global. So the
table stands here. One `Guard` serves three doors: the API checks URLs when they are given, the
operator and `http-fetch` check URLs again and then each address that is really dialled, which
covers literals, DNS answers and rebinding alike.

    target = guard.check_url(url)  # raises Refused
    guard.check_sockaddr(sockaddr, host=target.host)  # at the socket; raises Refused

Always dial `target.url`: its host is the one that was judged. Standard library only.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import re
from collections.abc import Iterable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = frozenset({443, 8443})
URL_LIMIT = 2048


class Refusal(enum.StrEnum):
    """Why an address or a URL is refused. Part of the API: never renamed."""

    INVALID_URL = "InvalidUrl"
    SCHEME_NOT_ALLOWED = "SchemeNotAllowed"  #: not https, and the host is not on the allow list
    PORT_NOT_ALLOWED = "PortNotAllowed"
    USERINFO_NOT_ALLOWED = "UserinfoNotAllowed"
    FRAGMENT_NOT_ALLOWED = "FragmentNotAllowed"
    INVALID_HOST = "InvalidHost"  #: neither a DNS name nor a plain IP address
    AMBIGUOUS_HOST = "AmbiguousHost"  #: a character in it means another host to another program
    HOST_NOT_ALLOWED = "HostNotAllowed"  #: a name of the cluster's or a private network's
    INVALID_ADDRESS = "InvalidAddress"
    SCOPED_ADDRESS = "ScopedAddress"  #: IPv6 with a zone: it names an interface
    ADDRESS_NOT_PUBLIC = "AddressNotPublic"
    ADDRESS_DENIED = "AddressDenied"  #: on the administrator's deny list


_TEXT = {
    Refusal.INVALID_URL: "it is not a complete URL of plain ASCII (percent-encode the rest)",
    Refusal.SCHEME_NOT_ALLOWED: "its scheme is not https",
    Refusal.PORT_NOT_ALLOWED: "its port is not allowed",
    Refusal.USERINFO_NOT_ALLOWED: "it carries a user name or password",
    Refusal.FRAGMENT_NOT_ALLOWED: "it has a fragment",
    Refusal.INVALID_HOST: "its host is neither a DNS name nor a plain IP address",
    Refusal.AMBIGUOUS_HOST: (
        "its host is read differently by programs (sharp s, final sigma or an invisible joiner):"
        " write it in its xn-- form"
    ),
    Refusal.HOST_NOT_ALLOWED: "its host belongs to a private network",
    Refusal.INVALID_ADDRESS: "it does not lead to an IP address",
    Refusal.SCOPED_ADDRESS: "it leads to an address with a zone",
    Refusal.ADDRESS_NOT_PUBLIC: "it leads to an address that is not public",
    Refusal.ADDRESS_DENIED: "it leads to an address that the administrator denies",
}


class Refused(Exception):
    """An address or URL that may not be called; `reason` says why, and no DNS answer is told."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(_TEXT[reason])
        self.reason = reason


def _networks(text: str) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(entry) for entry in text.split())


_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_REFUSED = _networks(
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24"
    " 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24"
    " 224.0.0.0/3"
    " 168.63.129.16/32"  # public by number, yet a cloud's metadata service
)
_IPV6_GLOBAL = ipaddress.IPv6Network("2000::/3")
# Teredo and its neighbours, documentation, 6to4, documentation.
_IPV6_REFUSED = _networks("2001::/23 2001:db8::/32 2002::/16 3fff::/20")

_REFUSED_SUFFIXES = ("localhost", "svc", "cluster.local", "internal", "local")


def unwrap(address: IPAddress) -> IPAddress:
    """Return the IPv4 address inside a mapped or NAT64 one; any other as it is."""
    if isinstance(address, ipaddress.IPv6Address) and (address in _MAPPED or address in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: IPAddress) -> bool:
    """Return whether an unwrapped address is on the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _IPV4_REFUSED)
    return address in _IPV6_GLOBAL and not any(address in network for network in _IPV6_REFUSED)


@dataclasses.dataclass(frozen=True)
class Target:
    """A URL in its checked form: this is what may be dialled."""

    scheme: str
    host: str  #: lower case, ASCII; an IPv6 address without brackets
    port: int
    path: str  #: with the query; at least `/`

    @property
    def authority(self) -> str:
        """Return the host and, where it is not the scheme's own, the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclasses.dataclass(frozen=True)
class Allowance:
    """One entry of an allow list: a network or a host, on one port or on all."""

    network: IPNetwork | None
    host: str | None
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> Allowance:
        """Read `CIDR`, `CIDR:port`, `host` or `host:port`; IPv6 with a port stands in brackets."""
        entry = entry.strip()
        name, port = _split_entry(entry)
        try:
            return cls(network=ipaddress.ip_network(name), host=None, port=port)
        except ValueError:
            if "/" in name:
                raise ValueError(f"not a network: {entry!r} (host bits set?)") from None
        try:
            return cls(network=None, host=_normal_host(name), port=port)
        except Refused as refused:
            raise ValueError(f"neither a network nor a host: {entry!r}") from refused

    def covers_address(self, address: IPAddress, port: int) -> bool:
        """Return whether this entry allows the unwrapped address on that port."""
        return self.network is not None and address in self.network and self._covers_port(port)

    def covers_host(self, host: str, port: int) -> bool:
        """Return whether this entry allows the host, in its normal form, on that port."""
        return self.host == host and self._covers_port(port)

    def _covers_port(self, port: int) -> bool:
        return self.port is None or self.port == port


@dataclasses.dataclass(frozen=True)
class Guard:
    """The rules with an administrator's lists; the allow list wins over everything else."""

    allow: tuple[Allowance, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    ports: frozenset[int] = DEFAULT_PORTS

    @classmethod
    def from_lists(
        cls, *, allow: Iterable[str] = (), deny: Iterable[str] = (), ports: Iterable[int] = ()
    ) -> Guard:
        """Build a guard from settings; `deny` holds networks, `ports` is added to the default.

        Raises:
            ValueError: An entry cannot be read.
        """
        return cls(
            allow=tuple(Allowance.parse(entry) for entry in allow),
            deny=tuple(ipaddress.ip_network(entry.strip()) for entry in deny),
            ports=DEFAULT_PORTS | frozenset(ports),
        )

    def check_url(self, url: str) -> Target:
        """Return what the URL means, or refuse it; names are not resolved here.

        Raises:
            Refused: The URL may not be called, whatever its host resolves to.
        """
        scheme, raw_host, raw_port, path = _split_url(url)
        if scheme not in ("https", "http"):
            raise Refused(Refusal.SCHEME_NOT_ALLOWED)
        host = _normal_host(raw_host)
        port = _port(raw_port) if raw_port is not None else {"https": 443, "http": 80}[scheme]
        target = Target(scheme=scheme, host=host, port=port, path=path)
        literal = _literal(host)
        if self._allows(literal, port, host=host):
            return target
        if scheme != "https":
            raise Refused(Refusal.SCHEME_NOT_ALLOWED)
        if port not in self.ports:
            raise Refused(Refusal.PORT_NOT_ALLOWED)
        if literal is not None:
            self.check_address(host, port)
        elif "." not in host or host.endswith(tuple("." + end for end in _REFUSED_SUFFIXES)):
            raise Refused(Refusal.HOST_NOT_ALLOWED)
        return target

    def check_address(self, address: str, port: int, *, host: str | None = None) -> None:
        """Refuse an address that may not be dialled on behalf of a user.

        Args:
            address: The numeric address that will be dialled.
            port: The port that will be dialled.
            host: The `Target.host` it was resolved from, so that allowed hosts count.

        Raises:
            Refused: It may not be dialled.
        """
        if "%" in address:
            raise Refused(Refusal.SCOPED_ADDRESS)
        try:
            real = unwrap(ipaddress.ip_address(address))
        except ValueError:
            raise Refused(Refusal.INVALID_ADDRESS) from None
        if self._allows(real, port, host=host):
            return
        if any(real in network for network in self.deny):
            raise Refused(Refusal.ADDRESS_DENIED)
        if not is_public(real):
            raise Refused(Refusal.ADDRESS_NOT_PUBLIC)

    def check_sockaddr(self, sockaddr: tuple[object, ...], *, host: str | None = None) -> None:
        """Refuse a socket address as `getaddrinfo` gives it, with its IPv6 scope.

        Raises:
            Refused: It may not be dialled.
        """
        address, port, *rest = sockaddr
        if len(rest) == 2 and rest[1] != 0:
            raise Refused(Refusal.SCOPED_ADDRESS)
        if not isinstance(address, str) or not isinstance(port, int):
            raise Refused(Refusal.INVALID_ADDRESS)
        self.check_address(address, port, host=host)

    def _allows(self, address: IPAddress | None, port: int, *, host: str | None) -> bool:
        return any(
            (address is not None and entry.covers_address(address, port))
            or (host is not None and entry.covers_host(host, port))
            for entry in self.allow
        )


_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<rest>.*)")
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>.*))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: Sharp s, final sigma, joiners: the IDNA of 2003, which Python has, writes others or none in their
#: place, that of 2008 keeps them. The two names may belong to two owners, so neither is guessed.
_DEVIATIONS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _split_url(url: str) -> tuple[str, str, str | None, str]:
    """Return scheme, host (IPv6 in brackets), port, path; stricter than urllib, as clients differ.

    Where parsers disagree (white space, backslashes, control characters) the URL is refused.
    """
    if "#" in url:
        raise Refused(Refusal.FRAGMENT_NOT_ALLOWED)
    match = _URL.fullmatch(url)
    if match is None or len(url) > URL_LIMIT or "\\" in url:
        raise Refused(Refusal.INVALID_URL)
    scheme, authority, rest = match["scheme"].lower(), match["authority"], match["rest"]
    # Outside of the host, only visible ASCII; inside it, IDNA has the last word.
    if any(not "!" <= character <= "~" for character in rest):
        raise Refused(Refusal.INVALID_URL)
    if "@" in authority:
        raise Refused(Refusal.USERINFO_NOT_ALLOWED)
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise Refused(Refusal.INVALID_HOST)
    host = parts["host"] if parts["ipv6"] is None else f"[{parts['ipv6']}]"
    return scheme, host, parts["port"], rest if rest.startswith("/") else f"/{rest}"


def _port(text: str) -> int:
    if re.fullmatch("[1-9][0-9]{0,4}", text) is None or int(text) > 65535:
        raise Refused(Refusal.PORT_NOT_ALLOWED)
    return int(text)


def _normal_host(host: str) -> str:
    """Return the host as it will be dialled: a canonical address or a lower-case ASCII name."""
    if host.startswith("["):
        return _ipv6(host.strip("[]"))
    if not _DEVIATIONS.isdisjoint(host):
        raise Refused(Refusal.AMBIGUOUS_HOST)
    try:
        # Maps upper case, full-width digits and the ideographic full stop as resolvers would.
        name = host.encode("idna").decode().lower()
    except UnicodeError:
        raise Refused(Refusal.INVALID_HOST) from None
    if _literal(name) is not None:
        return name
    labels = name.split(".")
    # A name that ends in a number is an address to some resolvers: 127.1, 0x7f000001, 017700000001.
    if _NUMERIC_LABEL.fullmatch(labels[-1]) or len(name) > 253:
        raise Refused(Refusal.INVALID_HOST)
    if any(_LABEL.fullmatch(label) is None for label in labels):
        raise Refused(Refusal.INVALID_HOST)
    return name


def _ipv6(text: str) -> str:
    if "%" in text:
        raise Refused(Refusal.SCOPED_ADDRESS)
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise Refused(Refusal.INVALID_HOST) from None


def _literal(host: str) -> IPAddress | None:
    """Return the unwrapped address that the normal host is, or None for a name."""
    try:
        return unwrap(ipaddress.ip_address(host))
    except ValueError:
        return None


def _split_entry(entry: str) -> tuple[str, int | None]:
    """Split an allow list's entry into what is before the port, and the port."""
    if entry.startswith("["):
        name, _, tail = entry[1:].partition("]")
        prefix, colon, port = tail.partition(":")
        name += prefix  # [fd00::]/8:80 and [fd00::/8]:80 mean the same
    elif entry.count(":") == 1:
        name, colon, port = entry.partition(":")
    else:
        return entry, None
    if not colon:
        return name, None
    try:
        return name, _port(port)
    except Refused as refused:
        raise ValueError(f"not a port: {entry!r}") from refused
