"""A fleet on existing engines: Debian's Prometheus, Alertmanager and node_exporter take what we give them."""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from fleet import FLEET, dashboard_expressions, running_engines
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from looked_at import doubt
from prometheus_client import CollectorRegistry, generate_latest
from waiting import wait_until

from plantimager.timelapse.channel.relay_status import TargetStatus
from plantimager.timelapse.relay.measures import DiskUse, measure_rig
from plantimager.timelapse.relay.metrics_sink import Given
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.support.clock import SystemClock
from stores import read, scan, store_of

ENGINES = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
pytestmark = [
    pytest.mark.skipif(shutil.which(engine) is None, reason=f"needs {engine}, the package of Debian")
    for engine in ENGINES
]
N_RIGS = 100
PATIENCE = 120.0


def metrics_of(rig, *, lost=0, **changes):
    """Return the textfile of a rig in the middle of its timelapse, some slots of which were lost."""
    now = SystemClock().now()
    times = [(now + timedelta(hours=hour - 5.5)).isoformat() for hour in range(100)]
    outcomes = ["failed"] * lost + ["succeeded"] * (6 - lost)
    scans = [
        scan(f"tl_{slot}", status, started_at=times[slot], finished_at=times[slot])
        for slot, status in enumerate(outcomes)
    ]
    view = StoreView(
        stored=read(store_of(*scans, schedule_times=times, timelapse_id=f"tl-{rig}", **changes)),
        daemon=DaemonFacts(7, is_live=True),
        doubts=(doubt(timelapse=f"tl-{rig}", verdict="dark", pictures=36 * (lost > 2)),),
        targets=(TargetStatus(name="plantdb", taken=6 - lost, delivered=2, oldest=now),),
    )
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given([*measure_rig(rig, "0.2.0", view, DiskUse(2 * 10**9, 10**8), now + timedelta(hours=1))]))
    return generate_latest(registry)


def run(*command, **options):
    """Return what a program says; it has to be content."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("state", ["scheduled", "completed"])
def test_promtool_finds_nothing_in_the_metrics(state):
    """Names, units, types and help texts are by Prometheus' conventions."""
    assert run("promtool", "check", "metrics", input=metrics_of("a", state=state).decode()) == ""


def test_each_alert_fires_for_what_it_is_for_and_is_silent_else():
    """`promtool test rules` runs the stories of timelapse.rules.test.yml through the rules."""
    run("promtool", "check", "rules", FLEET / "timelapse.rules.yml")
    run("promtool", "test", "rules", Path(__file__).with_name("timelapse.rules.test.yml"))


def test_examples_are_sound():
    """As their programs judge them."""
    run("promtool", "check", "config", FLEET / "prometheus.yml")
    run("amtool", "check-config", FLEET / "alertmanager.yml")


def test_dashboard_keeps_all_its_values_in_grafanas_own_types():
    """Grafana ignores a key that it doesn't know, so none may be lost."""
    register_default_plugins()
    given = json.loads((FLEET / "grafana-dashboard.json").read_text())
    read_back = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
    assert [*_lost(given, read_back)] == []


def _lost(given, found, where=""):
    """Yield the places of a JSON value that are not the same in another, which may have more keys."""
    if isinstance(given, dict) and isinstance(found, dict):
        for key, value in given.items():
            yield from _lost(value, found.get(key), f"{where}.{key}")
    elif isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        for number, pair in enumerate(zip(given, found, strict=True)):
            yield from _lost(*pair, f"{where}[{number}]")
    elif given != found:
        yield where


def test_a_hundred_rigs_are_on_one_prometheus(tmp_path):
    """Rules evaluate, each figure of the overview is there, and a lost slot reaches the Alertmanager."""
    textfiles = tmp_path / "run"
    for number in range(N_RIGS):
        directory = textfiles / f"rig{number}"
        directory.mkdir(parents=True)
        (directory / f"timelapsed-rig{number}.prom").write_bytes(metrics_of(f"rig{number}", lost=2 * (number == 42)))
    with running_engines(tmp_path, textfiles) as engines:
        states = engines.wait_for("timelapse:state:code", N_RIGS)
        assert {series["metric"]["rig"] for series in states} == {f"rig{number}" for number in range(N_RIGS)}
        assert engines.query("node_textfile_scrape_error")[0]["value"][1] == "0"
        engines.wait_for("timelapse:metrics_age:seconds", N_RIGS)
        for expression in dashboard_expressions():
            engines.wait_for_any(expression)
        alerts = wait_until(engines.alerts, within=PATIENCE, what="an alert")
        found = [(alert["labels"]["alertname"], alert["labels"]["rig"]) for alert in alerts]
        assert found == [("TimelapseSlotLost", "rig42")]
        assert alerts[0]["annotations"]["summary"] == "Rig rig42: 2 time points of tl-rig42 lost within the last hour"
