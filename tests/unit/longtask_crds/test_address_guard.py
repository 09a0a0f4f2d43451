"""The SSRF corpus: what may be dialled for a user, and what may not."""

import ipaddress

import pytest

from address_corpus import REFUSED_ADDRESSES
from longtask_crds import address_guard
from longtask_crds.address_guard import Guard, Refusal, Refused

GUARD = Guard()

PUBLIC_ADDRESSES = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
    "172.32.0.0", "192.0.1.1", "192.0.3.1", "192.167.255.255", "192.169.0.0", "198.17.255.255",
    "198.20.0.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "168.63.129.15",
    "2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111",
    "3ffe:ffff::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip


def reason_of(check, *arguments, **options) -> Refusal | None:
    try:
        check(*arguments, **options)
    except Refused as refused:
        return refused.reason
    return None


def reason_of_address(guard: Guard, address: str, host: str | None = None) -> Refusal | None:
    return reason_of(guard.check_address, address, 443, host=host)


def reason_of_url(guard: Guard, url: str) -> Refusal | None:
    return reason_of(guard.check_url, url)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert reason_of_address(GUARD, address) is Refusal.ADDRESS_NOT_PUBLIC


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_allowed(address: str) -> None:
    assert reason_of_address(GUARD, address) is None


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_a_refused_address_is_refused_as_a_url_too(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    assert reason_of_url(GUARD, f"https://{host}/hook") is Refusal.ADDRESS_NOT_PUBLIC


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        pytest.param("fe80::1%eth0", Refusal.SCOPED_ADDRESS, id="a-zone-names-an-interface"),
        pytest.param("2606:4700::1%1", Refusal.SCOPED_ADDRESS, id="even-on-a-public-address"),
        pytest.param("2130706433", Refusal.INVALID_ADDRESS, id="a-number-is-no-address"),
        pytest.param("0177.0.0.1", Refusal.INVALID_ADDRESS, id="nor-is-an-octal-one"),
        pytest.param("example.com", Refusal.INVALID_ADDRESS, id="nor-is-a-name"),
        pytest.param("", Refusal.INVALID_ADDRESS, id="nor-is-nothing"),
    ],
)
def test_what_is_no_plain_address_is_refused(address: str, reason: Refusal) -> None:
    assert reason_of_address(GUARD, address) is reason


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        # Other ways to write 127.0.0.1 and its like, which some resolvers take.
        pytest.param("https://2130706433/", Refusal.INVALID_HOST, id="decimal"),
        pytest.param("https://0x7f000001/", Refusal.INVALID_HOST, id="hexadecimal"),
        pytest.param("https://0x7f.0.0.1/", Refusal.INVALID_HOST, id="hexadecimal-first-byte"),
        pytest.param("https://127.0.0.0x1/", Refusal.INVALID_HOST, id="hexadecimal-last-byte"),
        pytest.param("https://0X7F.0X1/", Refusal.INVALID_HOST, id="hexadecimal-upper-case"),
        pytest.param("https://017700000001/", Refusal.INVALID_HOST, id="octal"),
        pytest.param("https://0177.0.0.1/", Refusal.INVALID_HOST, id="octal-first-byte"),
        pytest.param("https://00000177.0.0.01/", Refusal.INVALID_HOST, id="octal-padded"),
        pytest.param("https://127.1/", Refusal.INVALID_HOST, id="two-parts"),
        pytest.param("https://127.0.1/", Refusal.INVALID_HOST, id="three-parts"),
        pytest.param("https://0/", Refusal.INVALID_HOST, id="zero"),
        pytest.param("https://127.0.0.1./", Refusal.INVALID_HOST, id="trailing-dot-on-an-address"),
        pytest.param("https://127.0.0.256/", Refusal.INVALID_HOST, id="a-byte-too-large"),
        pytest.param("https://1.2.3.4.5/", Refusal.INVALID_HOST, id="five-parts"),
        pytest.param(
            "https://\uff11\uff12\uff17.0.0.1/", Refusal.ADDRESS_NOT_PUBLIC, id="full-width-digits"
        ),
        pytest.param(
            "https://127\u30020\u30020\u30021/", Refusal.ADDRESS_NOT_PUBLIC, id="ideographic-dots"
        ),
        pytest.param(
            "https://\u2460\u2461\u2466.0.0.1/", Refusal.ADDRESS_NOT_PUBLIC, id="circled-digits"
        ),
        *(
            pytest.param(f"https://a{character}b.example/", Refusal.AMBIGUOUS_HOST, id=name)
            for character, name in (
                ("\u00df", "sharp-s-is-ss-to-some"),
                ("\u1e9e", "capital-sharp-s-as-well"),
                ("\u03c2", "final-sigma-is-sigma-to-some"),
                ("\u200d", "a-joiner-is-nothing-to-some"),
                ("\u200c", "a-non-joiner-as-well"),
            )
        ),
        pytest.param("https://%31%32%37.0.0.1/", Refusal.INVALID_HOST, id="percent-encoded"),
        pytest.param("https://[::1]/", Refusal.ADDRESS_NOT_PUBLIC, id="ipv6-loopback"),
        pytest.param(
            "https://[0:0:0:0:0:ffff:127.0.0.1]/", Refusal.ADDRESS_NOT_PUBLIC, id="mapped-long-form"
        ),
        pytest.param("https://[fe80::1%25eth0]/", Refusal.SCOPED_ADDRESS, id="zone-in-a-url"),
        pytest.param("https://[::1%lo]/", Refusal.SCOPED_ADDRESS, id="zone-unencoded"),
        pytest.param("https://[127.0.0.1]/", Refusal.INVALID_HOST, id="ipv4-in-brackets"),
        pytest.param("https://[v1.fe80::1]/", Refusal.INVALID_HOST, id="future-address-form"),
        pytest.param("https://[::1/", Refusal.INVALID_HOST, id="open-bracket"),
        pytest.param("https://::1/", Refusal.INVALID_HOST, id="ipv6-without-brackets"),
        pytest.param("https://[::1]x/", Refusal.INVALID_HOST, id="something-after-the-bracket"),
        # Names of the cluster's and of private networks.
        pytest.param("https://localhost/", Refusal.HOST_NOT_ALLOWED, id="localhost"),
        pytest.param("https://LOCALHOST/", Refusal.HOST_NOT_ALLOWED, id="localhost-upper-case"),
        pytest.param("https://a.localhost/", Refusal.HOST_NOT_ALLOWED, id="below-localhost"),
        pytest.param("https://kubernetes/", Refusal.HOST_NOT_ALLOWED, id="single-label"),
        pytest.param("https://api.longtask.svc/", Refusal.HOST_NOT_ALLOWED, id="service"),
        pytest.param(
            "https://kubernetes.default.svc.cluster.local/", Refusal.HOST_NOT_ALLOWED, id="cluster"
        ),
        pytest.param("https://metadata.google.internal/", Refusal.HOST_NOT_ALLOWED, id="internal"),
        pytest.param("https://printer.local/", Refusal.HOST_NOT_ALLOWED, id="local"),
        pytest.param("https://printer.LOCAL/", Refusal.HOST_NOT_ALLOWED, id="local-upper-case"),
        pytest.param(
            "https://printer.\uff4c\uff4f\uff43\uff41\uff4c/",
            Refusal.HOST_NOT_ALLOWED,
            id="local-in-full-width",
        ),
        pytest.param("https://example.com./", Refusal.INVALID_HOST, id="trailing-dot"),
        pytest.param("https://a..example.com/", Refusal.INVALID_HOST, id="empty-label"),
        pytest.param("https://.example.com/", Refusal.INVALID_HOST, id="leading-dot"),
        pytest.param("https:///path", Refusal.INVALID_HOST, id="no-host"),
        pytest.param("https://exa mple.com/", Refusal.INVALID_HOST, id="blank-in-the-host"),
        pytest.param("https://exa\tmple.com/", Refusal.INVALID_HOST, id="tab-in-the-host"),
        pytest.param("https://-a.example.com/", Refusal.INVALID_HOST, id="leading-hyphen"),
        pytest.param(f"https://{'a' * 64}.com/", Refusal.INVALID_HOST, id="label-too-long"),
        pytest.param(
            f"https://{'a' * 60}.{'a' * 60}.{'a' * 60}.{'a' * 60}.{'a' * 60}.com/",
            Refusal.INVALID_HOST,
            id="name-too-long",
        ),
        # The rest of the URL.
        pytest.param("http://example.com/", Refusal.SCHEME_NOT_ALLOWED, id="http"),
        pytest.param("ftp://example.com/", Refusal.SCHEME_NOT_ALLOWED, id="ftp"),
        pytest.param("file:///etc/passwd", Refusal.SCHEME_NOT_ALLOWED, id="file"),
        pytest.param("gopher://example.com/", Refusal.SCHEME_NOT_ALLOWED, id="gopher"),
        pytest.param("unix://example.com/", Refusal.SCHEME_NOT_ALLOWED, id="unix"),
        pytest.param("https:example.com", Refusal.INVALID_URL, id="no-slashes"),
        pytest.param("https:/example.com", Refusal.INVALID_URL, id="one-slash"),
        pytest.param("//example.com/", Refusal.INVALID_URL, id="no-scheme"),
        pytest.param("example.com", Refusal.INVALID_URL, id="bare-host"),
        pytest.param("", Refusal.INVALID_URL, id="empty"),
        pytest.param(" https://example.com/", Refusal.INVALID_URL, id="leading-blank"),
        pytest.param("https://example.com/ ", Refusal.INVALID_URL, id="trailing-blank"),
        pytest.param("https://example.com/\r\nX: y", Refusal.INVALID_URL, id="header-injection"),
        pytest.param("https://example.com/\n", Refusal.INVALID_URL, id="trailing-newline"),
        pytest.param("https://example.com/\x00", Refusal.INVALID_URL, id="nul"),
        pytest.param("https://example.com/\u00fc", Refusal.INVALID_URL, id="unencoded-path"),
        pytest.param("https://example.com\\@127.0.0.1/", Refusal.INVALID_URL, id="backslash"),
        pytest.param(
            "https://example.com/" + "a" * 2048, Refusal.INVALID_URL, id="longer-than-the-limit"
        ),
        pytest.param("https://u:p@example.com/", Refusal.USERINFO_NOT_ALLOWED, id="password"),
        pytest.param("https://u@example.com/", Refusal.USERINFO_NOT_ALLOWED, id="user"),
        pytest.param("https://@example.com/", Refusal.USERINFO_NOT_ALLOWED, id="empty-user"),
        pytest.param(
            "https://example.com:443@127.0.0.1/", Refusal.USERINFO_NOT_ALLOWED, id="host-as-user"
        ),
        pytest.param("https://example.com/#a", Refusal.FRAGMENT_NOT_ALLOWED, id="fragment"),
        pytest.param("https://example.com/#", Refusal.FRAGMENT_NOT_ALLOWED, id="empty-fragment"),
        pytest.param(
            "https://example.com#@127.0.0.1/", Refusal.FRAGMENT_NOT_ALLOWED, id="fragment-as-host"
        ),
        pytest.param("https://example.com:80/", Refusal.PORT_NOT_ALLOWED, id="other-port"),
        pytest.param("https://example.com:22/", Refusal.PORT_NOT_ALLOWED, id="ssh-port"),
        pytest.param("https://example.com:0/", Refusal.PORT_NOT_ALLOWED, id="port-zero"),
        pytest.param("https://example.com:65979/", Refusal.PORT_NOT_ALLOWED, id="port-overflow"),
        pytest.param("https://example.com:/", Refusal.PORT_NOT_ALLOWED, id="empty-port"),
        pytest.param("https://example.com:+443/", Refusal.PORT_NOT_ALLOWED, id="signed-port"),
        pytest.param("https://example.com:4_43/", Refusal.PORT_NOT_ALLOWED, id="underscored-port"),
        pytest.param(
            "https://example.com:\uff14\uff14\uff13/",
            Refusal.PORT_NOT_ALLOWED,
            id="full-width-port",
        ),
        pytest.param("https://example.com:443:80/", Refusal.PORT_NOT_ALLOWED, id="two-ports"),
    ],
)
def test_a_dangerous_url_is_refused_with_its_reason(url: str, reason: Refusal | None) -> None:
    assert reason_of_url(GUARD, url) is reason


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        pytest.param("https://example.com", "https://example.com/", id="a-path-is-added"),
        pytest.param("HTTPS://Example.COM/A", "https://example.com/A", id="only-the-path-has-case"),
        pytest.param("https://example.com:443/", "https://example.com/", id="usual-port-is-left"),
        pytest.param("https://example.com:8443/", "https://example.com:8443/", id="second-port"),
        pytest.param("https://example.com?a=b", "https://example.com/?a=b", id="query-at-once"),
        pytest.param("https://b\u00fccher.example/", "https://xn--bcher-kva.example/", id="idna"),
        pytest.param("https://a_b.example.com/x", "https://a_b.example.com/x", id="underscore"),
        pytest.param("https://8.8.8.8/", "https://8.8.8.8/", id="public-literal"),
        pytest.param(
            "https://[2606:4700:0:0::1111]:8443/",
            "https://[2606:4700::1111]:8443/",
            id="public-ipv6",
        ),
        pytest.param("https://example.com/@x:y", "https://example.com/@x:y", id="at-in-the-path"),
    ],
)
def test_a_good_url_is_dialled_in_its_normal_form(url: str, dialled: str) -> None:
    target = GUARD.check_url(url)
    assert target.url == dialled
    assert GUARD.check_url(target.url) == target


