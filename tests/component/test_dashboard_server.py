"""`mailroom dashboard` as a process in front of a fake daemon: attacks, links, roles, sends, the stream."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from mailroom_apps.dashboard.sessions import Role
from mailroom_apps.dashboard.stream import HEARTBEAT_SEC
from support.fakes.fake_daemon import FakeDaemon
from support.fakes.scenes import InThread, in_thread
from support.fakes.scripted import Refusal
from support.harness.command_line import BOUND_SEC, command
from support.harness.dashboard import Dashboard, Signed, running_dashboard
from support.harness.waiting import wait_until

KEY = "8c5b1c1e-1111-4222-8333-0123456789ab"
READS = [
    "hello",
    "situation",
    "messages",
    "export",
    "message?id=0",
    "thread?id=t",
    "traffic",
    "health",
    "audit",
    "drafts",
]
WRITES = [
    "send",
    "offered",
    "acknowledge",
    "manage/acknowledge",
    "manage/clear",
    "session/end",
    "session/revoke",
    "drafts",
    "drafts/remove",
]
WITHOUT_THE_EXTRA = """
import sys
sys.modules["starlette"] = None  # as if it were not installed
from mailroom_apps.__main__ import main
sys.exit(main())
"""
AS_ANOTHER_USER = """
import http.client, json, pathlib, sys
port, entries, files = json.loads(sys.argv[1])
read, statuses = [], []
for name in files:
    try:
        path = pathlib.Path(name)
        read.append([name, len(list(path.iterdir()) if path.is_dir() else path.read_bytes())])
    except PermissionError:
        pass
for entry in entries:
    method, path = entry.split()
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
    guess = {"Cookie": f"mailroom_{port}=guess", "X-Mailroom-Page-Token": "guess"}
    for headers in (own, own | guess):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, "{}" if method == "POST" else None, headers)
        statuses.append(connection.getresponse().status)
        connection.close()
lines = []
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        lines.append(file.read_bytes().decode(errors="replace").replace("\\0", " "))
    except OSError:
        pass
