"""Access — tokens, TLS and mutual TLS."""

import time

from conformance.scenario import BROKEN, LIBRARY, Run, message_of, scenario


@scenario("a call over TCP, with a token")
def tcp(run: Run) -> None:
    """The token proves the sender's name."""
    alice, bob = run.name("alice"), run.name("bob")
    message = run.agent(alice).send(bob, "signed", sender=alice)["message"]
    assert message["senderVerified"] is True, message
    (found,) = run.agent(bob).call("CheckInbox", {"agent": bob})["messages"]
    assert found["content"] == "signed"


@scenario("tokens: missing, unknown, expired, of another agent, of an agent where an administrator is needed")
def tokens(run: Run) -> None:
    """Each has its code and reason."""
    bob, guarded = run.name("bob"), run.main
    target = f"127.0.0.1:{guarded.port}"
    expired = guarded.token(bob, ttl_sec=0.001)
    time.sleep(0.01)
    for token, code, reason in (
        (None, "UNAUTHENTICATED", "TOKEN_MISSING"),
        ("mr_00000000_" + "x" * 43, "UNAUTHENTICATED", "TOKEN_INVALID"),
        (expired, "UNAUTHENTICATED", "TOKEN_EXPIRED"),
    ):
        error = run.open(target, token=token).refusal("CheckInbox", {"agent": bob})
        assert (error["code"], error["reason"]) == (code, reason), error
    client = run.agent(bob)
    error = client.refusal("SendMessage", {"recipient": "x", "sender": "somebody-else", "content": "x"})
    assert (error["code"], error["reason"]) == ("PERMISSION_DENIED", "NOT_YOURS"), error
    error = client.refusal("GetStatus")
    assert (error["code"], error["reason"]) == ("PERMISSION_DENIED", "ADMIN_ONLY"), error
    admin = run.open(target, token=guarded.token(None))
    assert len(admin.call("GetStatus")["workers"]) >= 3


@scenario("while the daemon cannot read its tokens, it lets nobody in, and says so")
def unreadable_tokens(run: Run) -> None:
    """UNAVAILABLE with a delay; the same connection works when they can be read again."""
    bob = run.name("bob")
    client = run.agent(bob, "stalled")
    assert not client.call("CheckInbox", {"agent": bob}).get("messages")
    with run.daemons["stalled"].without_tokens():
        error = client.refusal("CheckInbox", {"agent": bob}, 3 if run.is_sdk else 20)
    assert (error["code"], error["reason"]) == ("UNAVAILABLE", "STORAGE_FAILED"), error
    assert error["retry_ms"] > 0, error
    assert not client.call("CheckInbox", {"agent": bob}).get("messages")


@scenario("a token that expires in mid-stream ends the stream")
def expiring(run: Run) -> None:
    """TOKEN_EXPIRED before the next message is delivered; an SDK does not retry it."""
    bob, guarded = run.name("bob"), run.main
    token = guarded.token(bob, ttl_sec=2.5)
    stream = run.open(f"127.0.0.1:{guarded.port}", token=token).live(bob)
    owner = run.owner()
    owner.send(bob, "in time")
    assert message_of(stream.expect())["content"] == "in time"
    time.sleep(2.6)
    owner.send(bob, "too late")
    end = stream.expect_end()
    assert (end["code"], end["reason"]) == ("UNAUTHENTICATED", "TOKEN_EXPIRED"), end


@scenario("a call over TLS, with the authority of the daemon's certificate")
def tls(run: Run) -> None:
    """And none without it, or with a host name that the certificate does not cover."""
    alice, ca = run.name("alice"), run.daemons.certificates["ca.crt"]
    assert run.agent(alice, "tls", "localhost", ca=ca).send(run.name("bob"), "secret", sender=alice)
    wrong = run.agent(alice, "tls", "127.0.0.1", ca=ca)  # the certificate is for localhost
    error = wrong.refusal("CheckInbox", {"agent": alice}, 4)
    assert error["code"] in (*BROKEN, "DEADLINE_EXCEEDED"), error


@scenario("a plaintext call to a TLS port fails, and sends no token", LIBRARY)
def plaintext(run: Run) -> None:
    """The connection ends in the handshake."""
    error = run.agent(run.name("alice"), "tls", "localhost").refusal("CheckInbox", {"agent": "x"}, 4)
    assert error["code"] in (*BROKEN, "DEADLINE_EXCEEDED"), error


@scenario("a call over mutual TLS, with a certificate of the client's own")
def mutual_tls(run: Run) -> None:
    """And none without it."""
    alice, made = run.name("alice"), run.daemons.certificates
    files = {"ca": made["ca.crt"], "cert": made["client.crt"], "key": made["client.key"]}
    assert run.agent(alice, "mutual tls", "localhost", **files).send(run.name("bob"), "secret", sender=alice)
    nobody = run.agent(alice, "mutual tls", "localhost", ca=made["ca.crt"])
    error = nobody.refusal("CheckInbox", {"agent": alice}, 4)
    assert error["code"] in (*BROKEN, "DEADLINE_EXCEEDED"), error
