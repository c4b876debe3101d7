#!/usr/bin/env bash
# Checks that a package is ready to be released, builds its wheel, and says how to tag it.
#
#   tools/release.sh jllm-data                       # the tag follows from the version
#   tools/release.sh jllm-data jllm-data-v0.1.0      # as a release job calls it: the tag must fit
#
# The version is the package's own (__version__ in src/jllm/<part>/__init__.py); the newest entry of
# its CHANGELOG.md must be that version with a date; nothing may be uncommitted; the tag must be new,
# or be the commit that is checked out. Changes nothing but build/.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "error: $*" >&2
    exit 2
}

package=${1:-}
[[ $package ]] || fail "name a package: tools/release.sh jllm-data"
folder=packages/$package
[[ -f $folder/pyproject.toml ]] || fail "there is no package '$package'; there are: $(cd packages && echo jllm jllm-*)"

part=${package#jllm-}
[[ $package != jllm ]] || part=cli
source=$folder/src/jllm/$part/__init__.py
version=$(sed -n 's/^__version__ = "\([^"]*\)"$/\1/p' "$source")
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
    fail "$source: __version__ is '$version', expected MAJOR.MINOR.PATCH"

heading=$(grep -m1 '^## ' "$folder/CHANGELOG.md") || fail "$folder/CHANGELOG.md: has no '## ' entry"
[[ $heading =~ ^"## [$version] - "[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] ||
    fail "$folder/CHANGELOG.md: the newest entry is '$heading', expected '## [$version] - YYYY-MM-DD'"

tag=$package-v$version
[[ ${2:-$tag} == "$tag" ]] || fail "the tag is '$2', but $source makes it '$tag'"
tagged=$(git rev-parse --verify --quiet "refs/tags/$tag^{commit}" || true)
[[ -z $tagged || $tagged == "$(git rev-parse HEAD)" ]] ||
    fail "the tag $tag exists at ${tagged:0:12}; raise __version__ in $source"

changes=$(git status --porcelain)
[[ -z $changes ]] || fail "uncommitted changes:"$'\n'"$changes"

"${BAZEL:-bazel}" build "//$folder:wheel" >&2
mkdir -p build/wheels
cp -f "bazel-bin/$folder/wheel/"*.whl build/wheels/
wheel=$(ls "build/wheels/${package//-/_}-$version-"*.whl) || fail "the wheel is not version $version"

sha256sum "$wheel"
if [[ -z $tagged ]]; then
    echo "git tag -a $tag -m '$package $version' && git push origin $tag"
fi