print(json.dumps({"read": read, "statuses": statuses, "cmdline": "\\n".join(lines)}))
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Generator[InThread]:
    with in_thread(tmp_path_factory.mktemp("d")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def dashboard(fake: InThread, tmp_path_factory: pytest.TempPathFactory) -> Generator[Dashboard]:
    with running_dashboard(fake.address, tmp_path_factory.mktemp("h"), "--manage") as running:
        yield running


@pytest.fixture(scope="module")
def operator(dashboard: Dashboard) -> Signed:
    return dashboard.sign_in()


@pytest.fixture(scope="module")
def observer(dashboard: Dashboard) -> Signed:
    return dashboard.sign_in(Role.OBSERVER)


@contextmanager
def stream(by: Signed, position: str | None = None) -> Generator[Iterator[tuple[str, str, Any]]]:
    """Opens a stream and yields an iterator over its frames: the event, its id, its data."""
    connection = http.client.HTTPConnection("127.0.0.1", by.dashboard.port, timeout=BOUND_SEC)
    connection.request("GET", "/api/stream", headers=by.headers({"Last-Event-ID": position} if position else {}))
    response = connection.getresponse()
    assert response.status == 200, response.read()

    def frames() -> Iterator[tuple[str, str, Any]]:
        fields: dict[str, str] = {}
        while line := response.readline():
            if line == b"\n":
                yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
                fields = {}
            else:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                fields[name] = value

    try:
        yield frames()
    finally:
        response.close()
        connection.close()


def submission(**changes: Any) -> dict[str, Any]:
    return {"key": KEY, "to": ["bob"], "content": "go"} | changes


# -- attacks -----------------------------------------------------------------------------------------------------------


def test_a_rebound_name_reaches_nothing_not_even_the_page(dashboard: Dashboard, operator: Signed) -> None:
    for target in [
        "/",
        "/app.css",
        "/app/main.js",
        "/none",
        "/%2e%2e/%2e%2e/etc/passwd",
        *(f"/api/{one}" for one in READS),
    ]:
        answer = dashboard.raw("GET", target, operator.headers({"Host": f"rebound.example:{dashboard.port}"}))
        assert (answer.status, answer.reason) == (421, "HOST_UNKNOWN"), target


def test_an_absolute_target_does_not_replace_the_host(dashboard: Dashboard, operator: Signed) -> None:
    target = f"http://{dashboard.host}/api/hello"
    assert dashboard.raw("GET", target, operator.headers({"Host": "evil.example"})).status in (400, 421)


@pytest.mark.parametrize("port", [3000, 80])
def test_a_page_on_another_port_can_neither_read_nor_write(dashboard: Dashboard, operator: Signed, port: int) -> None:
    foreign = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-site"}
    for path in READS:
        answer = dashboard.raw("GET", f"/api/{path}", operator.headers(foreign))
        assert (answer.status, answer.reason) == (403, "SOURCE_FOREIGN")
        assert "access-control-allow-origin" not in answer.headers
    for path in [*WRITES, "session"]:
        answer = dashboard.raw("POST", f"/api/{path}", operator.headers(foreign), b"{}")
        assert (answer.status, answer.reason) == (403, "SOURCE_FOREIGN")


def test_a_form_of_another_site_writes_nothing(dashboard: Dashboard, operator: Signed, fake: InThread) -> None:
    before = fake.do(lambda daemon: len(daemon.messages))
    body = json.dumps(submission(key=KEY.replace("8", "9"))).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Cookie": operator.cookie, "Content-Type": kind, "Origin": "https://evil.example"}
        assert dashboard.raw("POST", "/api/send", headers, body).status == 403
    assert fake.do(lambda daemon: len(daemon.messages)) == before


def test_a_preflight_of_another_site_gets_no_permission(dashboard: Dashboard) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = dashboard.raw("OPTIONS", "/api/send", headers)
    assert answer.status == 403
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:1", "127.0.0.1.:{port}", "localhost.:{port}", "127.1:{port}", "[::1]:{port}", ""]
)
def test_only_the_exact_names_of_the_server_are_answered(dashboard: Dashboard, host: str) -> None:
    answer = dashboard.raw("GET", "/", {"Host": host.format(port=dashboard.port)})
    assert (answer.status, answer.reason) == (421, "HOST_UNKNOWN")


def test_a_request_without_a_host_or_with_two_is_not_answered(dashboard: Dashboard, operator: Signed) -> None:
    with socket.create_connection(("127.0.0.1", dashboard.port), BOUND_SEC) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b" 421 " in connection.recv(100)
    with socket.create_connection(("127.0.0.1", dashboard.port), BOUND_SEC) as connection:
        host = dashboard.host.encode()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nHost: evil.example\r\n\r\n")
        assert connection.recv(100).split(b" ")[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "source",
    [
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://localhost:{port}"},
        {},
    ],
)
def test_only_the_page_itself_is_a_source(dashboard: Dashboard, operator: Signed, source: dict[str, str]) -> None:
    """Also not the page under another of its names, and not the address bar, whose requests carry the cookie."""
    proof = {"Cookie": operator.cookie, "X-Mailroom-Page-Token": operator.token, "Content-Type": "application/json"}
    given = proof | {name: value.format(port=dashboard.port) for name, value in source.items()}
    for method, path in (("GET", "hello"), ("POST", "session"), ("GET", "stream"), ("POST", "drafts")):
        answer = dashboard.raw(method, f"/api/{path}", given, b"{}" if method == "POST" else None)
        assert (answer.status, answer.reason) == (403, "SOURCE_FOREIGN"), (method, path)


def test_the_two_secrets_of_different_sessions_do_not_go_together(dashboard: Dashboard, operator: Signed) -> None:
    other = dashboard.sign_in(Role.OBSERVER)
    for mixed in (Signed(dashboard, operator.cookie, other.token), Signed(dashboard, other.cookie, operator.token)):
        assert mixed.get("hello").reason == "SESSION_MISSING"


