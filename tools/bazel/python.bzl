"""The machine's CPython 3.11 as a Bazel Python toolchain."""

_PROBE = """
import json, sys
if sys.version_info[:2] != (3, 11):
    sys.exit("the lock files are for CPython 3.11, found %s at %s; set PYTHON_BIN_PATH" % (sys.version.split()[0], sys.executable))
print(json.dumps({"executable": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3]}))
"""

_BUILD = """\
exports_files(["interpreter"])

load("@rules_python//python:py_runtime.bzl", "py_runtime")
load("@rules_python//python:py_runtime_pair.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

py_runtime(
    name = "runtime",
    interpreter_path = "{executable}",
    python_version = "PY3",
    stub_shebang = "#!{executable}",
)

py_runtime_pair(
    name = "runtime_pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtime_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _find_python(ctx):
    """Returns the interpreter, past any launcher such as pyenv's.

    Args:
      ctx: a repository rule's context.

    Returns:
      A struct of executable and version.
    """
    python = ctx.os.environ.get("PYTHON_BIN_PATH") or ctx.which("python3.11") or ctx.which("python3")
    if not python:
        fail("no python3.11 on PATH")
    result = ctx.execute([python, "-c", _PROBE])
    if result.return_code:
        fail(result.stderr)
    return struct(**json.decode(result.stdout))

def _python_configure_impl(ctx):
    python = _find_python(ctx)

    # An empty virtual environment: what the interpreter has in its own
    # site-packages stays out of every build and test.
    # The version is in its path, which is what actions are cached by.
    venv = "venv-" + python.version
    result = ctx.execute([python.executable, "-m", "venv", "--without-pip", ctx.path(venv)])
    if result.return_code:
        fail(result.stderr)
    ctx.file("BUILD", _BUILD.format(executable = str(ctx.path(venv + "/bin/python3"))))
    ctx.file("interpreter", python.executable)

python_configure = repository_rule(
    implementation = _python_configure_impl,
    environ = ["PATH", "PYTHON_BIN_PATH"],
    local = True,
    doc = "Describes the machine's CPython: @NAME//:toolchain and @NAME//:interpreter.",
)
