"""The services that read: VisualDL on loopback, and SQL on the command line."""

from __future__ import annotations

import http.client
import json
import urllib.request
from pathlib import Path

from tests.compose.project import Project, docker, run, wait_until


def shown(project: Project) -> set[str]:
    """The runs that VisualDL shows, by the first part of their names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{project.port}/app/api/runs", timeout=30) as answer:
        return {name.split("/")[0] for name in json.load(answer)["data"]}


def healthy(project: Project) -> bool:
    return bool(project.inspect("visualdl")["State"]["Health"]["Status"] == "healthy")


def stored(project: Project) -> set[str]:
    return set(project.value("SELECT id FROM runs").split())


def test_visualdl_shows_every_run_on_loopback(trained: Project) -> None:
    trained.compose("up", "--detach", "visualdl")
    wait_until(lambda: healthy(trained), "VisualDL's health", 180)
    wait_until(lambda: shown(trained) == stored(trained), "the logs")
    bindings = trained.inspect("visualdl")["HostConfig"]["PortBindings"]
    assert bindings == {"8040/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(trained.port)}]}


def test_visualdl_answers_no_host_but_this_machine_and_its_addresses(trained: Project) -> None:
    answers = {}
    for host in ("localhost", "127.0.0.1", "192.0.2.1", "evil.example"):
        connection = http.client.HTTPConnection("127.0.0.1", trained.port, timeout=30)
        connection.request("GET", "/app/index", headers={"Host": host})
        answers[host] = connection.getresponse().status
        connection.close()
    assert answers == {"localhost": 200, "127.0.0.1": 200, "192.0.2.1": 200, "evil.example": 403}


def test_deleted_logs_are_drawn_again(trained: Project) -> None:
    trained.compose("rm", "--stop", "--force", "visualdl", "train")
    docker("volume", "rm", f"{trained.name}_logs")
    trained.compose("up", "--detach", "visualdl")
    wait_until(lambda: healthy(trained), "VisualDL's health", 180)
    wait_until(lambda: shown(trained) == stored(trained), "the logs")


def test_visualdl_reads_the_store_as_a_role_that_cannot_write(trained: Project) -> None:
    roles = "SELECT string_agg(DISTINCT usename, ' ') FROM pg_stat_activity WHERE usename LIKE 'ledger%'"
    assert "ledger_reader@" in " ".join(trained.inspect("visualdl")["Config"]["Env"])
    assert trained.value(roles) in ("", "ledger_reader")


def test_a_named_query_is_answered(trained: Project) -> None:
    answer = trained.compose("run", "--rm", "-T", "query", "overfitting", "--run", "1", "--format", "json")
    assert json.loads(answer.stdout)


def test_free_sql_is_answered_and_writing_is_refused(trained: Project) -> None:
    ask = ("run", "--rm", "-T", "query", "--format", "csv", "--sql")
    answer = trained.compose(*ask, "SELECT count(*) AS epochs FROM epochs WHERE run_id = 1")
    assert answer.stdout.split() == ["epochs", "20000"]
    refused = trained.compose(*ask, "DELETE FROM epochs", check=False)
    assert refused.returncode == 2
    assert len([line for line in refused.stderr.splitlines() if line.startswith("job: error: ")]) == 1
    assert trained.number("SELECT count(*) FROM epochs WHERE run_id = 1") == 20_000


def test_a_report_is_written_and_can_be_copied_out(trained: Project, tmp_path: Path) -> None:
    trained.compose("up", "--no-start", "train")
    written = trained.compose("run", "--rm", "-T", "train", "report", "1").stdout.strip()
    assert written == "results/report-1.html"
    trained.compose("cp", f"train:/var/lib/epoch-ledger/{written}", str(tmp_path))
    assert "parity" in (tmp_path / "report-1.html").read_text()


def test_psql_in_the_databases_container_is_answered(trained: Project) -> None:
    query = "SELECT value FROM parameter_history WHERE run_id = 1 AND epoch = 9999 AND parameter = 'LSTAT'"
    values = trained.sql(query, "ledger_reader").stdout.split()
    assert [round(float(value), 6) for value in values] == [-0.695885, -0.695885]


def test_nothing_listens_but_visualdl(trained: Project) -> None:
    listening = run(["docker", "ps", "--filter", f"label=com.docker.compose.project={trained.name}",
        "--format", "{{.Ports}}"]).stdout  # fmt: skip
    assert [line for line in listening.split() if "->" in line] == [f"127.0.0.1:{trained.port}->8040/tcp"]