@pytest.mark.parametrize(
    ("entry", "url", "reason"),
    [
        pytest.param("10.1.0.0/16", "http://10.1.2.3:9000/", None, id="a-network-on-any-port"),
        pytest.param(
            "10.1.0.0/16", "http://10.2.0.1/", Refusal.SCHEME_NOT_ALLOWED, id="but-no-other"
        ),
        pytest.param("10.1.2.3", "http://10.1.2.3:9000/", None, id="one-address"),
        pytest.param("10.1.2.3:9000", "http://10.1.2.3:9000/", None, id="one-address-and-port"),
        pytest.param(
            "10.1.0.0/16:9000", "http://10.1.2.3:9001/", Refusal.SCHEME_NOT_ALLOWED, id="other-port"
        ),
        pytest.param(
            "10.1.0.0/16:9000", "https://10.1.2.3:8443/", Refusal.ADDRESS_NOT_PUBLIC, id="https-too"
        ),
        pytest.param("fd00::/8", "http://[fd00::1]:80/", None, id="an-ipv6-network"),
        pytest.param("[fd00::/8]:81", "http://[fd00::1]:81/", None, id="with-its-port"),
        pytest.param("[fd00::]/8:81", "http://[fd00::1]:81/", None, id="written-the-other-way"),
        pytest.param(
            "[fd00::/8]:81", "http://[fd00::1]:82/", Refusal.SCHEME_NOT_ALLOWED, id="and-no-other"
        ),
        pytest.param("10.1.2.3", "http://[::ffff:10.1.2.3]/", None, id="its-mapped-form-is-it"),
        pytest.param("receiver.svc", "http://receiver.svc:8000/", None, id="a-host-on-any-port"),
        pytest.param("Receiver.SVC", "http://receiver.svc/", None, id="whatever-its-case"),
        pytest.param("receiver", "https://receiver/", None, id="a-single-label"),
        pytest.param("receiver.svc:8000", "http://receiver.svc:8000/", None, id="a-host-and-port"),
        pytest.param(
            "receiver.svc:8000", "https://receiver.svc/", Refusal.HOST_NOT_ALLOWED, id="only-there"
        ),
        pytest.param(
            "receiver.svc", "https://x.receiver.svc/", Refusal.HOST_NOT_ALLOWED, id="nothing-below"
        ),
        pytest.param(
            "receiver.svc", "ftp://receiver.svc/", Refusal.SCHEME_NOT_ALLOWED, id="no-ftp"
        ),
        pytest.param(
            "receiver.svc", "http://u@receiver.svc/", Refusal.USERINFO_NOT_ALLOWED, id="no-user"
        ),
    ],
)
def test_the_allow_list_opens_exactly_what_it_names(entry: str, url: str, reason) -> None:
    assert reason_of_url(Guard.from_lists(allow=[entry]), url) is reason


