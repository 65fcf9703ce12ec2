"""DashboardConfig — what one dashboard serves, where, and to whom.

Pure. The addresses that a browser may use for the server follow from it: the names of the loopback interface, and the
host of `--public-url` if there is a proxy.
"""

__all__ = ["DEFAULT_STUCK_SEC", "DashboardConfig", "Site", "parse_public_url"]

from dataclasses import dataclass
from urllib.parse import urlsplit

from mailroom.errors import InvalidArgument

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "mailroom.localhost")
DEFAULT_STUCK_SEC = 300.0
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    """The options of one dashboard.

    Attributes:
        operator: the mailbox of the person in front of the page, and the sender of what they send.
        read_only: every session observes, whatever its link said.
        manage: operators may acknowledge for other agents, and clear mailboxes.
        public_url: where a proxy serves the page; None without a proxy.
        stuck_after_sec: after which time unread mail of normal priority counts as stuck.
        name: the host in printed links, one of LOOPBACK_NAMES; None for the address that the server listens on.
    """

    operator: str
    read_only: bool = False
    manage: bool = False
    public_url: str | None = None
    name: str | None = None
    stuck_after_sec: float = DEFAULT_STUCK_SEC


@dataclass(frozen=True, slots=True)
class Site:
    """The addresses of one server.

    Attributes:
        url: the address to print, ending in a slash.
        port: the port that it listens on.
        origins: the origin that belongs to each value of the header Host that is accepted.
        public: the host and the path of the proxy; empty without one.
        secure_hosts: the hosts that are reached by TLS; their cookies are never sent without it.
    """

    url: str
    port: int
    origins: dict[str, str]
    public: tuple[str, str]
    secure_hosts: frozenset[str]

    @property
    def cookie_name(self) -> str:
        """The name of the session's cookie. A browser sends cookies of a host to all its ports, so it has the port."""
        return f"mailroom_{self.port}"

    def cookie_path(self, host: str) -> str:
        """Returns the path that a host's cookies are limited to: that of the proxy, or the root."""
        return self.public[1] if host == self.public[0] else "/"

    @classmethod
    def at(cls, host: str, port: int, public_url: str | None, name: str | None = None) -> "Site":
        """Returns the site of a server that listens on a loopback address; `name` is the host in its links."""
        shown = f"[{host}]" if ":" in host else host
        names = dict.fromkeys((shown, *LOOPBACK_NAMES))
        origins = {f"{name}:{port}": f"http://{name}:{port}" for name in names}
        if public_url is None:
            return cls(f"http://{name or shown}:{port}/", port, origins, ("", ""), frozenset())
        parts = urlsplit(public_url)
        origins[parts.netloc] = f"{parts.scheme}://{parts.netloc}"
        secure = frozenset({parts.netloc}) if parts.scheme == "https" else frozenset[str]()
        return cls(public_url, port, origins, (parts.netloc, parts.path), secure)


def parse_public_url(text: str) -> str:
    """Returns a public URL that ends in a slash.

    Raises:
        InvalidArgument: it is not an https URL of a host and a path, or an http URL of the loopback interface.
    """
    problem = InvalidArgument(
        f"--public-url: {text!r} is not an https URL without query and user, e.g. https://mail.example/mailroom/",
        reason="PUBLIC_URL_INVALID",
    )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise problem from error
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK_NAMES
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if not parts.hostname or not is_plain or not (parts.scheme == "https" or is_local):
        raise problem
    has_own_port = port is not None and port != DEFAULT_PORTS[parts.scheme]
    netloc = f"{parts.hostname}:{port}" if has_own_port else parts.hostname
    return f"{parts.scheme}://{netloc}/{parts.path.strip('/')}".rstrip("/") + "/"