def test_cookies_of_another_port_do_not_displace_the_sessions_own(dashboard: Dashboard, operator: Signed) -> None:
    """A server on another port can set a cookie of the same name, which then comes first."""
    name = operator.cookie.split("=")[0]
    for header in (
        f"{name}=forged; {operator.cookie}",
        f"{operator.cookie}; {name}=",
        f'{name}="x"; {operator.cookie}',
    ):
        assert dashboard.raw("GET", "/api/hello", operator.headers({"Cookie": header})).status == 200
    assert dashboard.raw("GET", "/api/hello", operator.headers({"Cookie": f"{name}=forged"})).status == 401


def test_a_request_that_anyone_may_make_is_not_read_beyond_a_kilobyte(dashboard: Dashboard) -> None:
    body = b'{"key":"' + b"a" * 1_000_000 + b'"}'
    answer = dashboard.raw("POST", "/api/session", dashboard.own_headers(), body)
    assert (answer.status, answer.reason) == (400, "REQUEST_INVALID")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "CONNECT"])
def test_no_other_method_reaches_an_entry(dashboard: Dashboard, operator: Signed, method: str) -> None:
    for path in ("/", "/api/hello", "/api/send"):
        status = dashboard.raw(method, path, operator.headers()).status
        assert status in (400, 404, 405) or (method, path) == ("HEAD", "/")


def test_the_cookie_alone_opens_nothing(dashboard: Dashboard, operator: Signed) -> None:
    for path in READS:
        answer = dashboard.raw("GET", f"/api/{path}", dashboard.own_headers({"Cookie": operator.cookie}))
        assert (answer.status, answer.reason) == (401, "SESSION_MISSING")
        without_cookie = dashboard.own_headers({"X-Mailroom-Page-Token": operator.token})
        assert dashboard.raw("GET", f"/api/{path}", without_cookie).status == 401


@pytest.mark.parametrize(
    "target",
    [
        "/api/%68ello",
        "/api/hello%2f",
        "/api//hello",
        "/%61pi/hello",
        "/api/../api/hello",
        "/;/api/hello",
        "/api/hello%00",
    ],
)
def test_no_spelling_of_a_path_avoids_the_session(dashboard: Dashboard, target: str) -> None:
    answer = dashboard.raw("GET", target, dashboard.own_headers())
    assert answer.status == 401
    assert "operator" not in answer.json


@pytest.mark.parametrize(
    "target", ["/../server.py", "/%2e%2e/server.py", "/app/../../server.py", "/app/%2e%2e/%2e%2e/guard.py"]
)
def test_no_file_outside_the_assets_is_served(dashboard: Dashboard, operator: Signed, target: str) -> None:
    assert dashboard.raw("GET", target, operator.headers()).status == 404


def test_a_web_socket_is_not_opened_not_even_with_a_session(dashboard: Dashboard, operator: Signed) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for path in ("/", "/api/stream", "/api/hello"):
        assert dashboard.raw("GET", path, upgrade).status in (200, 403), "as if it had not asked"
        assert dashboard.raw("GET", path, upgrade | {"Origin": "http://evil.example"}).status in (200, 403)
    assert dashboard.raw("GET", "/api/hello", operator.headers(upgrade)).status == 200


@pytest.mark.system
def test_another_user_of_the_machine_reads_no_file_and_gets_nothing(dashboard: Dashboard, operator: Signed) -> None:
    """As uid nobody: every file of the dashboard, its links, and each entry of the interface; then the port itself."""
    operator.post("drafts", {"id": KEY, "at_ms": 5, "fields": {"content": "private"}})
    dashboard.new_key()
    for parent in dashboard.directory.parents:  # pytest's own directories are private: only ours are to be tried
        if parent.stat().st_uid == os.geteuid() and parent.is_relative_to("/tmp"):
            parent.chmod(0o755)
    dashboard.directory.chmod(0o755)
    entries = [*(f"GET /api/{path}" for path in READS), *(f"POST /api/{path}" for path in WRITES)]
    files = [str(path) for path in (dashboard.files, *dashboard.files.rglob("*"))]
    assert any("/links/" in file for file in files)
    assert any("/drafts/" in file for file in files)
    attack = [sys.executable, "-c", AS_ANOTHER_USER, json.dumps([dashboard.port, entries, files])]
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *attack],
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["read"] == []
    assert set(found["statuses"]) == {401}
    assert found["cmdline"], "processes of others can be listed"
    assert not any(secret in found["cmdline"] for secret in (operator.token, operator.cookie, "#k="))


