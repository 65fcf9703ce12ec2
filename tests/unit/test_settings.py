"""Each setting has one declaration, and every text is parsed or refused with a sentence."""

import pickle
from pathlib import Path

import pytest
from mailroomd.model import quantities
from mailroomd.model.settings import Intensity, Settings, default_listen, settings_table


def test_flag_key_and_variable_derive_from_the_field_name() -> None:
    names = {setting.field: (setting.flag, setting.key, setting.variable) for setting in settings_table()}
    assert names["stuck_after_sec"] == ("--stuck-after", "stuck-after", "MAILROOM_STUCK_AFTER")
    assert names["loop_guard_per_min"] == ("--loop-guard", "loop-guard", "MAILROOM_LOOP_GUARD")
    assert names["table_bytes"] == ("--table-size", "table-size", "MAILROOM_TABLE_SIZE")
    assert names["state_dir"] == ("--state-dir", "state-dir", "MAILROOM_STATE_DIR")


def test_the_flags_do_not_change() -> None:
    assert [setting.flag for setting in settings_table()] == [
        "--root",
        "--state-dir",
        "--listen",
        "--hub",
        "--auth",
        "--tls-cert",
        "--tls-key",
        "--tls-client-ca",
        "--gateways",
        "--stuck-after",
        "--max-restarts",
        "--max-unread",
        "--loop-guard",
        "--max-disk-size",
        "--warn-disk-size",
        "--client-rate",
        "--client-streams",
        "--client-in-flight-size",
        "--owner-streams",
        "--keep-read",
        "--sweep-every",
        "--forget-agents",
        "--hub-accept",
        "--hub-deny",
        "--max-forward-size",
        "--table-size",
        "--table-mailboxes",
        "--log-level",
        "--log-format",
        "--metrics",
        "--trace",
    ]


def test_the_documented_default_is_the_actual_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings()
    for setting in settings_table():
        if setting.field not in ("state_dir", "listen"):
            value = setting.parse(setting.shown_default)
            assert ((value,) if setting.repeatable else value) == getattr(settings, setting.field)


def test_the_state_directory_follows_an_absolute_xdg_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "/var/tmp/state")
    assert Settings().state_dir == Path("/var/tmp/state/mailroom")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/ignored")
    assert Settings().state_dir == tmp_path / ".local/state/mailroom"


def test_settings_can_be_sent_to_a_worker() -> None:
    settings = Settings(listen=("127.0.0.1:0",))
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_default_socket_is_in_a_usable_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state_dir = tmp_path / "state"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_listen(state_dir) == f"unix:{tmp_path}/mailroom/mailroom.sock"
    for unusable in ("", "relative", str(tmp_path / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
        assert default_listen(state_dir) == f"unix:{state_dir}/mailroom.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_listen(state_dir) == f"unix:{state_dir}/mailroom.sock"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("10s", 10), ("0.5", 0.5), ("500ms", 0.5), ("5m", 300), ("24h", 86400), ("7d", 604800)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert quantities.duration_sec(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "ten", "10 sec", "1h30m", "nan", "inf", "9" * 400, "0ms"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration like 10s"):
        quantities.duration_sec(text)


def test_sizes_have_binary_units_and_limits() -> None:
    parse = quantities.size_bytes(8 << 20, 64 << 30)
    assert parse("64MiB") == 64 << 20
    assert parse("8388608") == 8 << 20
    assert parse("1GiB") == 1 << 30
    with pytest.raises(ValueError, match="between 8MiB and 65536MiB"):
        parse("7MiB")
    with pytest.raises(ValueError, match="must be a size like 64MiB"):
        parse("64MB")


@pytest.mark.parametrize(
    ("text", "expected"), [("5/10", Intensity(5, 10.0)), ("0/1", Intensity(0, 1.0)), ("3/1m", Intensity(3, 60.0))]
)
def test_intensities_are_parsed(text: str, expected: Intensity) -> None:
    assert quantities.intensity(text) == expected


@pytest.mark.parametrize("text", ["5", "5/", "/10", "-1/10", "5/0", "five/ten", "5/10/2"])
def test_an_invalid_intensity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be RESTARTS/SECONDS like 5/10"):
        quantities.intensity(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("127.9.9.9:0", "127.9.9.9:0"),
        ("localhost:080", "localhost:80"),
        ("[::1]:1", "[::1]:1"),
        ("0.0.0.0:50051", "0.0.0.0:50051"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        ("unix:/run/../a.sock", "unix:/a.sock"),
    ],
)
def test_listen_addresses_have_a_canonical_form(text: str, canonical: str) -> None:
    assert quantities.listen_address(text) == canonical


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must be unix:PATH or HOST:PORT"),
        ("50051", "must be unix:PATH or HOST:PORT"),
        (":50051", "must be unix:PATH or HOST:PORT"),
        ("::1:50051", "must be unix:PATH or HOST:PORT"),
        ("localhost:http", "must be unix:PATH or HOST:PORT"),
        ("localhost:65536", "the highest port is 65535"),
        ("unix:", "must be a path"),
        ("unix:/" + "x" * 107, "108 bytes, but the kernel allows 107"),
        ("unix:/" + "ü" * 54, "109 bytes, but the kernel allows 107"),
    ],
)
def test_an_invalid_listen_address_is_refused_with_a_reason(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        quantities.listen_address(text)


def test_a_socket_path_may_be_as_long_as_the_kernel_allows() -> None:
    assert quantities.listen_address("unix:/" + "x" * 106)


@pytest.mark.parametrize(
    ("address", "is_private"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.7:1", False),
        ("localhost.example.org:1", False),
    ],
)
def test_loopback_is_distinguished_from_reachable_addresses(address: str, is_private: bool) -> None:
    assert quantities.is_loopback(quantities.listen_address(address)) is is_private


def test_a_path_can_be_unset_with_none(tmp_path: Path) -> None:
    assert quantities.as_path_or_none("none") is None
    assert quantities.as_path_or_none(f"{tmp_path}/a") == tmp_path / "a"
