"""The engines of a fleet on loopback: node_exporter, Prometheus and Alertmanager of Debian, with our files."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
from plantdb_server import free_port
from tree import CONFIG
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLEET: Final = CONFIG / "fleet"
PATIENCE: Final = 120.0


class Engines:
    """Prometheus with our rules, what it scrapes, and the Alertmanager that it reports to."""

    def __init__(self, exporter: str, prometheus: str, alertmanager: str) -> None:
        self.exporter, self.alertmanager = exporter, alertmanager
        """Their addresses."""
        self._prometheus, self._alertmanager = f"http://{prometheus}", f"http://{alertmanager}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now; an expression that Prometheus refuses raises."""
        answer = httpx.get(f"{self._prometheus}/api/v1/query", params={"query": expression}, timeout=PATIENCE)
        assert answer.json()["status"] == "success", f"{expression}: {answer.text}"
        return answer.json()["data"]["result"]

    def wait_for(self, expression: str, count: int) -> list[dict[str, Any]]:
        """Return the series of an expression as soon as there are so many."""
        self.wait_for_any(f"count({expression}) == {count}")
        return self.wait_for_any(expression)

    def wait_for_any(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression as soon as there are some: under load a scrape may come too late."""
        return wait_until(lambda: self.query(expression), within=PATIENCE, what=f"series of {expression}")

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that have reached the Alertmanager."""
        return httpx.get(f"{self._alertmanager}/api/v2/alerts", timeout=PATIENCE).json()

    def report(self, *alerts: dict[str, str]) -> None:
        """Have the Alertmanager hear of alerts with these labels, as from Prometheus."""
        body = [{"labels": labels} for labels in alerts]
        httpx.post(f"{self._alertmanager}/api/v2/alerts", json=body, timeout=PATIENCE).raise_for_status()


@contextmanager
def running_engines(directory: Path, textfiles: Path) -> Iterator[Engines]:
    """Run all three on a directory of directories with textfiles; every two seconds they look again."""
    exporter, prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(3))
    own = (FLEET / "prometheus.yml").read_text()
    own = own[: own.index("          - rig-1.example.org")] + f'          - "{exporter}"\n'
    own = own.replace("30s", "2s").replace("localhost:9093", alertmanager)
    (directory / "prometheus.yml").write_text(own)
    (directory / "timelapse.rules.yml").write_text((FLEET / "timelapse.rules.yml").read_text())
    (directory / "password").write_text("secret")
    mails = (
        (FLEET / "alertmanager.yml").read_text().replace("/etc/prometheus/smtp-password", str(directory / "password"))
    )
    (directory / "alertmanager.yml").write_text(mails)
    textfile = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={textfiles}/*"]
    commands = [
        ["prometheus-node-exporter", *textfile, f"--web.listen-address={exporter}"],
        [
            "prometheus-alertmanager",
            f"--config.file={directory}/alertmanager.yml",
            f"--storage.path={directory}/alertmanager",
            f"--web.listen-address={alertmanager}",
            "--cluster.listen-address=",
        ],
        [
            "prometheus",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            f"--web.listen-address={prometheus}",
        ],
    ]
    with ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((directory / f"{command[0]}.log").open("w"))
            process = stack.enter_context(subprocess.Popen(command, stdout=log, stderr=log))
            stack.callback(process.kill)
        for address in (exporter, alertmanager, prometheus):
            wait_until(lambda url=f"http://{address}/": _answers(url), within=PATIENCE, what=f"an answer of {address}")
        yield Engines(exporter, prometheus, alertmanager)


def dashboard_expressions(rig: str = ".*") -> dict[str, list[str]]:
    """Return the expressions of each panel of the dashboard, for all hosts and for the rigs that one names."""
    chosen = {"$instance": ".*", "$rig": rig}
    return {
        panel["title"]: [re.sub(r"\$\w+", lambda name: chosen[name[0]], target["expr"]) for target in panel["targets"]]
        for panel in _dashboard()["panels"]
    }


def dashboard_choices() -> dict[str, str]:
    """Return what a person can choose there: the expression whose series are those of each variable."""
    queries = {one["name"]: one["query"] for one in _dashboard()["templating"]["list"] if one["type"] == "query"}
    texts = {name: query["query"].replace("$instance", ".*") for name, query in queries.items()}
    return {name: re.sub(r"^label_values\((.*), (\w+)\)$", r"count by (\2) (\1)", text) for name, text in texts.items()}


def _dashboard() -> Any:
    return json.loads((FLEET / "grafana-dashboard.json").read_text())


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=PATIENCE, follow_redirects=False).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.TransportError:
        return False
