"""The token and TLS files that a client uses, and the peers that never receive them."""

from pathlib import Path

import pytest
from mailroom import InvalidArgument
from mailroom.addresses import Address
from mailroom.credentials import Credentials, find_credentials

TOKEN = "mr_0123abcd_" + "s" * 43


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a token, as `mailroom token create --save` makes it."""
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def test_without_credentials_nothing_is_sent() -> None:
    found = find_credentials({}, {})
    assert found == Credentials()
    assert found.metadata == ()


def test_arguments_take_precedence_over_the_environment(file: Path) -> None:
    environ = {"MAILROOM_TOKEN": "of-the-environment", "MAILROOM_TOKEN_FILE": str(file)}
    assert find_credentials({"token": "of-the-program"}, environ).token == "of-the-program"
    assert find_credentials({"token_file": file}, environ).token == TOKEN
    assert find_credentials({}, environ).token == "of-the-environment"
    assert find_credentials({}, {"MAILROOM_TOKEN_FILE": str(file)}).token == TOKEN
    assert find_credentials({"token": None, "token_file": None}, {}).token == ""


def test_the_token_is_sent_as_a_bearer_token() -> None:
    assert find_credentials({"token": f" {TOKEN}\n"}, {}).metadata == (("authorization", f"Bearer {TOKEN}"),)


def test_a_secret_is_not_in_a_repr() -> None:
    shown = repr(Credentials(TOKEN, b"ca", b"cert", b"private key"))
    assert TOKEN not in shown
    assert "private key" not in shown


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "größe", "nul\0"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(InvalidArgument, match="MAILROOM_TOKEN does not contain a token") as caught:
        find_credentials({}, {"MAILROOM_TOKEN": text})
    assert caught.value.reason == "TOKEN_INVALID"
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("token_file", "MAILROOM_TOKEN_FILE"),
        ("tls_ca", "MAILROOM_TLS_CA"),
        ("tls_cert", "MAILROOM_TLS_CLIENT_CERT"),
        ("tls_key", "MAILROOM_TLS_CLIENT_KEY"),
    ],
)
def test_a_missing_file_is_named(name: str, variable: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{name}: /missing cannot be read"):
        find_credentials({name: "/missing"}, {})  # pyright: ignore[reportArgumentType] - one of the keys
    with pytest.raises(InvalidArgument, match=f"^{variable}: /missing cannot be read"):
        find_credentials({}, {variable: "/missing"})


def test_a_certificate_requires_its_key_and_an_authority(file: Path) -> None:
    assert find_credentials({"tls_ca": file, "tls_cert": file, "tls_key": file}, {}).cert == file.read_bytes()
    for options, missing in (
        ({"tls_ca": file, "tls_cert": file}, "tls_key"),
        ({"tls_ca": file, "tls_key": file}, "tls_cert"),
        ({"tls_cert": file, "tls_key": file}, "tls_ca"),
    ):
        with pytest.raises(InvalidArgument, match=f"{missing} is missing"):
            find_credentials(options, {})  # pyright: ignore[reportArgumentType] - all of them are keys


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/a.sock"])
def test_on_this_machine_a_token_needs_no_tls(address: str) -> None:
    assert not Credentials(TOKEN).uses_tls(Address(address))


@pytest.mark.parametrize("address", ["10.0.0.7:1", "mail.example.org:1", "[2001:db8::1]:1", "0.0.0.0:1"])
def test_over_a_network_a_token_requires_tls(address: str) -> None:
    with pytest.raises(InvalidArgument, match="others on the network could read the token"):
        Credentials(TOKEN).uses_tls(Address(address))
    assert Credentials(TOKEN, ca=b"authority").uses_tls(Address(address))
    assert not Credentials().uses_tls(Address(address))


def test_tls_is_used_over_tcp_only() -> None:
    assert Credentials(ca=b"authority").uses_tls(Address("127.0.0.1:1"))
    assert not Credentials(ca=b"authority").uses_tls(Address("unix:/run/a.sock"))


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_token_is_refused_instead_of_acting_as_the_owner(text: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text(text)
    for options, environ in (
        ({"token": text}, {}),
        ({"token_file": empty}, {}),
        ({}, {"MAILROOM_TOKEN": text}),
        ({}, {"MAILROOM_TOKEN_FILE": str(empty)}),
    ):
        with pytest.raises(InvalidArgument, match="is empty: give a token, or none at all"):
            find_credentials(options, environ)  # pyright: ignore[reportArgumentType] - all of them are keys


@pytest.mark.parametrize("name", ["token", "token_file", "tls_ca", "tls_cert", "tls_key"])
@pytest.mark.parametrize("form", ["option", "variable"])
def test_an_empty_access_option_is_refused_and_an_absent_one_is_not(name: str, form: str) -> None:
    prefix = "MAILROOM_TLS_CLIENT_" if name in ("tls_cert", "tls_key") else "MAILROOM_"
    variable = prefix + name.removeprefix("tls_").upper() if prefix.endswith("CLIENT_") else prefix + name.upper()
    options, environ = ({name: ""}, {}) if form == "option" else ({}, {variable: ""})
    with pytest.raises(InvalidArgument, match=r"is empty|cannot be read"):
        find_credentials(options, environ)  # pyright: ignore[reportArgumentType] - all of them are keys
    assert find_credentials({}, {}) == Credentials()
