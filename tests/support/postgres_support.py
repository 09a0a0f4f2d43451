"""A PostgreSQL server of the tests' own: in a temporary folder, reached by a socket in it.

Pods reach one by an address of this host, with a password that nothing else knows.
"""

import contextlib
import os
import pwd
import secrets
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import proxy_support

#: Where Debian's package puts the programs of each version.
_PROGRAMS = Path("/usr/lib/postgresql")
#: The account that the package makes: the server refuses to be root's.
_ACCOUNT = "postgres"
#: Nothing of it outlives the tests, so nothing need be on the disk.
_SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=50")
_PORT = 5432  #: of the socket alone, if there is no address


class Server:
    """A server that can be stopped and started, and that gives out databases."""

    def __init__(self, folder: Path, address: str = "") -> None:
        """Make one in an empty folder; it does not run yet.

        Args:
            folder: Where it is.
            address: Where it listens besides its socket; nowhere else if empty.
        """
        self._folder = folder
        self._data = folder / "data"
        self._address = address
        self._port = proxy_support.a_port(address) if address else _PORT
        self._password = secrets.token_hex(16)
        (folder / "password").write_text(self._password)
        self._run(
            *("initdb", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"),
            *("--username=test", f"--pwfile={folder / 'password'}"),
        )
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")

    def start(self) -> None:
        """Start it, and wait until it serves."""
        own = (f"listen_addresses={self._address}", f"port={self._port}")
        settings = [f"-k {self._folder}", *(f"-c {setting}" for setting in (*own, *_SETTINGS))]
        log = f"--log={self._folder / 'log'}"
        self._run("pg_ctl", "start", "--wait", log, "--options", " ".join(settings))

    def stop(self) -> None:
        """Stop it as a crash would: at once, with all its connections."""
        self._run("pg_ctl", "stop", "--mode=immediate")

    @property
    def pid(self) -> int:
        """The number of its first process."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def new_database(self, like: str = "template1") -> str:
        """Make a database, empty or as another one is that nobody uses; return its URL."""
        name = f"t{uuid.uuid4().hex}"
        at = (f"--host={self._folder}", f"--port={self._port}")
        template = urlsplit(like).path.removeprefix("/")
        self._run("createdb", *at, "--username=test", f"--template={template}", name)
        if self._address:
            return f"postgresql://test:{self._password}@{self._address}:{self._port}/{name}"
        return f"postgresql://test@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        newest = max(_PROGRAMS.glob("*/bin"), key=lambda found: float(found.parent.name))
        done = subprocess.run(
            [newest / program, *arguments],
            env={"PATH": os.environ["PATH"], "PGDATA": str(self._data), "LC_ALL": "C.UTF-8"},
            user=_account(),
            group=_account(),
            extra_groups=None if _account() is None else [],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            # No pipe: the server would hold its other end.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}"


@contextlib.contextmanager
def running(address: str = "") -> Iterator[Server]:
    """Run a server, and leave nothing of it; give it an address of this host to listen at."""
    assert any(_PROGRAMS.glob("*/bin/initdb")), "PostgreSQL is not there: run `make postgresql`"
    # A socket's path must be short, so not pytest's own folder.
    with tempfile.TemporaryDirectory(prefix="longtask-pg-") as name:
        folder = Path(name)
        if (account := _account()) is not None:
            os.chown(folder, pwd.getpwnam(account).pw_uid, pwd.getpwnam(account).pw_gid)
        # Else only its owner may enter, to the socket too.
        folder.chmod(0o755)
        server = Server(folder, address)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _account() -> str | None:
    """Return whose the server is to be; None for whoever runs the tests."""
    return _ACCOUNT if os.geteuid() == 0 else None