@pytest.mark.parametrize(
    ("guard", "address", "host", "reason"),
    [
        pytest.param(
            Guard.from_lists(deny=["8.8.0.0/16"]),
            "8.8.8.8",
            None,
            Refusal.ADDRESS_DENIED,
            id="a-denied-public-address-is-refused",
        ),
        pytest.param(
            Guard.from_lists(deny=["8.8.0.0/16"]),
            "64:ff9b::808:808",
            None,
            Refusal.ADDRESS_DENIED,
            id="a-denied-address-inside-nat64-as-well",
        ),
        pytest.param(
            Guard.from_lists(allow=["8.8.8.8"], deny=["8.8.0.0/16"]),
            "8.8.8.8",
            None,
            None,
            id="the-allow-list-wins-over-the-deny-list",
        ),
        pytest.param(
            Guard.from_lists(deny=["8.8.0.0/16"]),
            "2606:4700::1",
            None,
            None,
            id="the-other-family-is-not-meant",
        ),
        pytest.param(
            Guard.from_lists(allow=["receiver.svc"]),
            "10.1.2.3",
            "receiver.svc",
            None,
            id="an-allowed-host-may-be-private",
        ),
        pytest.param(
            Guard.from_lists(allow=["receiver.svc"]),
            "10.1.2.3",
            "evil.example",
            Refusal.ADDRESS_NOT_PUBLIC,
            id="another-host-at-the-same-address-may-not",
        ),
        pytest.param(
            Guard.from_lists(allow=["10.1.2.3"]),
            "10.1.2.3",
            "any.example",
            None,
            id="an-allowed-address-may-have-any-name",
        ),
        pytest.param(
            Guard.from_lists(allow=["10.1.2.3:80"]),
            "10.1.2.3",
            None,
            Refusal.ADDRESS_NOT_PUBLIC,
            id="on-another-port-it-may-not",
        ),
    ],
)
def test_lists_at_the_socket(guard: Guard, address: str, host: str | None, reason) -> None:
    assert reason_of_address(guard, address, host=host) is reason