def test_every_answer_has_the_strict_headers(dashboard: Dashboard, operator: Signed) -> None:
    answers = [dashboard.raw("GET", target, operator.headers()) for target in ("/", "/app.css", "/api/hello", "/none")]
    answers.append(dashboard.raw("GET", "/api/hello", {"Host": "evil.example"}))
    answers.append(operator.post("send", {"bad": 1}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "trusted-types 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    no_cache, no_store = "no-cache", "no-store"
    caching = [answer.headers["cache-control"] for answer in answers]
    assert caching == [no_cache, no_cache, no_store, no_cache, no_store, no_store]


def test_the_page_names_no_other_host(dashboard: Dashboard) -> None:
    page = dashboard.raw("GET", "/").body.decode()
    assert "http" not in page.replace("http-equiv", "")
    assert "style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="app/main.js"')


# -- links and sessions ------------------------------------------------------------------------------------------------


def test_a_link_works_once_and_its_cookie_is_strict(dashboard: Dashboard) -> None:
    key = dashboard.new_key()
    opened = dashboard.open_key(key)
    assert opened.status == 200
    (cookie,) = opened.cookies
    assert cookie.startswith(f"mailroom_{dashboard.port}=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert not any(attribute.startswith("domain") for attribute in attributes)
    again = dashboard.open_key(key)
    assert (again.status, again.reason, again.cookies) == (401, "LINK_USED", [])


def test_the_key_of_a_link_is_in_no_file_argument_or_log(dashboard: Dashboard) -> None:
    link = dashboard.link()
    key = link.split("#k=")[1]
    assert link.startswith(f"{dashboard.url}#k=")  # behind the #, which browsers send to nobody
    assert not any(key in path.read_text(errors="replace") for path in dashboard.files.rglob("*") if path.is_file())
    assert key not in dashboard.errors()
    assert dashboard.process is not None
    assert key.encode() not in Path(f"/proc/{dashboard.process.pid}/cmdline").read_bytes()


def test_a_revoked_session_ends_with_its_stream(dashboard: Dashboard, operator: Signed) -> None:
    victim = dashboard.sign_in()
    session = victim.get("hello").json["session"]
    with stream(victim) as frames:
        assert next(frames)[0] == "hello"
        assert operator.post("session/revoke", {"session": session}).json == {"found": True}
        assert all(name in ("heartbeat", "event") for name, _, _ in frames)  # and then it is over
    assert victim.get("hello").status == 401


def test_the_sixth_stream_of_a_browser_is_refused(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    with stream(browser), stream(browser), stream(browser), stream(browser), stream(browser):
        answer = browser.get("stream")
        assert (answer.status, answer.reason) == (429, "TOO_MANY_STREAMS")
    wait_until(lambda: _opens(browser), "the streams that were closed are forgotten")


def _opens(browser: Signed) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", browser.dashboard.port, timeout=BOUND_SEC)
    connection.request("GET", "/api/stream", headers=browser.headers())
    status = connection.getresponse().status
    connection.close()
    return status == 200


def test_an_observer_reads_and_cannot_write(observer: Signed, fake: InThread) -> None:
    before = fake.do(lambda daemon: (len(daemon.messages), len(daemon.requests["MarkOffered"])))
    assert observer.get("hello").json["role"] == "observer"
    assert observer.get("situation").status == 200
    assert observer.get("audit").reason == "OBSERVER_ONLY"
    for path in WRITES:
        if path != "session/end":
            answer = observer.post(path, submission())
            assert (answer.status, answer.reason) == (403, "OBSERVER_ONLY"), path
    assert fake.do(lambda daemon: (len(daemon.messages), len(daemon.requests["MarkOffered"]))) == before


@pytest.mark.slow
def test_a_read_only_dashboard_makes_everybody_an_observer(fake: InThread, tmp_path: Path) -> None:
    with running_dashboard(fake.address, tmp_path, "--read-only") as running:
        browser = running.sign_in()
        assert browser.get("hello").json["role"] == "observer"
        assert browser.post("send", submission()).reason == "OBSERVER_ONLY"


@pytest.mark.slow
def test_management_needs_its_option_and_the_name_typed(fake: InThread, operator: Signed, tmp_path: Path) -> None:
    with running_dashboard(fake.address, tmp_path) as running:
        browser = running.sign_in()
        assert browser.post("manage/clear", {"agent": "bob", "typed": "bob"}).reason == "MANAGEMENT_OFF"
    assert operator.post("manage/clear", {"agent": "bob", "typed": "bo"}).reason == "NOT_CONFIRMED"
    assert not fake.do(lambda daemon: daemon.requests["ClearMailbox"])
    message_id = fake.do(lambda daemon: daemon.deliver("gone", "x"))
    body = {"agent": "gone", "typed": "gone", "ids": [message_id]}
    assert operator.post("manage/acknowledge", body).json["acknowledged_ids"] == [message_id]
    latest = operator.get("audit").json["entries"][0]
    assert (latest["action"], latest["agent"], latest["ids"]) == ("acknowledge for another", "gone", [message_id])
    assert fake.do(lambda daemon: daemon.requests["AcknowledgeMessages"][-1].by) == "dashboard"


# -- mail --------------------------------------------------------------------------------------------------------------


def test_a_send_that_is_repeated_is_one_message_and_is_audited(operator: Signed, fake: InThread) -> None:
    body = submission(to=["bob", "ana"], content="once", thread="t", priority="high", metadata={"a": 1}, ttl_sec=60)
    first, second = operator.post("send", body).json["results"], operator.post("send", body).json["results"]
    assert [one["outcome"] for one in first] == ["sent", "sent"]
    assert [one["id"] for one in first] == [one["id"] for one in second]
    stored = fake.do(lambda daemon: [m for m in daemon.messages.values() if m.content == "once"])
    assert {(message.recipient, message.sender, message.thread_id) for message in stored} == {
        ("bob", "dashboard", "t"),
        ("ana", "dashboard", "t"),
    }
    entry = operator.get("audit").json["entries"][0]
    assert (entry["action"], [one["to"] for one in entry["results"]]) == ("send", ["bob", "ana"])


def test_one_refused_recipient_does_not_stop_the_others(operator: Signed) -> None:
    body = submission(key=KEY.replace("8", "7"), to=["bob", ".bad"])
    good, bad = operator.post("send", body).json["results"]
    assert good["outcome"] == "sent"
    assert (bad["outcome"], bad["error"]["reason"]) == ("refused", "RECIPIENT_INVALID")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "x"},
        {"key": None},
        {"key": KEY + "\n"},
        {"content": "\ud800"},
        {"thread": "\ud800"},
        {"metadata": {"a": 10**400}},
        {"to": []},
        {"to": ["b"] * 101},
        {"content": ""},
        {"content": 1},
        {"extra": 1},
        {"ttl_sec": 0},
        {"ttl_sec": 1e300},
        {"metadata": []},
        {"priority": "soon"},
    ],
)
def test_an_invalid_submission_is_refused_with_a_sentence(operator: Signed, changes: dict[str, Any]) -> None:
    answer = operator.post("send", submission(**changes))
    refused = answer.json if answer.status == 400 else answer.json["results"][0]["error"]
    assert refused["message"]
    assert refused["code"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"key":"' + b"a" * 9_000_000 + b'"}'])
def test_a_body_that_is_no_submission_is_refused(dashboard: Dashboard, operator: Signed, body: bytes) -> None:
    answer = dashboard.raw("POST", "/api/send", operator.headers(), body)
    assert (answer.status, answer.reason) == (400, "REQUEST_INVALID")


def test_an_outcome_that_is_not_known_is_not_called_a_refusal(operator: Signed, fake: InThread) -> None:
    body = submission(key=KEY.replace("8", "6"), content="later")

    def outcome_of(code: grpc.StatusCode | None) -> str:
        def refuse_either(daemon: FakeDaemon) -> None:  # a send shortly after others shares their stream
            for rpc in ("SendMessage", "SendMessages"):
                daemon.refusals[rpc].clear()
                daemon.refuse(rpc, *([Refusal(code)] if code else []))

        fake.do(refuse_either)
        return operator.post("send", body).json["results"][0]["outcome"]

    for code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        assert outcome_of(code) == "unknown"
    assert outcome_of(grpc.StatusCode.FAILED_PRECONDITION) == "refused"
    assert outcome_of(None) == "sent"
    assert len(fake.do(lambda daemon: [m for m in daemon.messages.values() if m.content == "later"])) == 1


def test_the_stream_continues_after_any_event_without_gap_or_repeat(operator: Signed, fake: InThread) -> None:
    known = fake.do(lambda daemon: [daemon.deliver("bob", f"n{number}") for number in range(5)])
    wait_until(lambda: operator.get("hello").json["position"] >= known[-1], "the dashboard has the events")
    for seen in range(5):
        with stream(operator, known[seen]) as frames:
            missed = known[seen + 1 :]
            live = fake.do(lambda daemon: daemon.deliver("bob", "live"))
            events = (frame for frame in frames if frame[0] == "event")
            assert [next(events)[1] for _ in range(len(missed) + 1)] == [*missed, live]
            known.append(live)


def test_a_position_from_another_life_of_the_daemon_is_reset(operator: Signed) -> None:
    with stream(operator, "7" * 16) as frames:
        assert [next(frames)[0] for _ in range(2)] == ["hello", "reset"]
    assert operator.dashboard.raw("GET", "/api/stream", operator.headers({"Last-Event-ID": "x"})).status == 400


def test_a_list_carries_previews_and_the_pane_the_content(operator: Signed, fake: InThread) -> None:
    content = "<b>\x1b[31m" + "long " * 1000
    message_id = fake.do(lambda daemon: daemon.deliver("carl", content, sender="eve"))
    (row,) = operator.get("messages?to=carl&from=eve").json["messages"]
    assert (row["id"], len(row["preview"]), row["size"]) == (message_id, 400, len(content))
    assert "content" not in row
    message = operator.get(f"message?id={message_id}").json
    assert message["content"] == content
    assert operator.get("messages?to=carl&from=nobody").json["messages"] == []
    assert operator.get("message?id=ffff").status == 404


def test_the_stream_fetches_previews_only_and_says_how_large_the_whole_is(operator: Signed, fake: InThread) -> None:
    content = "long " * 100_000
    with stream(operator) as frames:
        message_id = fake.do(lambda daemon: daemon.deliver("carl", content))
        event = next(frame for frame in frames if frame[0] == "event")
    assert (event[1], event[2]["size"], len(event[2]["preview"])) == (message_id, len(content), 400)
    assert all(fake.do(lambda daemon: [one.preview_bytes for one in daemon.requests["Subscribe"]]))


def test_the_page_learns_of_restarts_activity_and_of_its_own_version(operator: Signed, fake: InThread) -> None:
    fake.do(lambda daemon: daemon.deliver("busy", "x", sender="ana"))
    wait_until(
        lambda: any(row["in"] for row in operator.get("situation").json["agents"] if row["name"] == "busy"),
        "the dashboard has counted the message",
    )
    situation = operator.get("situation").json
    (busy,) = [row for row in situation["agents"] if row["name"] == "busy"]
    assert (busy["in"], busy["out"], busy["bars"][-1]) == (1, 0, 1)
    assert situation["incidents"] == [], "the fake daemon's workers have no time of start"
    assert len(operator.get("hello").json["page"]) == 16


def test_the_situation_has_every_event_that_the_page_has_seen(operator: Signed, fake: InThread) -> None:
    assert operator.get("situation").json["mine"] == []
    with stream(operator) as frames:
        message_id = fake.do(lambda daemon: daemon.deliver("dashboard", "to the operator"))
        assert next(frame for frame in frames if frame[0] == "event")[1] == message_id
        assert [message["id"] for message in operator.get("situation").json["mine"]] == [message_id]


def test_pages_share_the_situation_until_something_happens(operator: Signed, fake: InThread) -> None:
    def looks() -> int:
        return fake.do(lambda daemon: len(daemon.requests["ListAgents"]))

    def looks_for_three_pages() -> int:
        before = looks()
        for _ in range(3):
            operator.get("situation")
        return looks() - before

    fake.do(lambda daemon: daemon.deliver("situated", "x"))
    wait_until(lambda: not looks_for_three_pages(), "the message has been announced, and pages share what was found")
    before = looks()
    operator.post("manage/clear", {"agent": "situated", "typed": "situated"})
    operator.get("situation")
    assert looks() == before + 1


def test_a_mailbox_is_cleared_in_the_operators_name(operator: Signed, fake: InThread) -> None:
    fake.do(lambda daemon: daemon.deliver("full", "x"))
    assert operator.post("manage/clear", {"agent": "full", "typed": "full"}).json == {"deleted": 1}
    assert fake.do(lambda daemon: daemon.requests["ClearMailbox"][-1].by) == "dashboard"


def test_drafts_are_shared_by_the_operators_browsers_and_belong_to_no_observer(
    dashboard: Dashboard, operator: Signed, observer: Signed
) -> None:
    draft = {"id": KEY, "at_ms": 5, "fields": {"to": ["bob"], "content": "half a sent\u0000"}}
    assert operator.post("drafts", draft).status == 200
    assert operator.post("drafts", draft | {"at_ms": 4, "fields": {"content": "older"}}).status == 200
    other = dashboard.sign_in()
    assert other.get("drafts").json == {"drafts": [draft]}
    assert observer.get("drafts").reason == "OBSERVER_ONLY"
    (file,) = (dashboard.files / "drafts").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert other.post("drafts/remove", {"id": KEY}).status == 200
    assert operator.get("drafts").json == {"drafts": []}


@pytest.mark.parametrize("draft_id", ["../../sessions", "x", "", KEY + "/..", KEY.upper(), KEY + "\n"])
def test_the_id_of_a_draft_is_no_path(dashboard: Dashboard, operator: Signed, draft_id: str) -> None:
    before = (dashboard.files / "sessions.json").read_bytes()
    assert operator.post("drafts", {"id": draft_id, "at_ms": 1, "fields": {}}).reason == "REQUEST_INVALID"
    assert operator.post("drafts/remove", {"id": draft_id}).reason == "REQUEST_INVALID"
    assert (dashboard.files / "sessions.json").read_bytes() == before


def test_a_list_is_exported_whole_in_the_form_of_the_command(operator: Signed, fake: InThread) -> None:
    ids = [fake.do(lambda daemon, n=number: daemon.deliver("exported", f"line\n{n}")) for number in range(450)]
    answer = operator.get("export?to=exported&from=dashboard")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    messages = [json.loads(line) for line in answer.body.splitlines()]
    assert [message["id"] for message in messages] == ids[::-1]
    assert messages[0]["content"] == "line\n449"
    assert set(messages[0]) >= {"id", "recipient", "sender", "content", "metadata", "state", "timestamp"}
    fake.do(
        lambda daemon: daemon.refuse("ListMessages", Refusal(grpc.StatusCode.INVALID_ARGUMENT, "QUERY_TOO_LONG", "no"))
    )
    refused = operator.get("export?q=x")
    assert (refused.status, refused.reason) == (400, "QUERY_TOO_LONG")


def test_traffic_is_counted_by_the_daemon(operator: Signed, fake: InThread) -> None:
    fake.do(lambda daemon: [daemon.deliver("to-count", "x", sender="counter") for _ in range(3)])
    answer = operator.get("traffic?hours=0.25").json
    assert {"from": "counter", "to": "to-count", "count": 3} in answer["pairs"]
    assert answer["complete"] is True
    assert fake.do(lambda daemon: daemon.requests["GetTraffic"][-1].period.seconds) == 900
    assert operator.get("traffic?hours=x").reason == "REQUEST_INVALID"


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sigterm_ends_the_server_and_its_streams_at_once(fake: InThread, tmp_path: Path) -> None:
    with running_dashboard(fake.address, tmp_path) as running:
        browser = running.sign_in()
        with stream(browser) as frames:
            next(frames)
            assert running.stop(signal.SIGTERM) in (0, 128 + signal.SIGTERM, -signal.SIGTERM)
            assert list(frames) is not None
        assert running.errors().count("\n") <= 2


@pytest.mark.slow
def test_a_second_dashboard_on_the_port_is_told_about_the_first(dashboard: Dashboard) -> None:
    done = subprocess.run(
        command("dashboard", "--listen", dashboard.host, "--no-open"),
        env=dashboard.environment(),
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert done.returncode == 1
    assert "your dashboard is running already" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "0.0.0.0:8034"], "not a loopback address"),
        (["--public-url", "http://mail.example/"], "not an https URL"),
        (["--as", "no name"], "not an agent's name"),
        (["--read-only", "--manage"], "nothing to manage"),
        (["--stuck-after", "0"], "must be more than zero"),
        (["link", "--listen", "127.0.0.1:1"], "no dashboard of this user"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = subprocess.run(
        command("dashboard", *arguments),
        env=Dashboard("unix:/nowhere", tmp_path).environment(),
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_links_have_the_name_that_was_chosen_and_every_loopback_name_is_answered(
    fake: InThread, tmp_path: Path
) -> None:
    with running_dashboard(fake.address, tmp_path, "--name", "mailroom.localhost") as running:
        assert running.first_link.startswith(f"http://mailroom.localhost:{running.port}/#k=")
        assert running.link().startswith(f"http://mailroom.localhost:{running.port}/#k=")
        for name in ("mailroom.localhost", "localhost", "127.0.0.1"):
            assert running.raw("GET", "/", {"Host": f"{name}:{running.port}"}).status == 200


@pytest.mark.slow
def test_without_the_extra_the_command_names_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA, "dashboard", "--no-open"],
        env=Dashboard("unix:/nowhere", tmp_path).environment(),
        capture_output=True,
        text=True,
        timeout=BOUND_SEC,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'mailroomd[dashboard]'" in done.stderr


@pytest.mark.slow
def test_without_a_daemon_the_page_is_served_and_says_so(tmp_path: Path) -> None:
    with running_dashboard(f"unix:{tmp_path}/none.sock", tmp_path) as running:
        browser = running.sign_in()
        assert running.raw("GET", "/").status == 200
        wait_until(
            lambda: browser.get("hello").json["reason"] == "DAEMON_NOT_RUNNING", "the dashboard gives up looking"
        )
        hello = browser.get("hello").json
        assert (hello["live"], hello["health"]) == (False, "unreachable")
        assert "mailroomd" in hello["sentence"]
        answer = browser.get("situation")
        assert (answer.status, answer.reason) == (503, "DAEMON_NOT_RUNNING")


@pytest.mark.slow
def test_a_daemon_that_is_back_is_shown_as_serving_between_two_heartbeats(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/mailroom.sock"
    with running_dashboard(address, tmp_path) as running, stream(running.sign_in()) as frames:
        assert next(frames)[2]["live"] is False
        with in_thread(tmp_path) as fake:
            assert fake.address == address
            told = (data for event, _, data in frames if event in {"hello", "heartbeat"})
            back = next(data for data in told if data["live"])
            serving = back if back["health"] == "serving" else next(told)
            assert serving["health"] == "serving"
            assert serving["now_ms"] - back["now_ms"] < HEARTBEAT_SEC * 1000
