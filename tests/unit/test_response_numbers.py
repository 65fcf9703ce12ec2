"""A command response reaches its subscribers with the numbers that its agent wrote."""

import json

import pytest
from google.protobuf import json_format
from mailroomd.gateway.conversion import response_to_proto
from mailroomd.model.announcement import Response
from mailroomd.model.states import DeliveryState


def response(body: str) -> Response:
    return Response(7, "a", "a", "1.json", DeliveryState.FILED, 1, body.encode())


@pytest.mark.parametrize(
    "number",
    [
        "2512292042121000001",
        "-9007199254740993",
        "18446744073709551615",
        "123456789012345678901234567890",
        "0.12345678901234567890",
        "1e400",
        "90071992547409930e-1",
    ],
)
@pytest.mark.parametrize("template", ['{{"n": {}}}', '{{"a": [1, {{"b": [{}]}}]}}'])
def test_a_number_that_a_double_would_change_is_sent_as_json_text(number: str, template: str) -> None:
    body = template.format(number)
    proto = response_to_proto(response(body))
    assert (proto.body_json, proto.HasField("body")) == (body, False)


@pytest.mark.parametrize(
    "number", ["0", "-1", "9007199254740992", "1125899906842624.5", "1e3", "0.1", "1.5e300", "1000000000000000000000"]
)
def test_an_exact_number_is_sent_in_the_struct(number: str) -> None:
    proto = response_to_proto(response(f'{{"n": {number}, "text": "2512292042121000001 1e400"}}'))
    assert proto.body_json == ""
    assert json_format.MessageToDict(proto.body)["n"] == json.loads(number)
