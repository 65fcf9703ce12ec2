"""The dashboard's guard: which request gets which verdict. Pure; the server behind it is tested in component/."""

from pathlib import Path

import pytest
from mailroom import InvalidArgument
from mailroom_apps.dashboard.config import DashboardConfig, Site, parse_public_url
from mailroom_apps.dashboard.guard import Access, Refusal, Rules, judge
from mailroom_apps.dashboard.sessions import NewSession, Role, Session, Sessions
from starlette.datastructures import Headers

PORT = 8034
HOST = f"127.0.0.1:{PORT}"
ENTRIES = {
    ("POST", "/api/session"): Access.LINK,
    ("GET", "/api/hello"): Access.OBSERVER,
    ("POST", "/api/send"): Access.OPERATOR,
    ("POST", "/api/manage/clear"): Access.MANAGER,
}
EVERY = [*ENTRIES, ("GET", "/"), ("GET", "/app.css"), ("GET", "/api/none"), ("GET", "/%2e%2e/etc"), ("OPTIONS", "*")]


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(tmp_path)


def rules(*, read_only: bool = False, manage: bool = False, public_url: str | None = None) -> Rules:
    config = DashboardConfig("dashboard", read_only=read_only, manage=manage, public_url=public_url)
    return Rules(config, Site.at("127.0.0.1", PORT, public_url), frozenset({"/", "/app.css"}), ENTRIES)


def headers(session: NewSession | None = None, **changes: str | None) -> Headers:
    own: dict[str, str | None] = {
        "host": HOST,
        "origin": f"http://{HOST}",
        "sec-fetch-site": "same-origin",
        "content-type": "application/json",
    }
    if session:
        own |= {"cookie": f"mailroom_{PORT}={session.cookie}", "x-mailroom-page-token": session.token}
    own |= {name.replace("_", "-"): value for name, value in changes.items()}
    return Headers({name: value for name, value in own.items() if value is not None})


def verdict(sessions: Sessions, entry: tuple[str, str], given: Headers, by: Rules | None = None) -> str:
    """Returns the reason of a refusal, the role of a session, or "public"."""
    judged = judge(by or rules(), sessions, *entry, given)
    if isinstance(judged, Refusal):
        return judged.reason
    return judged.role if isinstance(judged, Session) else "public"


@pytest.mark.parametrize("entry", EVERY)
@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:80", f"{HOST}.evil.example", "", "0.0.0.0"]
)
def test_a_foreign_host_is_refused_for_every_path_before_anything_else(
    sessions: Sessions, entry: tuple[str, str], host: str
) -> None:
    session = sessions.open(Role.OPERATOR, "")
    given = headers(session, host=host, origin=f"http://{host}")
    assert verdict(sessions, entry, given) == "HOST_UNKNOWN"


def test_two_host_headers_are_refused(sessions: Sessions) -> None:
    raw = [(b"host", HOST.encode()), (b"host", b"evil.example")]
    assert verdict(sessions, ("GET", "/"), Headers(raw=raw)) == "HOST_UNKNOWN"


@pytest.mark.parametrize("host", [HOST, f"localhost:{PORT}", f"mailroom.localhost:{PORT}", f"LOCALHOST:{PORT}"])
def test_the_names_of_the_loopback_interface_are_accepted(sessions: Sessions, host: str) -> None:
    session = sessions.open(Role.OPERATOR, "")
    given = headers(session, host=host, origin=f"http://{host.lower()}")
    assert verdict(sessions, ("GET", "/api/hello"), given) == "operator"


@pytest.mark.parametrize("entry", [*ENTRIES, ("GET", "/api/none"), ("DELETE", "/x"), ("OPTIONS", "/api/send")])
@pytest.mark.parametrize(
    "changes",
    [
        {"sec_fetch_site": "cross-site", "origin": "https://evil.example"},
        {"sec_fetch_site": "same-site", "origin": "http://127.0.0.1:3000"},  # a dev server on another port
        {"sec_fetch_site": "none"},  # typed into the address line
        {"sec_fetch_site": "cross-site"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "null"},
        {"origin": f"https://{HOST}"},
        {"origin": f"http://localhost:{PORT}"},  # another origin, although it is this server
        {"sec_fetch_site": None, "origin": None},  # no browser that can say where it comes from
        {"sec_fetch_site": None, "origin": "https://evil.example"},
    ],
)
def test_what_another_page_sends_is_refused_even_with_both_secrets(
    sessions: Sessions, entry: tuple[str, str], changes: dict[str, str | None]
) -> None:
    session = sessions.open(Role.OPERATOR, "")
    assert verdict(sessions, entry, headers(session, **changes)) == "SOURCE_FOREIGN"


