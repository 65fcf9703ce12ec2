"""Where a value comes from, and what is said about a wrong one."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from mailroomd.cli.configuration import ConfigurationError, Origin, resolve
from mailroomd.cli.main import main
from mailroomd.cli.reference import example_toml, reference_page
from mailroomd.model.settings import Intensity, settings_table
from support.harness.daemon import short_directory


@pytest.fixture(autouse=True)
def clean_home(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Gives a home directory; with a short path, as the default socket lies below it."""
    for setting in settings_table():
        monkeypatch.delenv(setting.variable, raising=False)
    for name in ("MAILROOM_CONFIG", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with short_directory() as home:
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        yield home


def write_usual_file(home: Path, text: str) -> Path:
    path = home / "config" / "mailroom" / "mailroomd.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_without_anything_the_defaults_are_used(clean_home: Path) -> None:
    configuration = resolve({})
    assert configuration.settings.root == clean_home / ".claude"
    assert configuration.settings.listen == (f"unix:{clean_home}/.local/state/mailroom/mailroom.sock",)
    assert set(configuration.origins.values()) == {Origin.DEFAULT}


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_usual_file(clean_home, 'gateways = 1\nstuck-after = "1s"\nmax-unread = 1\nlog-level = "debug"\n')
    monkeypatch.setenv("MAILROOM_STUCK_AFTER", "2s")
    monkeypatch.setenv("MAILROOM_MAX_UNREAD", "2")
    configuration = resolve({"max-unread": ["3"]})
    settings, origins = configuration.settings, configuration.origins
    assert (settings.max_unread, origins["max_unread"]) == (3, Origin.FLAG)
    assert (settings.stuck_after_sec, origins["stuck_after_sec"]) == (2.0, Origin.ENVIRONMENT)
    assert (settings.log_level, origins["log_level"]) == ("debug", Origin.FILE)
    assert (settings.loop_guard_per_min, origins["loop_guard_per_min"]) == (600, Origin.DEFAULT)


def test_the_file_that_is_named_is_read_instead_of_the_usual_one(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_usual_file(clean_home, "max-unread = 1\n")
    named, by_variable = clean_home / "named.toml", clean_home / "variable.toml"
    named.write_text('max-unread = 2\nmax-restarts = "1/2s"\n')
    by_variable.write_text("max-unread = 3\n")
    monkeypatch.setenv("MAILROOM_CONFIG", str(by_variable))
    assert resolve({}).settings.max_unread == 3
    settings = resolve({}, str(named)).settings
    assert (settings.max_unread, settings.max_restarts) == (2, Intensity(1, 2.0))


def test_listen_may_be_given_several_times_everywhere(clean_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("unix:/run/a.sock", "127.0.0.1:0")
    write_usual_file(clean_home, 'listen = ["unix:/run/a.sock", "127.0.0.1:0"]\n')
    assert resolve({}).settings.listen == both
    monkeypatch.setenv("MAILROOM_LISTEN", "127.0.0.1:1")
    assert resolve({}).settings.listen == ("127.0.0.1:1",)
    monkeypatch.setenv("MAILROOM_LISTEN", "unix:/run/a.sock, 127.0.0.1:0")
    assert resolve({}).settings.listen == both
    assert resolve({"listen": ["[::1]:1", "[::1]:2", "[::1]:1"]}).settings.listen == ("[::1]:1", "[::1]:2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stuk-after = 1\n", "{file} has an unknown key 'stuk-after', did you mean 'stuck-after'?"),
        ("stuck_after = 1\n", "{file} has an unknown key 'stuck_after', did you mean 'stuck-after'?"),
        ("zzz = 1\n", "{file} has an unknown key 'zzz'; known are root, state-dir, listen"),
        ("gateways = 0\n", "gateways in {file} must be at least 1, not 0"),
        ("gateways = true\n", "gateways in {file} must be a text or a number"),
        ("gateways = [1]\n", "gateways in {file} must be a text or a number"),
        ("listen = []\n", "listen in {file} must be a text, or a list of texts"),
        ("listen = 'example.org:1'\n", "listen in {file} has example.org:1, which others can reach: give --tls-cert"),
        ("gateways = \n", "{file} is not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(clean_home: Path, text: str, sentence: str) -> None:
    path = write_usual_file(clean_home, text)
    with pytest.raises(ConfigurationError) as caught:
        resolve({})
    assert caught.value.sentence.startswith(sentence.format(file=path))
    assert caught.value.origin is Origin.FILE


def test_a_wrong_value_in_the_environment_is_refused_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILROOM_TABLE_SIZE", "1MiB")
    with pytest.raises(ConfigurationError, match="MAILROOM_TABLE_SIZE must be between 8MiB"):
        resolve({})


def test_a_file_that_was_asked_for_has_to_be_there(clean_home: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml cannot be read: No such file or directory"):
        resolve({}, str(clean_home / "missing.toml"))


def test_several_gateways_need_an_address_that_can_be_shared() -> None:
    with pytest.raises(ConfigurationError, match="--gateways asks for 2 gateways, but more than one can share TCP"):
        resolve({"gateways": ["2"]})
    assert resolve({"gateways": ["2"], "listen": ["127.0.0.1:0"]}).settings.gateways == 2


def test_nothing_that_others_can_reach_goes_without_tls_and_tokens() -> None:
    files = {"tls-cert": ["/c"], "tls-key": ["/k"]}
    assert resolve({"listen": ["0.0.0.0:1"], **files}).settings.tls_cert == Path("/c")
    with pytest.raises(ConfigurationError, match="with --auth off only loopback may be used"):
        resolve({"listen": ["0.0.0.0:1"], "auth": ["off"], **files})
    assert resolve({"listen": ["127.0.0.1:1", "[::1]:1"], "auth": ["off"]}).settings.auth == "off"


@pytest.mark.parametrize(
    ("given", "missing"), [("tls-cert", "tls-key"), ("tls-key", "tls-cert"), ("tls-client-ca", "tls-cert")]
)
def test_a_tls_file_without_the_one_that_belongs_to_it_is_refused(given: str, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--{given} is of no use without --{missing}: give both"):
        resolve({given: ["/file"]})


def test_a_default_socket_path_that_is_too_long_is_refused(clean_home: Path) -> None:
    with pytest.raises(ConfigurationError, match="the default for --listen has a socket path of"):
        resolve({"state-dir": [str(clean_home / ("x" * 110))]})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--stuck-after", "soon"], "mailroomd: --stuck-after must be a duration like 10s"),
        (["--listen", "0.0.0.0:1"], "mailroomd: --listen has 0.0.0.0:1, which others can reach: give --tls-cert"),
        (["--bogus"], "mailroomd: unrecognized arguments: --bogus (see mailroomd --help)"),
        (["--gate", "1"], "mailroomd: unrecognized arguments: --gate 1 (see mailroomd --help)"),
    ],
)
def test_a_wrong_command_line_ends_with_one_sentence_and_64(
    arguments: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments)
    except SystemExit as leaving:
        code = leaving.code
    assert code == 64
    assert capfd.readouterr().err.startswith(sentence)


def test_a_wrong_file_ends_with_78(clean_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_usual_file(clean_home, "gateways = 0\n")
    assert main([]) == 78
    assert "mailroomd: gateways in " in capfd.readouterr().err


def test_help_names_every_flag_and_its_default(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    text = " ".join(capfd.readouterr().out.split())
    for setting in settings_table():
        assert f"{setting.flag} {setting.metavar}" in text
        assert f"(default: {setting.shown_default})" in text


def test_a_configuration_is_checked_without_starting_anything(
    clean_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check-config"]) == 0
    path = write_usual_file(clean_home, "gateways = 1\n")
    assert main(["--check-config"]) == 0
    assert capfd.readouterr().out == (
        f"The configuration is valid (no file is read).\nThe configuration is valid ({path}).\n"
    )
    path.write_text("gatways = 1\n")
    assert main(["--check-config"]) == 78
    assert capfd.readouterr().err == f"mailroomd: {path} has an unknown key 'gatways', did you mean 'gateways'?\n"
    assert not (clean_home / ".local").exists()


def test_a_variable_that_is_nearly_a_setting_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAILROOM_STUK_AFTER", "1s")
    monkeypatch.setenv("MAILROOM_AGENT", "ana")
    assert main(["--check-config"]) == 0
    assert capfd.readouterr().err == (
        "mailroomd: warning: MAILROOM_STUK_AFTER is no setting, did you mean MAILROOM_STUCK_AFTER?\n"
    )


def test_each_value_is_shown_with_its_origin_as_a_flag_takes_it(
    clean_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_usual_file(clean_home, 'stuck-after = "0.5"\n')
    monkeypatch.setenv("MAILROOM_TABLE_SIZE", "65536KiB")
    arguments = ["--max-unread", "3", "--listen", "unix:/a", "--listen", "127.0.0.1:1"]
    assert main([*arguments, "--show-config=json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["file"] == str(path)
    found = {key: (one["value"], one["origin"], one["place"]) for key, one in shown["settings"].items()}
    assert found["stuck-after"] == ("0.5s", "file", str(path))
    assert found["table-size"] == ("64MiB", "environment", "MAILROOM_TABLE_SIZE")
    assert found["max-unread"] == ("3", "flag", "--max-unread")
    assert found["listen"] == (["unix:/a", "127.0.0.1:1"], "flag", "--listen")
    assert found["log-level"] == ("info", "default", "")
    assert main([*arguments, "--show-config"]) == 0
    lines = [line.split(None, 2) for line in capfd.readouterr().out.splitlines()]
    assert ["stuck-after", "0.5s", f"file ({path})"] in lines


def test_what_is_shown_can_be_written_back(clean_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["--show-config=json"])
    shown = json.loads(capfd.readouterr().out)["settings"]
    write_usual_file(clean_home, "".join(f"{key} = {json.dumps(one['value'])}\n" for key, one in shown.items()))
    assert resolve({}).settings == resolve({}, "/dev/null").settings


def test_the_example_file_has_every_setting_at_its_default(clean_home: Path) -> None:
    text = example_toml()
    assert resolve({}, str(write_usual_file(clean_home, text))).settings == resolve({}, "/dev/null").settings
    keys = "\n".join(line.removeprefix("#") for line in text.splitlines() if not line.startswith("# "))
    (clean_home / "all.toml").write_text(keys)
    configuration = resolve({}, str(clean_home / "all.toml"))
    assert set(configuration.origins.values()) == {Origin.FILE}
    assert configuration.settings == resolve({}, "/dev/null").settings


def test_the_page_of_settings_names_all_of_them() -> None:
    page = reference_page()
    for setting in settings_table():
        assert f"`{setting.flag} {setting.metavar}`" in page
        assert f"`{setting.variable}`" in page
