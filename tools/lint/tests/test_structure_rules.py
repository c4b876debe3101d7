"""Each rule of the structure tests finds what it is there to find, and lets the rest be."""

import pytest

from structure.calls import DEVICE_MODULES, check_devices, check_forbidden, check_handlers
from structure.documents import check_documents
from structure.imports import check_imports
from structure.layout import check_length, check_names, check_namespace
from structure.rooms import MODELS as MODELS_ROOMS
from structure.rooms import check_rooms
from structure.tree import File
from structure.words import check_words

MODELS = "packages/jllm-models/src/jllm/models/"
PYPROJECT = '[project]\ndependencies = ["torch>=2", "PyYAML"]\n[project.optional-dependencies]\n'


def check(rule, text: str, path: str = MODELS + "x.py", *others: File) -> list[str]:
    return rule([File(path=path, text=text), *others])


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("import torch.nn, json, yaml", True),
        ("from jllm.models.x import y", True),
        ("from . import y", True),
        ("import numpy", False),
        ("def f():\n    from transformers import AutoModel", False),
        ("from jllm.data import rows", False),
        ("from jllm import data", False),
        ("import importlib\nimportlib.import_module('jllm.data')", False),
    ],
)
def test_imports_follow_the_arrows_and_are_declared(text, right):
    other = File(path="packages/jllm-data/src/jllm/data/reading/row_decoder.py", text="")
    project = File(path="packages/jllm-models/pyproject.toml", text=PYPROJECT)
    mine = File(path="packages/jllm-data/pyproject.toml", text=PYPROJECT)
    assert (not check(check_imports, text, MODELS + "x.py", other, project, mine)) == right


def test_the_command_may_look_for_torch_without_asking_for_it():
    project = File(path="packages/jllm/pyproject.toml", text="[project]\ndependencies = []\n")
    path = "packages/jllm/src/jllm/cli/x.py"
    assert not check(check_imports, "import torch", path, project)
    assert check(check_imports, "import numpy", path, project)


def test_a_dependency_against_the_arrows_is_found():
    text = '[project]\ndependencies = ["jllm-parallel"]'
    assert check(check_imports, text, "packages/jllm-data/pyproject.toml")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x = 'cuda'", False),
        ("x = 'cuda:0'", False),
        ("x = 'cpu:gloo,cuda:nccl'", False),
        ("torch.cuda.synchronize()", False),
        ("import torch.cuda", False),
        ("import torch_npu", False),
        ("x = 'cpu'", True),
        ("'''cuda'''\nx: int = 1\n'cuda'", True),
        ("x = 'needs cuda to run'", True),
    ],
)
def test_only_the_device_module_names_devices(text, right):
    assert (not check(check_devices, text)) == right
    assert all(not check(check_devices, text, path) for path in DEVICE_MODULES)
    assert not check(check_devices, text, "packages/jllm-models/tests/test_x.py")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("import pickle", False),
        ("from pickle import loads", False),
        ("torch.load(path)", False),
        ("save = torch.save", False),
        ("f(trust_remote_code=True)", False),
        ("f(trust_remote_code=flag)", False),
        ("np.load(path, allow_pickle=True)", False),
        ("print(1)", False),
        ("f(trust_remote_code=False)", True),
        ("console.print(1)", True),
    ],
)
def test_pickle_foreign_code_and_print_are_found(text, right):
    assert (not check(check_forbidden, text)) == right


@pytest.mark.parametrize(
    ("handler", "right"),
    [
        ("except:\n    pass", False),
        ("except Exception:\n    x = 1", False),
        ("except (OSError, BaseException) as e:\n    log(e)", False),
        ("except Exception as e:\n    return None, str(e)", False),
        ("except Exception as e:\n    return None, e", True),
        ("except Exception as e:\n    queue.put(e)", True),
        ("except Exception as e:\n    raise ValueError('x') from e", True),
        ("except (OSError, ValueError):\n    pass", True),
    ],
)
def test_handlers_that_hide_are_found(handler, right):
    assert (not check(check_handlers, f"try:\n    f()\n{handler}")) == right


