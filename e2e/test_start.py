"""Starting: the command line, and refusals that name their reason in one line."""

import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests
import yaml

import server
from api import await_that
from server import Mosso


def test_help_and_version_and_check_config(tmp_path):
    assert "check-config" in ok(server.run("--help"))
    assert "mosso" in ok(server.run("--version"))
    good = write(tmp_path, server.config(tmp_path / "data"))
    ok(server.run("check-config", str(good)))
    assert not (tmp_path / "data").exists(), "check-config made the data folder"


@pytest.mark.parametrize("flag", ["--config.file=", "-config.file="])
def test_both_spellings_of_the_config_flag(flag, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("server: {http_listen_prot: 3200}\n")
    assert_refused(server.run(f"{flag}{broken}"), "http_listen_prot")


def test_without_arguments_it_serves_from_its_folder_on_the_known_ports(tmp_path):
    """Where one of the ports is taken by somebody else, the refusal has to name it instead."""
    taken = [str(port) for port in (3200, 4317, 4318) if listens(port)]
    if taken:
        ended = server.run(cwd=tmp_path)
        assert any(port in ended.stdout for port in taken)
        assert_refused(ended, "127.0.0.1:")
        return
    with (tmp_path / "mosso.log").open("wb") as log:
        process = subprocess.Popen([server.BINARY], cwd=tmp_path, stdout=log, stderr=log)
    try:
        await_that("/ready on 3200", lambda: listens(3200) and requests.get("http://127.0.0.1:3200/ready").ok)
        assert listens(4317) and listens(4318)
        assert (tmp_path / "data").is_dir()
        assert not listens(3200, "127.0.0.2"), "it listens beyond 127.0.0.1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_second_start_on_the_same_folder_is_refused(mosso, tmp_path):
    second = write(tmp_path, server.config(mosso.data))
    assert_refused(server.run(f"--config.file={second}"), str(mosso.data))
    assert requests.get(f"{mosso.http}/ready", timeout=10).status_code == 200, "the first one was disturbed"


def test_folder_is_free_again_after_kill(mosso):
    mosso.kill()
    mosso.start()


@pytest.mark.parametrize("listener", ["http", "otlp_grpc", "otlp_http"])
def test_port_in_use_is_named(listener, tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        taken = server.Addresses(**{**vars(server.ANY_PORT), listener: address})
        file = write(tmp_path, server.config(tmp_path / "data", taken))
        assert_refused(server.run(f"--config.file={file}"), address)


@pytest.mark.parametrize("parent", ["a regular file", "/proc"])
def test_folder_that_cannot_be_written_is_named(parent, tmp_path):
    """Permissions do not stop root, who runs this in a container; these two stop everyone."""
    if parent != "/proc":
        parent = tmp_path / "file"
        parent.touch()
    file = write(tmp_path, server.config(Path(parent) / "mosso-data"))
    assert_refused(server.run(f"--config.file={file}"), str(Path(parent) / "mosso-data"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("server: {http_listen_prot: 3200}", "http_listen_prot"),
        ("compactor: {compaction: {block_retention: seven days}}", "seven days"),
        ("server: {http_listen_port: many}", "http_listen_port"),
        ("no_such_section: {}", "no_such_section"),
    ],
)
@pytest.mark.parametrize("command", ["check-config", "start"])
def test_bad_configuration_is_named(command, text, names, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(f"{text}\n")
    arguments = ["check-config", str(file)] if command == "check-config" else [f"--config.file={file}"]
    assert_refused(server.run(*arguments, cwd=tmp_path), names)


def test_missing_configuration_file_is_named(tmp_path):
    file = tmp_path / "nowhere.yaml"
    assert_refused(server.run(f"--config.file={file}", cwd=tmp_path), str(file))


def test_idle_stop_is_quick(tmp_path):
    with Mosso(tmp_path) as mosso:
        assert mosso.stop() < 2


def write(folder: Path, config: dict) -> Path:
    file = folder / f"config-{time.monotonic_ns()}.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def ok(ended: subprocess.CompletedProcess) -> str:
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def assert_refused(ended: subprocess.CompletedProcess, names: str) -> None:
    """An exit code that is not 0, and one line besides ordinary INFO logs, which names the reason."""
    assert ended.returncode not in (0, None), ended.stdout
    assert "panicked" not in ended.stdout, ended.stdout
    lines = [line for line in ended.stdout.splitlines() if line.strip() and not re.search("INFO|level=info", line)]
    assert len(lines) == 1, f"one line expected:\n{ended.stdout}"
    assert names in lines[0], f"{names!r} is not named:\n{ended.stdout}"


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0
