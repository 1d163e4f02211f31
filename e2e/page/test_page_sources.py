"""The page that is committed is the one that its sources give, and their types hold."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UI = Path(__file__).resolve().parents[2] / "ui"
SOURCES = ["src", "test", "index.html", "build.mjs", "test.mjs", "tsconfig.json"]


@pytest.fixture(scope="module")
def copy():
    """The sources beside the packages of their lock file."""
    folder = Path(os.environ["E2E_UI"])
    for name in (*SOURCES, "dist"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in SOURCES:
        source = UI / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


def run(copy: Path, *command: str) -> None:
    ended = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_types_hold(copy):
    run(copy, "node_modules/.bin/tsc", "--noEmit")


def test_unit_tests_pass(copy):
    run(copy, "node", "test.mjs")


def test_committed_output_is_what_the_sources_give(copy):
    run(copy, "node", "build.mjs")
    fresh = {file.name: file.read_bytes() for file in (copy / "dist").iterdir()}
    committed = {file.name: file.read_bytes() for file in (UI / "dist").iterdir()}
    assert sorted(fresh) == sorted(committed)
    differing = [name for name, content in fresh.items() if committed[name] != content]
    assert differing == [], "run `npm ci && npm run build` in ui/ and commit ui/dist"
