"""sound_evidence — a small daemon that kept every promise: what tests of the checker tamper with.

Two messages for r0, one for r1, which was read and never answered, one for a team, one that expired and one whose file
was taken; a stream of r0, one of all mailboxes that began behind the first message, and one of the sender's receipts;
one response; an alias; a clearing. Everything has a constant of its own, so that a test can say what it touches.
"""

__all__ = [
    "EXPIRED_ONE",
    "FIRST",
    "RESPONSE",
    "SECOND",
    "TAKEN_ONE",
    "TEAM_ONE",
    "THIRD",
    "inbox_file",
    "sound_evidence",
]

import json

from support.faults.evidence import Evidence, Response, Sent, Step, Stored, Stream
from support.faults.load_context import digest_of
from support.faults.load_plan import (
    EXPIRING_MAILBOX,
    MOVING_SESSION,
    STEADY_AGENT,
    STEADY_SESSION,
    TAKEN_MAILBOX,
    TEAM_MAILBOX,
)

FIRST, SECOND, THIRD, TEAM_ONE, EXPIRED_ONE, TAKEN_ONE = (0x0198_0000_0000_0000 + (n << 20) for n in range(1, 7))
FILED, READ, EXPIRED, OVERDUE = 2, 4, 5, 6
SENDER = "s"
EXPIRES_MS = 1000
SWEPT_SEC = 10.0  # when the clearing began; everything that is there was sent before, elsewhere
RESPONSE = Response(THIRD + 50, "o0", "1.json", 1)
_MAIL = {
    FIRST: ("r0", "one", FILED),
    SECOND: ("r1", "two", READ),
    THIRD: ("r0", "three", FILED),
    TEAM_ONE: (TEAM_MAILBOX, "team", FILED),
    EXPIRED_ONE: (EXPIRING_MAILBOX, "soon over", EXPIRED),
    TAKEN_ONE: (TAKEN_MAILBOX, "take me", READ),
}
_DIGESTS = {number: digest_of(content) for number, (_, content, _) in _MAIL.items()}
_LATER_STEPS = (  # after all messages were filed
    Step(SECOND + 100, SECOND, READ),
    Step(EXPIRED_ONE + 100, EXPIRED_ONE, EXPIRED),
    Step(TAKEN_ONE + 100, TAKEN_ONE, READ),
    Step(TAKEN_ONE + 110, SECOND, OVERDUE),
)


def inbox_file(number: int, mailbox: str, content: str) -> bytes:
    """Returns what the checker has to find in a file."""
    body = {"id": f"{number:016x}", "session_id": mailbox, "from": SENDER, "content": content}
    return json.dumps(body).encode()


def sound_evidence() -> Evidence:
    """Returns evidence that breaks nothing, new each time."""
    counts = {"r0": (2, 2), "r1": (1, 0), TEAM_MAILBOX: (1, 1), EXPIRING_MAILBOX: (1, 0), TAKEN_MAILBOX: (1, 0)}
    return Evidence(
        sends=[
            Sent(
                f"key {number}",
                number,
                SENDER,
                mailbox,
                _DIGESTS[number],
                _DIGESTS[number],
                FILED,
                to=mailbox,
                has_deadline=number == SECOND,
            )
            for number, (mailbox, _, _) in _MAIL.items()
        ],
        streams=_streams(),
        handed=[("r1", SECOND, _DIGESTS[SECOND])],
        asked={SECOND, TAKEN_ONE},
        took={TAKEN_ONE},
        acknowledged=[("r1", SECOND)],
        clearings=[(SWEPT_SEC, True)],
        aliases_asked=[(STEADY_SESSION, STEADY_AGENT), (MOVING_SESSION, "r4"), (MOVING_SESSION, "")],
        aliases_set=[(STEADY_SESSION, STEADY_AGENT), (MOVING_SESSION, "r4"), (MOVING_SESSION, "")],
        leaving=[("o0", "1.json", 1)],
        left=[("o0", "1.json", 1)],
        messages={number: _stored(number) for number in _MAIL},
        keys={(SENDER, f"key {number}"): number for number in _MAIL},
        last_id=TAKEN_ONE + 110,
        counters=dict(counts),
        stats=dict(counts),
        first_unread={"r0": [FIRST, THIRD], "r1": []},
        files={
            (mailbox, f"{number:016x}.json"): inbox_file(number, mailbox, content)
            for number, (mailbox, content, state) in _MAIL.items()
            if state < READ
        },
        team_entries={TEAM_MAILBOX: [TEAM_ONE]},
        receipts=[(step, SENDER) for step in _LATER_STEPS],
        responses=[RESPONSE],
        aliases={STEADY_SESSION: STEADY_AGENT},
        commits=list(_MAIL),
    )


def _streams() -> list[Stream]:
    """Returns what the streams showed: r0's, the one of all mailboxes, the sender's receipts, the responses."""
    shown = {number: (number, mailbox, _DIGESTS[number]) for number, (mailbox, _, _) in _MAIL.items()}
    steps = [*(Step(number + 1, number, FILED) for number in _MAIL), *_LATER_STEPS]
    return [
        Stream("r0", FIRST - 1, [shown[FIRST], shown[THIRD]], [FIRST, THIRD]),
        _stream_of_all([shown[number] for number in list(_MAIL)[1:]], steps),
        Stream(
            SENDER,
            FIRST - 1,
            events=sorted(step.id for step in steps),
            receipts=sorted(steps),
            receipts_of=SENDER,
        ),
        Stream("o0", FIRST - 1, events=[RESPONSE.id], responses=[RESPONSE]),
    ]


def _stored(number: int) -> Stored:
    """Returns the database's row of a message."""
    mailbox, _, state = _MAIL[number]
    return Stored(
        mailbox,
        SENDER,
        _DIGESTS[number],
        state,
        filed_id=number + 1,
        expires_ms=EXPIRES_MS if number == EXPIRED_ONE else 0,
        ended_ms=EXPIRES_MS + 1 if state >= READ else 0,
    )


def _stream_of_all(messages: list[tuple[int, str, str]], steps: list[Step]) -> Stream:
    """Returns the stream of everybody, which began behind the first message."""
    receipts = sorted(step for step in steps if step.id > FIRST)
    events = sorted([*(number for number, *_ in messages), *(step.id for step in receipts), RESPONSE.id])
    return Stream(None, FIRST, messages, events, receipts, [RESPONSE], receipts_of="")