@pytest.mark.parametrize(
    ("sockaddr", "reason"),
    [
        pytest.param(("8.8.8.8", 443), None, id="ipv4"),
        pytest.param(("2606:4700::1", 443, 0, 0), None, id="ipv6"),
        pytest.param(("10.0.0.1", 443), Refusal.ADDRESS_NOT_PUBLIC, id="private"),
        pytest.param(("2606:4700::1", 443, 0, 2), Refusal.SCOPED_ADDRESS, id="scope-id"),
        pytest.param(("/run/socket", None), Refusal.INVALID_ADDRESS, id="no-internet-socket"),
    ],
)
def test_a_socket_address_is_judged_with_its_scope(sockaddr: tuple, reason) -> None:
    assert reason_of(GUARD.check_sockaddr, sockaddr) is reason


def test_ports_are_added_to_the_usual_two() -> None:
    guard = Guard.from_lists(ports=[9443])
    for port in (443, 8443, 9443):
        assert guard.check_url(f"https://example.com:{port}/").port == port


@pytest.mark.parametrize(
    "entry",
    ["", "10.0.0.1/8", "10.0.0.0/33", "host:0", "host:99999", "a b", "[fd00::1]:x", "127.1", "*.a"],
)
def test_an_unreadable_allow_entry_is_an_error_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match=r"not a|neither"):
        Guard.from_lists(allow=[entry])


def test_a_refusal_tells_no_address() -> None:
    with pytest.raises(Refused) as caught:
        GUARD.check_address("10.96.0.1", 443, host="cluster.example")
    assert "10.96" not in str(caught.value)


def test_every_refusal_has_a_sentence() -> None:
    assert all(str(Refused(reason)).startswith("it") for reason in Refusal)


def test_what_ipaddress_calls_global_by_mistake_is_refused_here() -> None:
    for text in ("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::7f00:1", "fec0::1", "224.0.0.1"):
        address = address_guard.unwrap(ipaddress.ip_address(text))
        assert not address_guard.is_public(address)


def test_the_unambiguous_form_of_an_ambiguous_host_is_taken() -> None:
    assert GUARD.check_url("https://xn--strae-oqa.de/").host == "xn--strae-oqa.de"
    assert GUARD.check_url("https://b\u00fccher.example/").host == "xn--bcher-kva.example"
