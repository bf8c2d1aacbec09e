"""The follower beside a training: it draws live, and the death of either does not harm the other."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.lease import RunWriter
from db.store import Store
from job.mirror.process import MirrorProcess
from tests.conftest import Job, job_command
from tests.samples import dataset_row, history, sqlite_file, wait_for, write_csv
from tests.visualdl_logs import assert_run_drawn, log_of, steps

ON_SQLITE = pytest.mark.parametrize("backend", ["sqlite"])  # for tests that do not depend on the store
Processes = list["subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def _mirror(monkeypatch: pytest.MonkeyPatch, _clean_surroundings: None) -> None:
    monkeypatch.delenv("JOB_NO_MIRROR")


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Those started by a test; killed at its end."""
    started: Processes = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def writer(store: Store) -> RunWriter:
    return store.start_run(dataset_row(), epochs=1_000, learning_rate=0.1, seed=0, environment={})


@pytest.fixture
def mirror(
    writer: RunWriter, database_url: str, tmp_path: Path, processes: Processes
) -> Callable[[], MirrorProcess]:
    """Starts followers of `writer`'s run, drawing to `logs`."""

    def start() -> MirrorProcess:
        started = MirrorProcess(writer.run_id, database_url, tmp_path / "logs")
        processes.append(started.process)
        return started

    return start


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.slow
def test_epochs_are_drawn_while_the_run_goes_on(
    store: Store, writer: RunWriter, mirror: Callable[[], MirrorProcess], tmp_path: Path
) -> None:
    process = mirror()
    log = log_of(tmp_path / "logs", writer.run_id, "paddle")
    writer.append("paddle", history(10))
    wait_for(lambda: size(log))
    before = size(log)
    writer.append("paddle", history(10, first_epoch=10))
    wait_for(lambda: size(log) > before)
    writer.append("python", history(600))
    writer.finish("completed")
    assert process.finish() == 0
    assert_run_drawn(tmp_path / "logs", store, writer.run_id)


@pytest.mark.slow
@ON_SQLITE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_does_not_end_a_follower_that_just_begins(
    number: signal.Signals,
    store: Store,
    writer: RunWriter,
    mirror: Callable[[], MirrorProcess],
    tmp_path: Path,
) -> None:
    process = mirror()
    process.process.send_signal(number)
    writer.append("paddle", history(10))
    writer.finish("interrupted")
    assert process.finish() == 0
    assert_run_drawn(tmp_path / "logs", store, writer.run_id)


@ON_SQLITE
def test_ctrl_c_leaves_a_follower_to_its_trainer_and_quiet(
    store: Store, writer: RunWriter, mirror: Callable[[], MirrorProcess], tmp_path: Path
) -> None:
    process = mirror()
    log = log_of(tmp_path / "logs", writer.run_id, "paddle")
    writer.append("paddle", history(10))
    wait_for(lambda: size(log))
    ours, theirs = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, process.process.pid))
    assert theirs == min(ours + 5, 19)
    for _ in range(2):
        process.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    before = size(log)
    writer.append("paddle", history(10, first_epoch=10))
    wait_for(lambda: size(log) > before)
    writer.finish("interrupted")
    assert process.finish() == 0
    assert_run_drawn(tmp_path / "logs", store, writer.run_id)


@ON_SQLITE
def test_a_follower_leaves_its_trainer_the_signals_that_it_had(mirror: Callable[[], MirrorProcess]) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    mirror()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@ON_SQLITE
def test_the_follower_ends_with_the_run(
    store: Store, writer: RunWriter, mirror: Callable[[], MirrorProcess], tmp_path: Path
) -> None:
    process = mirror()
    writer.append("paddle", history(10))
    writer.finish("completed")
    assert process.process.wait(60) == 0
    assert_run_drawn(tmp_path / "logs", store, writer.run_id)


@pytest.mark.slow
@ON_SQLITE
def test_the_follower_of_a_trainer_that_vanished_draws_what_there_is_and_ends(
    store: Store, writer: RunWriter, mirror: Callable[[], MirrorProcess], tmp_path: Path
) -> None:
    process = mirror()
    writer.append("paddle", history(10))
    assert process.process.stdin is not None
    process.process.stdin.close()  # what the kernel does for a killed trainer
    assert process.process.wait(60) == 0
    assert store.run(writer.run_id).status == "running"
    assert_run_drawn(tmp_path / "logs", store, writer.run_id)


