"""The macros BUILD files of this tree are written with."""

load("@rules_python//python:defs.bzl", "py_library", "py_test")
load(":wheel.bzl", "jllm_wheel", "jllm_wheel_test")

def _tags_of(name):
    """The tags that a test file's name asks for: _ranks, _gpu, _npu."""
    tags = []
    if name.endswith("_ranks"):
        tags += ["multi-process", "cpu:2"]
    for device in ["gpu", "npu"]:
        if name.endswith("_" + device):
            tags.append(device)
    return tags

def jllm_py_test(name, srcs, deps = [], data = [], args = [], **kwargs):
    """Runs pytest on `srcs`.

    Args:
      name: the target's name.
      srcs: test files.
      deps: the code under test and the helpers; pytest itself is added.
      data: files the tests read.
      args: more pytest arguments.
      **kwargs: anything py_test takes: tags, size, shard_count, env, ...
    """
    py_test(
        name = name,
        srcs = srcs + ["//tools/bazel:pytest_main.py"],
        main = "//tools/bazel:pytest_main.py",
        args = ["$(location %s)" % file for file in srcs] + args,
        data = data,
        deps = deps + ["@pypi//pytest"],
        **kwargs
    )

def jllm_py_tests(deps = [], data = [], folder = "tests", overrides = {}):
    """One test target per test_*.py of `folder`, named as the file is.

    Files *_helpers.py and conftest.py there are importable by every one of them. A name that ends
    in _ranks, _gpu or _npu brings its tags along.

    Args:
      deps: what every test of the folder may import.
      data: files every test of the folder may read; folder/data/** is added.
      folder: where the tests lie; "." is the BUILD file's own folder.
      overrides: {target: {attribute: value}}, such as size, shard_count, tags, deps, data;
        lists are added to the ones above.
    """
    prefix = "" if folder == "." else folder + "/"
    helpers = native.glob([prefix + "*_helpers.py", prefix + "conftest.py"])
    if helpers:
        py_library(
            name = "test_helpers",
            testonly = True,
            srcs = helpers,
            imports = [folder],
            deps = deps,
        )
    left = {name: True for name in overrides}
    for file in native.glob([prefix + "test_*.py"]):
        name = file[len(prefix):-len(".py")]
        left.pop(name, None)
        attributes = dict(overrides.get(name, {}))
        jllm_py_test(
            name = name,
            srcs = [file],
            size = attributes.pop("size", "medium"),
            tags = _tags_of(name) + attributes.pop("tags", []),
            data = data + native.glob([prefix + "data/**"]) + attributes.pop("data", []),
            deps = deps + ([":test_helpers"] if helpers else []) + attributes.pop("deps", []),
            **attributes
        )
    if left:
        fail("overrides for tests that do not exist: %s" % ", ".join(left.keys()))

def jllm_tree(srcs = []):
    """:tree, all files of a BUILD file's folder, for the tests of //tools/lint.

    Args:
      srcs: trees of the packages below it.
    """
    left_out = ["**/__pycache__/**", "**/.hypothesis/**", "**/.pytest_cache/**"]
    native.filegroup(
        name = "tree",
        srcs = native.glob(["**"], exclude = left_out) + srcs,
        visibility = ["//visibility:public"],
    )

def jllm_py_package(name, deps, extra_deps = [], test_deps = [], test_data = [], test_overrides = {}):
    """A package of this tree: its library, tests, wheel, wheel_test and all its files as :tree.

    Args:
      name: the distribution's name, which is the folder's: jllm-data.
      deps: what pyproject.toml calls dependencies: @pypi//X and //packages/Y.
      extra_deps: what its optional extras need; there for its tests and not for wheel_test.
      test_deps: what only tests import.
      test_data: files that every test may read.
      test_overrides: see jllm_py_tests.
    """
    sources = native.glob(["src/**/*.py", "src/**/py.typed"])
    py_library(
        name = name,
        srcs = [file for file in sources if file.endswith(".py")],
        data = [file for file in sources if not file.endswith(".py")],
        imports = ["src"],
        visibility = ["//visibility:public"],
        deps = deps,
    )
    jllm_py_tests(
        data = test_data,
        overrides = test_overrides,
        deps = [":" + name] + extra_deps + test_deps,
    )
    jllm_wheel(
        name = "wheel",
        srcs = ["LICENSE", "README.md", "pyproject.toml"] + sources,
        visibility = ["//visibility:public"],
    )
    jllm_wheel_test(
        name = "wheel_test",
        wheel = ":wheel",
        needed_wheels = [dep + ":wheel" for dep in deps if dep.startswith("//packages/")],
        deps = deps,
    )
    jllm_tree()