def test_long_files_are_found():
    assert not check(check_length, "x = 1\n" * 300, "tools/x.py")
    for path in ("tools/x.py", "tools/x.sh", "tools/x.bzl", "packages/jllm-data/tests/test_x.py"):
        assert check(check_length, "x = 1\n" * 301, path)
    assert not check(check_length, "x = 1\n" * 170)
    assert check(check_length, "x = 1\n" * 171)


def test_namespace_and_version_are_asked_for():
    part = MODELS + "__init__.py"
    assert not check(check_namespace, '"""x"""\n__version__ = "0.1.0"', part)
    assert check(check_namespace, '"""x"""', part)
    init = File(path="packages/jllm-models/src/jllm/__init__.py", text="")
    assert check(check_namespace, '__version__ = "1"', part, init)
    command = "packages/jllm/src/jllm/cli/__init__.py"
    assert not check(check_namespace, '__version__ = "0.1.0"', command)
    assert check(check_namespace, "", command)


def test_names_are_told_apart():
    other = File(path="packages/jllm-models/tests/test_x.py", text="")
    assert check(check_names, "", "packages/jllm-data/tests/test_x.py", other)
    assert not check(check_names, "", "packages/jllm-data/tests/test_y.py", other)
    assert check(check_names, "", MODELS + "utils.py")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"# TO{''}DO: later", False),
        (f"index-url = files.python{''}hosted.org", False),
        (f"cd /wo{''}rk/main", False),
        (f'path = "/ro{""}ot/x"', False),
        ("https://docs.python.org/x, packages/work/x, todo", True),
    ],
)
def test_words_are_found(text, right):
    assert (not check(check_words, text, "docs/x.md")) == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("`python -m jllm.models.x --a`, tools/x.sh, //tools/lint and [x](x.md)", True),
        ("jllm-models, `jllm-raw2ids`, jllm-models-v0.1.0, jllm-rl", True),
        ("packages/jllm-*/README.md, tools/lint/.", True),
        ("`python -m jllm.gone`", False),
        ("`tools/gone.sh`", False),
        ("`bazel test //gone/...`", False),
        ("[x](gone.md)", False),
        ("`jllm-gone`", False),
    ],
)
def test_documents_name_what_exists(text, right):
    others = [
        File(path=MODELS + "x.py", text=""),
        File(path="packages/jllm-data/pyproject.toml", text='jllm-raw2ids = "jllm.raw2ids:main"'),
        File(path="tools/lint/BUILD", text=""),
        File(path="tools/x.sh", text=""),
    ]
    assert (not check(check_documents, text, "docs/x.md", *others)) == right


ROOM_FILES = [
    File(path=f"packages/jllm-models/src/jllm/models/{room.replace('.', '/')}/__init__.py", text="")
    for room in MODELS_ROOMS
]


@pytest.mark.parametrize(
    ("path", "text", "right"),
    [
        ("layers/x.py", "from jllm.models.config.names import Names", True),
        ("layers/x.py", "from jllm.models.layers.norm import RMSNorm", True),
        ("layers/x.py", "from jllm.models.decoder.stage import Stage", False),
        ("layers/x.py", "from jllm.models.decoder import stage", False),
        ("layers/x.py", "def f():\n    import jllm.models.decoder.stage", False),
        ("layers/x.py", "import jllm.models", False),
        ("layers/below/x.py", "from jllm.models.decoder.stage import Stage", False),
        ("__init__.py", "from jllm.models.decoder.stage import Stage", True),
        ("unknown/__init__.py", "", False),
    ],
)
def test_rooms_know_only_what_their_table_says(path, text, right):
    others = [File(path=MODELS + path, text=text)]
    findings = [
        f for f in check_rooms([*ROOM_FILES, *others]) if f.startswith(("jllm-models", MODELS))
    ]
    assert (not findings) == right, findings


def test_a_room_that_is_gone_is_found():
    assert any("no folder layers" in f for f in check_rooms(ROOM_FILES[:1]))
