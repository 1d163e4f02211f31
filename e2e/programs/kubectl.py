#!/usr/bin/env python3
"""A stand-in for kubectl in front of processes on this machine, so that the scripts of k8s/ run as they are.

Owns no cluster: the real kubectl reads every command line and renders, tunnels go straight to the processes that the test has
started, and a restart is handed to the test. What a cluster would decide (rights, volumes, admission) is granted, but for what
the test calls missing. It notes each call. Its folder, STANDIN_FOLDER, holds `services.json`, `missing.json`, and appears in `calls`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["STANDIN_FOLDER"])
RESTART_SECONDS = 60


def main(arguments: list[str]) -> int:
    with (FOLDER / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    if refusal := refused_by_kubectl(arguments):
        print(refusal, file=sys.stderr)
        return 2
    if arguments[0] == "--namespace":
        arguments = arguments[2:]
    match arguments:
        case ["kustomize", folder] | ["apply" | "diff", *_, "-k", folder]:
            return subprocess.run([os.environ["E2E_KUBECTL"], "kustomize", folder]).returncode
        case ["port-forward", *_, service, port]:
            return forward(service.removeprefix("service/"), port.removeprefix(":"))
        case ["rollout", "restart", *_]:
            (FOLDER / "restart").touch()
        case ["rollout", "status", *_]:
            return wait_for_restart()
        case ["get" | "wait", *named]:
            return get(named)
        case ["version"] | ["auth", "can-i", *_]:
            pass
        case _:
            print(f"the stand-in for kubectl knows no {arguments}", file=sys.stderr)
            return 2
    return 0


def refused_by_kubectl(arguments: list[str]) -> str | None:
    """What the real kubectl has against the command line; it gets as far as a server that is not there, or not so far."""
    nowhere = ["--server=http://127.0.0.1:1", "--request-timeout=5s"]
    ended = subprocess.run([os.environ["E2E_KUBECTL"], *nowhere, *arguments], capture_output=True, text=True)
    return None if ended.returncode == 0 or "refused" in ended.stderr else ended.stderr


def get(named: list[str]) -> int:
    """Everything is there but what the test calls missing."""
    wanted = "/".join(named)
    for name in json.loads((FOLDER / "missing.json").read_text()):
        if name in wanted:
            print(f'Error from server (NotFound): "{name}" not found', file=sys.stderr)
            return 1
    return 0


def forward(service: str, port: str) -> int:
    address = json.loads((FOLDER / "services.json").read_text()).get(f"{service}:{port}")
    if address is None:
        print(f"error: service {service} has no port {port}", file=sys.stderr)
        return 1
    print(f"Forwarding from {address} -> {port}", flush=True)
    signal.pause()
    return 0


def wait_for_restart() -> int:
    deadline = time.monotonic() + RESTART_SECONDS
    while (FOLDER / "restart").exists():
        if time.monotonic() > deadline:
            return 1
        time.sleep(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
