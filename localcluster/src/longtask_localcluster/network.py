"""The addresses of the cluster, and what it changes in the network of the machine.

All addresses lie in one private range. The node has a link of its own, because the kubelet
refuses loopback as the node's address; pods reach processes of the host there too. Each pod is
routed by itself (CNI's `ptp`), so packets between pods always pass the host, where a Service's
address is translated in both directions.
"""

import ipaddress
import json
import shutil
import socket
from pathlib import Path
from typing import Any

from longtask_localcluster import errors, shell

LINK = "lk-node"
TABLE = "longtask-local"
#: Tables of kube-proxy, which leaves them when it ends.
PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))

RANGE = "10.199.0.0/16"
NODE = "10.199.0.1"
PODS = "10.199.16.0/20"
POD_GATEWAY = "10.199.16.1"
SERVICES = "10.199.32.0/20"
FIRST_SERVICE = "10.199.32.1"

LOOPBACK = "127.0.0.1"
API_SERVER_PORT = 6443
#: Every port that the cluster takes on loopback, beside the one of the ingress.
LOOPBACK_PORTS = (2379, 2380, 10248, 10249, 10256, 10257, 10259, 10280, 10281)

#: Settings of the kernel that routing, kubelet and kube-proxy change.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
SYSCTL_ROOT = Path("/proc/sys")


def owner() -> Path | None:
    """Return the state folder of the cluster that has the link, or None without one."""
    if not shell.succeeds(["ip", "link", "show", LINK]):
        return None
    (link,) = json.loads(shell.run(["ip", "-json", "link", "show", LINK]))
    # A link without a name of its owner comes from a start that was killed at once.
    return Path(link.get("ifalias", "/nowhere"))


def check_free(port: int) -> None:
    """Refuse to start where ports or addresses are in use."""
    check_ports(port, *LOOPBACK_PORTS)
    check_range(RANGE)


def check_ports(*ports: int) -> None:
    """Refuse ports of loopback that somebody has."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise errors.MachineTaken(
                    f"Port {port} of {LOOPBACK} is in use: end the process that has it"
                    + (", or choose another one with PORT=" if port not in LOOPBACK_PORTS else "")
                ) from error


def check_range(addresses: str) -> None:
    """Refuse addresses that a route of this machine leads to."""
    ours = ipaddress.ip_network(addresses)
    for route in json.loads(shell.run(["ip", "-json", "route"])):
        if route["dst"] != "default" and ours.overlaps(ipaddress.ip_network(route["dst"])):
            raise errors.MachineTaken(
                f"The route {route['dst']} of {route.get('dev')} overlaps {addresses}, which the"
                " cluster needs: see network.py"
            )


def create(state: Path) -> None:
    """Make the node's link and the translation of addresses that leave the machine."""
    saved = {name: (SYSCTL_ROOT / name).read_text() for name in SYSCTLS if _exists(name)}
    (state / "sysctls.json").write_text(json.dumps(saved))
    shell.run(["ip", "link", "add", LINK, "type", "bridge"])
    shell.run(["ip", "link", "set", LINK, "alias", str(state), "up"])
    shell.run(["ip", "address", "add", f"{NODE}/32", "dev", LINK])
    (SYSCTL_ROOT / "net/ipv4/ip_forward").write_text("1")
    shell.run(["nft", "--file", "-"], stdin=translation())


def translation() -> str:
    """Return the nft table by which pods reach addresses outside the machine."""
    return f"""
table ip {TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {PODS} ip daddr != {RANGE} masquerade
  }}
}}
"""


def remove(state: Path) -> None:
    """Take back everything that `create`, the pods and kube-proxy did to the network."""
    if shutil.which("nft") is None:
        return  # nobody has made anything without it
    for family, table in (("ip", TABLE), *PROXY_TABLES):
        # `destroy` is too new for Debian 12; adding first makes deleting always succeed.
        shell.run(["nft", f"add table {family} {table}; delete table {family} {table}"])
    for link in pod_links(json.loads(shell.run(["ip", "-json", "address"]))):
        # The link may vanish meanwhile, with the pod's namespace.
        shell.succeeds(["ip", "link", "delete", link])
    if owner():
        shell.run(["ip", "link", "delete", LINK])
    saved = state / "sysctls.json"
    if saved.exists():
        for name, value in json.loads(saved.read_text()).items():
            (SYSCTL_ROOT / name).write_text(value)


def pod_links(addresses: list[dict[str, Any]]) -> list[str]:
    """Return the host's ends of the pods' links: those that have the pods' gateway."""
    return [
        link["ifname"]
        for link in addresses
        for address in link["addr_info"]
        if address["local"] == POD_GATEWAY
    ]


def _exists(sysctl: str) -> bool:
    return (SYSCTL_ROOT / sysctl).exists()
