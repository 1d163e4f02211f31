"""A real mosso process on free loopback ports.

Owns starting, waiting, stopping and killing it. What a test asks of a running mosso is in `api.py`.
"""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, fields
from pathlib import Path

import requests
import yaml

from ports import free_port

BINARY = os.environ.get("MOSSO_BIN", "")
START_SECONDS = 60
STOP_SECONDS = 5

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LISTENER = re.compile(r'listener"?[=:]\s*"?(\w+)')
_ADDRESS = re.compile(r'address"?[=:]\s*"?([\d.]+:\d+)')


@dataclass(frozen=True)
class Addresses:
    """`host:port` of the three listeners."""

    http: str
    otlp_grpc: str
    otlp_http: str


ANY_PORT = Addresses(http="127.0.0.1:0", otlp_grpc="127.0.0.1:0", otlp_http="127.0.0.1:0")


def config(data: Path, addresses: Addresses = ANY_PORT, **sections) -> dict:
    """A configuration with its data in `data`. `sections` are added at the top level, `receivers` beside OTLP's."""
    host, port = addresses.http.split(":")
    protocols = {"grpc": {"endpoint": addresses.otlp_grpc}, "http": {"endpoint": addresses.otlp_http}}
    receivers = {"otlp": {"protocols": protocols}, **sections.pop("receivers", {})}
    return {
        "server": {"http_listen_address": host, "http_listen_port": int(port), "log_format": "logfmt"},
        "distributor": {"receivers": receivers},
        "data_dir": str(data),
        **sections,
    }


def run(*arguments: str, cwd: Path | None = None, seconds: float = 30) -> subprocess.CompletedProcess:
    """Runs mosso until it ends by itself, with both of its outputs in `stdout`."""
    return subprocess.run(
        [BINARY, *arguments],
        cwd=cwd,
        env=dict(os.environ, NO_COLOR="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )


class Mosso:
    """One data folder and the process that serves it, always on the same ports."""

    def __init__(self, folder: Path, **sections):
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "mosso.log"
        self.sections = sections
        self.addresses = Addresses(*(f"127.0.0.1:{free_port()}" for _ in range(3)))
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Mosso":
        return self.start()

    def __exit__(self, failure, *_) -> None:
        if self.process is None:
            return
        if failure is None:
            self.stop()
        else:
            self.kill()
            print(f"--- end of {self.log}\n{self.log.read_text()[-4000:]}")

    @property
    def http(self) -> str:
        return f"http://{self.addresses.http}"

    @property
    def otlp_http(self) -> str:
        return f"http://{self.addresses.otlp_http}"

    @property
    def otlp_grpc(self) -> str:
        return self.addresses.otlp_grpc

    def start(self) -> "Mosso":
        """Starts the process and returns once it is ready."""
        assert self.process is None, "already running"
        file = self.folder / "mosso.yaml"
        file.write_text(yaml.safe_dump(config(self.data, self.addresses, **self.sections)))
        start_of_log = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, f"--config.file={file}"], stdout=log, stderr=log, env=dict(os.environ, NO_COLOR="1")
            )
        named = self._await("it named its listeners", lambda: self._listeners(start_of_log))
        wanted = {name: getattr(self.addresses, name) for name in named}
        assert named == wanted, f"listens on {named}, not on {wanted}"
        self._await("/ready answered 200", self._ready)
        return self

    def stop(self) -> float:
        """Stops it by SIGTERM, checks that it left well and in time, and returns the seconds that took."""
        process, started = self._take(), time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(4 * STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"still running {4 * STOP_SECONDS} s after SIGTERM") from None
        took = time.monotonic() - started
        assert code == 0, f"exit code {code} after SIGTERM: {self.tail()}"
        assert took < STOP_SECONDS, f"took {took:.1f} s to stop after SIGTERM"
        return took

    def kill(self) -> None:
        process = self._take()
        process.kill()
        process.wait()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _take(self) -> subprocess.Popen:
        assert self.process is not None, "not running"
        process, self.process = self.process, None
        return process

    def _await(self, what: str, probe):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"mosso left with {self.process.returncode} before {what}: {self.tail()}")
            if (answer := probe()) is not None:
                return answer
            time.sleep(0.02)
        raise AssertionError(f"not within {START_SECONDS} s: {what}: {self.tail()}")

    def _listeners(self, start_of_log: int) -> dict[str, str] | None:
        found = {}
        takes_spans = self.sections.get("target", "all") in {"all", "writer"}
        names = {field.name for field in fields(Addresses)} if takes_spans else {"http"}
        for line in _COLOUR.sub("", self.log.read_bytes()[start_of_log:].decode(errors="replace")).splitlines():
            listener, address = _LISTENER.search(line), _ADDRESS.search(line)
            if listener and address and listener[1] in names:
                found[listener[1]] = address[1]
        return found if found.keys() == names else None

    def _ready(self) -> bool | None:
        try:
            return True if requests.get(f"{self.http}/ready", timeout=5).status_code == 200 else None
        except requests.ConnectionError:
            return None