def test_a_browser_without_fetch_metadata_is_known_by_its_origin(sessions: Sessions) -> None:
    session = sessions.open(Role.OPERATOR, "")
    assert verdict(sessions, ("POST", "/api/send"), headers(session, sec_fetch_site=None)) == "operator"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_could_send_is_refused(sessions: Sessions, kind: str) -> None:
    session = sessions.open(Role.OPERATOR, "")
    for entry in (("POST", "/api/send"), ("POST", "/api/session")):
        assert verdict(sessions, entry, headers(session, content_type=kind)) == "NOT_JSON"


@pytest.mark.parametrize("entry", [entry for entry, access in ENTRIES.items() if access > Access.LINK])
def test_one_secret_without_the_other_is_no_session(sessions: Sessions, entry: tuple[str, str]) -> None:
    one, other = sessions.open(Role.OPERATOR, "one"), sessions.open(Role.OPERATOR, "other")
    for given in (
        headers(one, cookie=None),
        headers(one, x_mailroom_page_token=None),
        headers(one, x_mailroom_page_token=other.token),
        headers(one, cookie=f"mailroom_{PORT + 1}={one.cookie}"),
        headers(one, x_mailroom_page_token=one.cookie),
        headers(),
    ):
        assert verdict(sessions, entry, given) == "SESSION_MISSING"


def test_a_cookie_of_another_port_with_the_same_name_does_not_lock_the_page_out(sessions: Sessions) -> None:
    session = sessions.open(Role.OPERATOR, "")
    given = headers(session, cookie=f"mailroom_{PORT}=planted; mailroom_{PORT}={session.cookie}")
    assert verdict(sessions, ("GET", "/api/hello"), given) == "operator"


@pytest.mark.parametrize(
    ("role", "read_only", "manage", "expected"),
    [
        (Role.OPERATOR, False, True, ["operator", "operator", "operator"]),
        (Role.OPERATOR, False, False, ["operator", "operator", "MANAGEMENT_OFF"]),
        (Role.OBSERVER, False, True, ["observer", "OBSERVER_ONLY", "OBSERVER_ONLY"]),
        (Role.OPERATOR, True, False, ["operator", "OBSERVER_ONLY", "OBSERVER_ONLY"]),
    ],
)
def test_each_role_may_do_what_its_level_allows(
    sessions: Sessions, role: Role, read_only: bool, manage: bool, expected: list[str]
) -> None:
    session = sessions.open(role, "")
    entries = [entry for entry, access in ENTRIES.items() if access > Access.LINK]
    by = rules(read_only=read_only, manage=manage)
    assert [verdict(sessions, entry, headers(session), by) for entry in entries] == expected


@pytest.mark.parametrize("path", ["/api/hello/", "/api//hello", "/API/hello", "/api/hello\x00", "/api/%68ello", "//"])
def test_a_path_that_is_not_exactly_listed_does_not_exist(sessions: Sessions, path: str) -> None:
    session = sessions.open(Role.OPERATOR, "")
    assert verdict(sessions, ("GET", path), headers(session)) == "ENTRY_UNKNOWN"
    assert verdict(sessions, ("GET", path), headers()) == "SESSION_MISSING"


def test_the_page_itself_is_public_and_can_only_be_read(sessions: Sessions) -> None:
    assert verdict(sessions, ("GET", "/"), headers(sec_fetch_site="cross-site", origin=None)) == "public"
    assert verdict(sessions, ("POST", "/"), headers()) == "METHOD_UNKNOWN"


def test_a_public_url_adds_its_host_and_nothing_else(sessions: Sessions) -> None:
    by = rules(public_url=parse_public_url("https://mail.example/mailroom"))
    session = sessions.open(Role.OPERATOR, "")
    own = headers(session, host="mail.example", origin="https://mail.example")
    assert verdict(sessions, ("GET", "/api/hello"), own, by) == "operator"
    plain = headers(session, host="mail.example", origin="http://mail.example")
    assert verdict(sessions, ("GET", "/api/hello"), plain, by) == "SOURCE_FOREIGN"
    assert verdict(sessions, ("GET", "/"), headers(host="other.example"), by) == "HOST_UNKNOWN"
    assert by.site.url == "https://mail.example/mailroom/"
    assert (by.site.cookie_path("mail.example"), by.site.cookie_path(HOST)) == ("/mailroom/", "/")


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example/",
        "https://",
        "https://a@b/",
        "https://a/?q",
        "https://a/#f",
        "ftp://a/",
        "https://a:x/",
        "",
    ],
)
def test_a_public_url_without_tls_or_with_more_than_a_path_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="--public-url"):
        parse_public_url(url)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Mail.example:443/a/", "https://mail.example/a/"),
        ("https://mail.example:8443", "https://mail.example:8443/"),
        ("http://localhost:9000/mail", "http://localhost:9000/mail/"),
    ],
)
def test_a_public_url_is_written_as_browsers_do(text: str, url: str) -> None:
    assert parse_public_url(text) == url
