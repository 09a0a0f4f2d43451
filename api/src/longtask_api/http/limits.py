"""How often somebody may ask: a rate, with bursts; then 429 with when to come again.

Each replica counts for itself, in memory: with two of them somebody may ask twice as often, and a
new start forgets. That is enough against loops that run wild and passwords that are tried out.
"""

import dataclasses
import ipaddress
import math
import time
from collections.abc import Callable
from typing import Final

from fastapi import Request

from longtask_api import errors

#: What is said in requests a second may come in one burst of so many seconds.
_BURST_SECONDS: Final = 10
#: From one address several people may log in.
_PEOPLE_AT_ONE_ADDRESS: Final = 4
#: No more codes than this in an hour: from one user to one mailbox, so that nobody uses up those of
#: whose it is; from one user, wherever to; and to one mailbox, whoever asks.
_CODES: Final = 6
_CODES_OF_USER: Final = 12
_CODES_OF_MAILBOX: Final = 24
#: A customer of a network is given at least so much of it.
_PREFIX_OF_V6: Final = 64
#: So many are counted before it is looked who may be forgotten.
_FEW: Final = 1_000


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Lets so many requests come at once; in so many seconds they have all run out of it."""

    name: str
    amount: int  #: 0: as many as one likes
    seconds: int = _BURST_SECONDS

    @classmethod
    def per_second(cls, name: str, amount: int) -> "Bucket":
        """Return the bucket for so many requests a second, which may come in bursts."""
        return cls(name, amount * _BURST_SECONDS)


@dataclasses.dataclass(frozen=True)
class Rates:
    """What the installation lets everybody do; 0 is no limit."""

    per_second: int = 0
    per_second_of_address: int = 0
    logins_per_minute: int = 0


class Limiter:
    """Counts what is asked for, and refuses what is too much."""

    def __init__(self, rates: Rates, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of_caller = Bucket.per_second("caller", rates.per_second)
        self._of_address = Bucket.per_second("address", rates.per_second_of_address)
        logins = rates.logins_per_minute
        self._codes = Bucket("code", _CODES, 3600)
        self._codes_of_user = Bucket("codes of user", _CODES_OF_USER, 3600)
        self._codes_of_mailbox = Bucket("codes of mailbox", _CODES_OF_MAILBOX, 3600)
        self._logins = Bucket("login", logins, 60)
        self._logins_of_address = Bucket("logins", logins * _PEOPLE_AT_ONE_ADDRESS, 60)
        # When each bucket will have run empty: all that has to be known of it, and nothing from
        # then on. So whoever comes once, from however many addresses, is soon forgotten.
        self._empty_at: dict[tuple[str, ...], float] = {}
        self._many = _FEW

    def take(self, bucket: Bucket, *whose: str) -> None:
        """Count one request; raise TooManyRequests if it is one too many."""
        if not bucket.amount:
            return
        now, key = self._clock(), (bucket.name, *whose)
        empty_at = max(now, self._empty_at.get(key, now)) + bucket.seconds / bucket.amount
        if (wait := empty_at - now - bucket.seconds) > 0:
            raise errors.TooManyRequests(
                f"{bucket.amount} requests in {bucket.seconds} seconds are taken.",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        self._empty_at[key] = empty_at
        if len(self._empty_at) > self._many:
            self._empty_at = {key: at for key, at in self._empty_at.items() if at > now}
            self._many = max(_FEW, 2 * len(self._empty_at))

    def take_of_address(self, address: str) -> None:
        """Count a request from there, whoever asks: before it costs anything to know who."""
        self.take(self._of_address, address)

    def take_of_caller(self, subject: str) -> None:
        """Count a request of somebody who is known."""
        self.take(self._of_caller, subject)

    def take_login(self, username: str, address: str) -> None:
        """Count somebody's try to log in.

        By user and address together: else whoever knows a name could lock its bearer out.
        """
        self.take(self._logins_of_address, address)
        self.take(self._logins, username, address)

    def take_code(self, subject: str, mailbox: str) -> None:
        """Count a code that somebody asks for, and that is to be mailed there.

        What is refused for the sake of others is last: what nobody gets is not counted there.
        """
        self.take(self._codes, subject, mailbox)
        self.take(self._codes_of_user, subject)
        self.take(self._codes_of_mailbox, mailbox)


def address_of(request: Request) -> str:
    """Return where the request is from, as requests are counted: of IPv6, the network.

    It is the address behind the trusted proxies: see `app.for_users`.
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    if address.ipv4_mapped is not None:
        # All of IPv4 is one network of these.
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _PREFIX_OF_V6), strict=False))