@pytest.mark.slow
@ON_SQLITE
def test_a_killed_follower_is_taken_up_by_the_next(
    store: Store, writer: RunWriter, mirror: Callable[[], MirrorProcess], tmp_path: Path
) -> None:
    first = mirror()
    writer.append("paddle", history(500))
    log = log_of(tmp_path / "logs", writer.run_id, "paddle")
    wait_for(lambda: size(log))
    first.process.kill()
    assert first.finish() == -signal.SIGKILL
    os.truncate(log, size(log) - 7)  # as if it had been killed while writing
    second = mirror()
    writer.append("paddle", history(500, first_epoch=500))
    assert second.finish() == 0
    assert_run_drawn(tmp_path / "logs", store, writer.run_id)


@pytest.mark.slow
@ON_SQLITE
def test_a_full_disk_is_waited_out(
    store: Store, writer: RunWriter, mirror: Callable[[], MirrorProcess], tmp_path: Path
) -> None:
    """The kernel's limit on file sizes refuses a write as a full disk does: it writes a part."""
    process = mirror()
    writer.append("paddle", history(10))
    log = log_of(tmp_path / "logs", writer.run_id, "paddle")
    wait_for(lambda: size(log))
    limit = 100_000
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    writer.append("paddle", history(990, first_epoch=10))
    time.sleep(3)
    assert size(log) < limit
    assert steps(log)["weights"] == list(range(10))  # a whole block or nothing
    assert process.process.poll() is None
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert process.finish() == 0
    assert_run_drawn(tmp_path / "logs", store, writer.run_id)


@pytest.mark.slow
@ON_SQLITE
def test_a_disk_that_stays_full_ends_the_follower_with_one_line(
    writer: RunWriter, database_url: str, tmp_path: Path
) -> None:
    writer.append("paddle", history(500))
    # Without coverage, whose own file would be too large.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        ["prlimit", "--fsize=40000", *job_command("mirror", writer.run_id, "--follow", "--log-dir", "logs")],
        env=inherited | {"JOB_DATABASE_URL": database_url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"`job mirror {writer.run_id}` draws them again" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_training_goes_on_without_a_mirror_that_cannot_draw(
    job: Job, tmp_path: Path, sqlite_url: str
) -> None:
    data = write_csv(tmp_path / "data.csv")
    log_dir = data / "logs"  # below a file, where there can be no directory
    done = job("train", "--data", data, "--epochs", 30, "--database-url", sqlite_url, "--log-dir", log_dir)
    assert done.returncode == 0
    assert re.search(r"the logs in \S+ cannot be written: Not a directory", done.stderr)
    assert "`job mirror 1` draws the run again" in done.stderr
    with Store(sqlite_url) as store:
        assert store.progress(1) == {"paddle": 30, "python": 30}


@pytest.mark.slow
def test_no_mirror_draws_nothing(job: Job, tmp_path: Path, sqlite_url: str) -> None:
    data = write_csv(tmp_path / "data.csv")
    done = job("train", "--data", data, "--epochs", 30, "--database-url", sqlite_url, "--no-mirror")
    assert done.returncode == 0
    assert not Path("results").exists()


@pytest.mark.slow
def test_a_killed_training_is_resumed_with_every_step_drawn_once(
    job: Job, tmp_path: Path, sqlite_url: str, processes: Processes
) -> None:
    """kill -9 of the whole process group, trainer and mirror, during the run."""
    data = write_csv(tmp_path / "data.csv")
    epochs = 30_000  # more than are trained before the mirror's process starts
    options = ("--data", data, "--epochs", epochs, "--database-url", sqlite_url, "--log-dir", "logs")
    training = subprocess.Popen(
        job_command("train", *options), start_new_session=True, stderr=subprocess.DEVNULL
    )
    processes.append(training)
    logs = [log_of(Path("logs"), 1, model) for model in ("paddle", "python")]
    wait_for(lambda: all(size(log) > 50_000 for log in logs))
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    with sqlite_file(sqlite_url) as database:
        (stored,) = database.execute("SELECT count(*) FROM epochs").fetchone()
    assert 0 < stored < 2 * epochs

    done = job("train", "--resume", *options)
    assert done.returncode == 0, done.stderr
    with Store(sqlite_url) as store:
        assert store.run(1).resumes == 1
        assert_run_drawn(Path("logs"), store, 1)
    for log in logs:
        assert all(found == list(range(epochs)) for found in steps(log).values())
