"""tools/release.sh lets a package through only when version, changelog, tag and tree agree."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(os.path.abspath(__file__)).parents[1] / "release.sh"
BAZEL = """#!/bin/sh
package=${2#//packages/}
package=${package%:wheel}
mkdir -p bazel-bin/packages/$package/wheel
name=$(echo $package | tr - _)
touch bazel-bin/packages/$package/wheel/$name-${WHEEL:-0.2.0}-py3-none-any.whl
"""


def run(tree: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the tree, with no git settings but its own."""
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    env = {"PATH": os.environ["PATH"], "HOME": str(tree)} | dict.fromkeys(names, "x") | env
    env |= {"GIT_CONFIG_GLOBAL": "/dev/null", "BAZEL": str(tree.parent / "bazel")}
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A committed tree with jllm-data 0.2.0, and a stand-in for Bazel beside it."""
    tree = tmp_path / "tree"
    package = tree / "packages/jllm-data"
    (package / "src/jllm/data").mkdir(parents=True)
    (package / "pyproject.toml").touch()
    (package / "src/jllm/data/__init__.py").write_text('"""x"""\n\n__version__ = "0.2.0"\n')
    (package / "CHANGELOG.md").write_text(
        "# C\n\n## [0.2.0] - 2026-01-02\n\n## [0.1.0] - 2025-01-02\n"
    )
    (tree / "tools").mkdir()
    shutil.copy(SCRIPT, tree / "tools/release.sh")
    (tree / ".gitignore").write_text("/bazel-*\n/build/\n")
    (tmp_path / "bazel").write_text(BAZEL)
    (tmp_path / "bazel").chmod(0o755)
    run(tree, "git", "init", "-q")
    commit(tree)
    return tree


def commit(tree: Path) -> None:
    """Commits all there is."""
    run(tree, "git", "add", ".")
    run(tree, "git", "commit", "-qm", "x")


def refusal(tree: Path, *args: str, **env: str) -> str:
    """What release.sh says when it refuses."""
    result = run(tree, "tools/release.sh", *args, **env)
    assert result.returncode == 2 and "git tag" not in result.stdout, result
    return result.stderr


def test_a_ready_package_gets_its_wheel_and_the_tag_command(tree):
    result = run(tree, "tools/release.sh", "jllm-data", "jllm-data-v0.2.0")
    assert result.returncode == 0, result.stderr
    wheel, command = result.stdout.splitlines()
    assert wheel.endswith("  build/wheels/jllm_data-0.2.0-py3-none-any.whl")
    assert command.startswith("git tag -a jllm-data-v0.2.0 -m 'jllm-data 0.2.0'")


def test_the_command_is_a_package_too(tree):
    folder = tree / "packages/jllm"
    (folder / "src/jllm/cli").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "src/jllm/cli/__init__.py").write_text('__version__ = "0.2.0"\n')
    shutil.copy(tree / "packages/jllm-data/CHANGELOG.md", folder)
    commit(tree)
    result = run(tree, "tools/release.sh", "jllm")
    assert result.returncode == 0, result.stderr
    wheel, command = result.stdout.splitlines()
    assert wheel.endswith("  build/wheels/jllm-0.2.0-py3-none-any.whl")
    assert command.startswith("git tag -a jllm-v0.2.0 -m 'jllm 0.2.0'")


def test_the_tagged_commit_itself_builds_again(tree):
    run(tree, "git", "tag", "jllm-data-v0.2.0")
    result = run(tree, "tools/release.sh", "jllm-data")
    assert result.returncode == 0 and "git tag" not in result.stdout


def test_a_tag_of_another_commit_is_refused(tree):
    run(tree, "git", "tag", "jllm-data-v0.2.0")
    (tree / "x").touch()
    commit(tree)
    assert "raise __version__" in refusal(tree, "jllm-data")


def test_a_tag_that_is_not_the_versions_is_refused(tree):
    assert "makes it 'jllm-data-v0.2.0'" in refusal(tree, "jllm-data", "jllm-data-v0.1.0")


@pytest.mark.parametrize("heading", ["[Unreleased]", "[0.1.0] - 2026-01-02", "[0.2.0]", "0.2.0"])
def test_a_changelog_of_another_version_is_refused(tree, heading):
    path = tree / "packages/jllm-data/CHANGELOG.md"
    path.write_text(f"# C\n\n## {heading}\n\n## [0.2.0] - 2026-01-02\n")
    commit(tree)
    assert f"the newest entry is '## {heading}'" in refusal(tree, "jllm-data")


def test_a_version_that_is_no_release_is_refused(tree):
    (tree / "packages/jllm-data/src/jllm/data/__init__.py").write_text('__version__ = "0.2.dev0"\n')
    commit(tree)
    assert "__version__ is '0.2.dev0'" in refusal(tree, "jllm-data")


def test_uncommitted_files_are_refused_and_named(tree):
    (tree / "notes.txt").touch()
    assert "?? notes.txt" in refusal(tree, "jllm-data")


def test_a_wheel_of_another_version_is_refused(tree):
    assert "not version 0.2.0" in refusal(tree, "jllm-data", WHEEL="0.1.0")


@pytest.mark.parametrize("args", [(), ("jllm-gone",)])
def test_a_package_must_be_named_and_exist(tree, args):
    assert "error: " in refusal(tree, *args)
