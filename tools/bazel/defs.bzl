"""The macros BUILD files of this tree are written with."""

load("@rules_python//python:defs.bzl", "py_library", "py_test")
load(":wheel.bzl", "jllm_wheel", "jllm_wheel_test")

def _tags_of(name):
    """The tags that a test file's name asks for: _ranks, _gpu, _npu."""
    if name.endswith("_ranks"):
        return ["multi-process", "cpu:2"]
    return _device_of(name)

def _device_of(name):
    """The tag of the device that a test file needs, if any."""
    return [device for device in ["gpu", "npu"] if name.endswith("_" + device)]

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

def _group_of(name):
    """The group that runs a test file: `convert` for test_convert_killed, `train_ranks` for ranks."""
    return name.split("_")[1] + ("_ranks" if name.endswith("_ranks") else "")

def _groups(names):
    """{group: test files}, of two at least; those alone with their subject go into `various`."""
    subjects = {}
    for name in names:
        subjects.setdefault(_group_of(name), []).append(name)
    groups = {}
    for group, members in subjects.items():
        if len(members) == 1:
            group = "various_ranks" if group.endswith("_ranks") else "various"
        groups[group] = groups.get(group, []) + members
    return {group: members for group, members in groups.items() if len(members) > 1}

def jllm_py_tests(deps = [], data = [], folder = "tests", overrides = {}):
    """Tests of every test_*.py of `folder`: a target of the file's name, and one of its group.

    Most of a small test's time is the import of torch and transformers, so `//...` runs the files
    of one subject in one process: test_convert_*.py as convert_tests, those that are alone with
    their subject as various_tests. Then the target of one file is there to be named, and tagged
    manual. A file with overrides or for a device is no member of a group.

    Files *_helpers.py and conftest.py there are importable by every one of them. A name that ends
    in _ranks, _gpu or _npu brings its tags along. Time limits guard against hangs alone: they are
    ten times what the work takes, or more.

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
    needed = deps + ([":test_helpers"] if helpers else [])
    read = data + native.glob([prefix + "data/**"])
    left = {name: True for name in overrides}
    files = [file[len(prefix):-len(".py")] for file in native.glob([prefix + "test_*.py"])]
    groups = _groups([name for name in files if name not in overrides and not _device_of(name)])
    grouped = [name for members in groups.values() for name in members]
    for name in files:
        left.pop(name, None)
        attributes = dict(overrides.get(name, {}))
        jllm_py_test(
            name = name,
            srcs = [prefix + name + ".py"],
            size = attributes.pop("size", "medium"),
            timeout = attributes.pop("timeout", "long"),
            tags = _tags_of(name) + (["manual"] if name in grouped else []) + attributes.pop("tags", []),
            data = read + attributes.pop("data", []),
            deps = needed + attributes.pop("deps", []),
            **attributes
        )
    if left:
        fail("overrides for tests that do not exist: %s" % ", ".join(left.keys()))
    for group, members in groups.items():
        jllm_py_test(
            name = group + "_tests",
            srcs = [prefix + name + ".py" for name in members],
            size = "medium",
            timeout = "eternal",
            tags = _tags_of(group),
            data = read,
            deps = needed,
        )

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
