"""The documents: every link, and every file of the repository that they name, is there, and every metric is one."""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.DOTALL)
# A source file with at least one folder before it; it may begin anywhere below the root.
SOURCE = re.compile(r"`([\w/]+/\w+\.(?:rs|py|ts|tsx))`")


def files(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def documents() -> list[Path]:
    return [REPOSITORY / name for name in files("*.md")]


def sections(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(document):
    for target in LINK.findall(CODE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, section = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{target}: no such file"
        if section and file.suffix == ".md":
            assert section in sections(file), f"{target}: no such section"


def test_every_source_file_that_a_document_names_is_there():
    sources = ["/" + name for name in files("*.rs", "*.py", "*.ts", "*.tsx")]
    for document in documents():
        for named in SOURCE.findall(document.read_text()):
            # `api/tempo/mcp.rs` is short for `api/src/tempo/mcp.rs`
            ends = ("/" + named, "/" + named.replace("/", "/src/", 1))
            assert any(source.endswith(ends) for source in sources), f"{document.name} names {named}"


def test_every_metric_of_the_documents_is_one_of_the_program():
    sources = "\n".join(path.read_text() for path in REPOSITORY.glob("*/src/**/*.rs"))
    for name in ("operations", "runbook", "troubleshooting", "getting-started"):
        text = (REPOSITORY / "docs" / f"{name}.md").read_text()
        for metric in set(re.findall(r"\b(?:mosso|tempo|tempodb)_[a-z_]+[a-z]\b(?!\*)", text)):
            known = re.sub("_(total|count|bucket|sum)$", "", metric)
            assert known in sources, f"docs/{name}.md names {metric}, which nothing exports"
