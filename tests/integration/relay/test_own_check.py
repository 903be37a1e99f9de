"""The relay's check of its own sinks, with the real apprise."""

from descriptors import open_files

from plantimager.timelapse.relay.control import check_sinks
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.support.clock import SystemClock


def test_checks_leave_no_file_open(tmp_path, monkeypatch):
    """A page that asks again and again costs the relay nothing that lasts."""
    config = tmp_path / "timelapsed.toml"
    monkeypatch.setattr(Places, "find_config", lambda _: config)
    (tmp_path / "urls").write_text("ntfys://ntfy.sh/topic\n")
    (tmp_path / "urls").chmod(0o600)
    tables = (
        '[relay.heartbeat]\nurl = "https://hc-ping.com/a"\n',
        f'[relay.metrics]\ndirectory = "{tmp_path}"\n[relay.notify]\nurls_file = "{tmp_path}/urls"\n',
    )
    config.write_text("".join(tables))
    places = Places(store=tmp_path / "timelapse_storage.json", config_directories=(), runtime=tmp_path / "run")
    clock = SystemClock()
    try:
        assert [*check_sinks(places, clock)] == []
        before = open_files()
        for _ in range(2):
            assert [*check_sinks(places, clock)] == []
        assert open_files() - before == set()
    finally:
        clock.close()
