"""Where a value comes from, and the errors for wrong ones."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from mailroomd.cli.configuration import ConfigurationError, Origin, resolve
from mailroomd.cli.main import main
from mailroomd.cli.reference import example_toml, reference_page
from mailroomd.model.settings import Intensity, Setting, settings_table
from support.harness.daemon import short_directory


@pytest.fixture(autouse=True)
def clean_home(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Provides a home directory with a short path, because the default socket is below it."""
    for setting in settings_table():
        monkeypatch.delenv(setting.variable, raising=False)
    for name in ("MAILROOM_CONFIG", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with short_directory() as home:
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        yield home


def write_default_file(home: Path, text: str) -> Path:
    path = home / "config" / "mailroom" / "mailroomd.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_defaults_apply_without_a_configuration(clean_home: Path) -> None:
    configuration = resolve({})
    assert configuration.settings.root == clean_home / ".claude"
    assert configuration.settings.listen == (f"unix:{clean_home}/.local/state/mailroom/mailroom.sock",)
    assert set(configuration.origins.values()) == {Origin.DEFAULT}


def test_flags_override_environment_and_file_and_defaults(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_default_file(clean_home, 'gateways = 1\nstuck-after = "1s"\nmax-unread = 1\nlog-level = "debug"\n')
    monkeypatch.setenv("MAILROOM_STUCK_AFTER", "2s")
    monkeypatch.setenv("MAILROOM_MAX_UNREAD", "2")
    configuration = resolve({"max-unread": ["3"]})
    settings, origins = configuration.settings, configuration.origins
    assert (settings.max_unread, origins["max_unread"]) == (3, Origin.FLAG)
    assert (settings.stuck_after_sec, origins["stuck_after_sec"]) == (2.0, Origin.ENVIRONMENT)
    assert (settings.log_level, origins["log_level"]) == ("debug", Origin.FILE)
    assert (settings.loop_guard_per_min, origins["loop_guard_per_min"]) == (600, Origin.DEFAULT)


@pytest.mark.parametrize("setting", [one for one in settings_table() if one.group == "access"], ids=lambda one: one.key)
def test_an_empty_access_setting_is_refused_wherever_it_is_given(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch, setting: Setting
) -> None:
    with pytest.raises(ConfigurationError):
        resolve({setting.key: [""]})
    monkeypatch.setenv(setting.variable, "")
    with pytest.raises(ConfigurationError, match=f"^{setting.variable} is empty: set it, or unset it$"):
        resolve({})
    monkeypatch.delenv(setting.variable)
    assert resolve({}).origins[setting.field] is Origin.DEFAULT
    write_default_file(clean_home, f'{setting.key} = ""\n')
    with pytest.raises(ConfigurationError):
        resolve({})


def test_a_named_file_replaces_the_default_one(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_default_file(clean_home, "max-unread = 1\n")
    named, by_variable = clean_home / "named.toml", clean_home / "variable.toml"
    named.write_text('max-unread = 2\nmax-restarts = "1/2s"\n')
    by_variable.write_text("max-unread = 3\n")
    monkeypatch.setenv("MAILROOM_CONFIG", str(by_variable))
    assert resolve({}).settings.max_unread == 3
    settings = resolve({}, str(named)).settings
    assert (settings.max_unread, settings.max_restarts) == (2, Intensity(1, 2.0))


def test_listen_may_be_repeated_everywhere(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("unix:/run/a.sock", "127.0.0.1:0")
    write_default_file(clean_home, 'listen = ["unix:/run/a.sock", "127.0.0.1:0"]\n')
    assert resolve({}).settings.listen == both
    monkeypatch.setenv("MAILROOM_LISTEN", "127.0.0.1:1")
    assert resolve({}).settings.listen == ("127.0.0.1:1",)
    monkeypatch.setenv("MAILROOM_LISTEN", "unix:/run/a.sock, 127.0.0.1:0")
    assert resolve({}).settings.listen == both
    assert resolve({"listen": ["[::1]:1", "[::1]:2", "[::1]:1"]}).settings.listen == ("[::1]:1", "[::1]:2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stuk-after = 1\n", "{file} has an unknown key 'stuk-after'; did you mean 'stuck-after'?"),
        ("stuck_after = 1\n", "{file} has an unknown key 'stuck_after'; did you mean 'stuck-after'?"),
        ("zzz = 1\n", "{file} has an unknown key 'zzz'; known keys are root, state-dir, listen"),
        ("gateways = 0\n", "gateways in {file} must be at least 1, not 0"),
        ("gateways = true\n", "gateways in {file} must be a string or a number"),
        ("gateways = [1]\n", "gateways in {file} must be a string or a number"),
        ("listen = []\n", "listen in {file} must be a string, or a list of strings"),
        (
            "listen = 'example.org:1'\n",
            "listen in {file} is example.org:1, which other machines can reach. Give --tls-cert",
        ),
        ("gateways = \n", "{file} is not valid TOML"),
        (f"gateways = {'9' * 5000}\n", "{file} is not valid TOML"),
        (f"gateways = 0x{'f' * 5000}\n", "gateways in {file} is too large a number"),
        (f"gateways = '{'9' * 5000}'\n", "gateways in {file} must be a whole number, not '9999"),
        (f"gateways = {'9' * 4000}\n", "gateways in {file} must be at most 2147483647, not 9999"),
        (f"table-size = '{'9' * 5000}'\n", "table-size in {file} must be between 8MiB and 65536MiB, not 9999"),
    ],
)
def test_an_invalid_file_is_refused_and_named(clean_home: Path, text: str, sentence: str) -> None:
    path = write_default_file(clean_home, text)
    with pytest.raises(ConfigurationError) as caught:
        resolve({})
    assert caught.value.sentence.startswith(sentence.format(file=path))
    assert len(caught.value.sentence) < 800
    assert caught.value.origin is Origin.FILE


def test_an_invalid_variable_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILROOM_TABLE_SIZE", "1MiB")
    with pytest.raises(ConfigurationError, match="MAILROOM_TABLE_SIZE must be between 8MiB"):
        resolve({})


def test_a_named_file_must_exist(clean_home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*missing\.toml: No such file or directory"):
        resolve({}, str(clean_home / "missing.toml"))


def test_several_gateways_need_a_tcp_address() -> None:
    with pytest.raises(
        ConfigurationError, match="--gateways asks for 2 gateways, but several gateways can share only TCP addresses"
    ):
        resolve({"gateways": ["2"]})
    assert resolve({"gateways": ["2"], "listen": ["127.0.0.1:0"]}).settings.gateways == 2


def test_addresses_beyond_loopback_need_tls_and_tokens() -> None:
    files = {"tls-cert": ["/c"], "tls-key": ["/k"]}
    assert resolve({"listen": ["0.0.0.0:1"], **files}).settings.tls_cert == Path("/c")
    with pytest.raises(ConfigurationError, match="--auth off allows loopback only"):
        resolve({"listen": ["0.0.0.0:1"], "auth": ["off"], **files})
    assert resolve({"listen": ["127.0.0.1:1", "[::1]:1"], "auth": ["off"]}).settings.auth == "off"


@pytest.mark.parametrize(
    ("given", "missing"), [("tls-cert", "tls-key"), ("tls-key", "tls-cert"), ("tls-client-ca", "tls-cert")]
)
def test_a_tls_file_without_its_counterpart_is_refused(given: str, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--{given} needs --{missing} as well"):
        resolve({given: ["/file"]})


def test_an_overlong_default_socket_path_is_refused(clean_home: Path) -> None:
    with pytest.raises(ConfigurationError, match="the default for --listen has a socket path of"):
        resolve({"state-dir": [str(clean_home / ("x" * 110))]})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--stuck-after", "soon"], "mailroomd: --stuck-after must be a duration like 10s"),
        (
            ["--listen", "0.0.0.0:1"],
            "mailroomd: --listen is 0.0.0.0:1, which other machines can reach. Give --tls-cert",
        ),
        (["--bogus"], "mailroomd: unrecognized arguments: --bogus (see mailroomd --help)"),
        (["--gate", "1"], "mailroomd: unrecognized arguments: --gate 1 (see mailroomd --help)"),
    ],
)
def test_an_invalid_command_line_ends_with_one_sentence_and_64(
    arguments: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments)
    except SystemExit as exit_request:
        code = exit_request.code
    assert code == 64
    assert capfd.readouterr().err.startswith(sentence)


def test_an_invalid_file_ends_with_78(clean_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_default_file(clean_home, "gateways = 0\n")
    assert main([]) == 78
    assert "mailroomd: gateways in " in capfd.readouterr().err


def test_help_names_every_flag_and_its_default(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_request:
        main(["--help"])
    assert exit_request.value.code == 0
    text = " ".join(capfd.readouterr().out.split())
    for setting in settings_table():
        assert f"{setting.flag} {setting.metavar}" in text
        assert f"(default: {setting.shown_default})" in text


def test_check_config_starts_nothing(clean_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--check-config"]) == 0
    path = write_default_file(clean_home, "gateways = 1\n")
    assert main(["--check-config"]) == 0
    assert capfd.readouterr().out == (
        f"The configuration is valid (no configuration file).\nThe configuration is valid ({path}).\n"
    )
    path.write_text("gatways = 1\n")
    assert main(["--check-config"]) == 78
    assert capfd.readouterr().err == f"mailroomd: {path} has an unknown key 'gatways'; did you mean 'gateways'?\n"
    assert not (clean_home / ".local").exists()


def test_a_misspelt_variable_gives_a_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAILROOM_STUK_AFTER", "1s")
    monkeypatch.setenv("MAILROOM_AGENT", "ana")
    assert main(["--check-config"]) == 0
    assert capfd.readouterr().err == (
        "mailroomd: warning: MAILROOM_STUK_AFTER is not a setting; did you mean MAILROOM_STUCK_AFTER?\n"
    )


def test_show_config_lists_values_and_origins(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_default_file(clean_home, 'stuck-after = "0.5"\n')
    monkeypatch.setenv("MAILROOM_TABLE_SIZE", "65536KiB")
    arguments = ["--max-unread", "3", "--listen", "unix:/a", "--listen", "127.0.0.1:1"]
    assert main([*arguments, "--show-config=json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["file"] == str(path)
    rows = {key: (row["value"], row["origin"], row["place"]) for key, row in shown["settings"].items()}
    assert rows["stuck-after"] == ("0.5s", "file", str(path))
    assert rows["table-size"] == ("64MiB", "environment", "MAILROOM_TABLE_SIZE")
    assert rows["max-unread"] == ("3", "flag", "--max-unread")
    assert rows["listen"] == (["unix:/a", "127.0.0.1:1"], "flag", "--listen")
    assert rows["log-level"] == ("info", "default", "")
    assert main([*arguments, "--show-config"]) == 0
    lines = [line.split(None, 2) for line in capfd.readouterr().out.splitlines()]
    assert ["stuck-after", "0.5s", f"file ({path})"] in lines


def test_shown_values_can_be_written_to_a_file(clean_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["--show-config=json"])
    shown = json.loads(capfd.readouterr().out)["settings"]
    write_default_file(clean_home, "".join(f"{key} = {json.dumps(row['value'])}\n" for key, row in shown.items()))
    assert resolve({}).settings == resolve({}, "/dev/null").settings


def test_the_example_file_contains_every_default(clean_home: Path) -> None:
    text = example_toml()
    assert resolve({}, str(write_default_file(clean_home, text))).settings == resolve({}, "/dev/null").settings
    keys = "\n".join(line.removeprefix("#") for line in text.splitlines() if not line.startswith("# "))
    (clean_home / "all.toml").write_text(keys)
    configuration = resolve({}, str(clean_home / "all.toml"))
    assert set(configuration.origins.values()) == {Origin.FILE}
    assert configuration.settings == resolve({}, "/dev/null").settings


def test_the_settings_page_lists_every_setting() -> None:
    page = reference_page()
    for setting in settings_table():
        assert f"`{setting.flag} {setting.metavar}`" in page
        assert f"`{setting.variable}`" in page
