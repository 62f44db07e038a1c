#!/usr/bin/env bash
# Prints the path of the addon for the libtorch in use; compiles it first where nobody has. Each build
# has a folder of its own, named by what went into it: sources, libtorch and CUDA's headers. A checkout
# keeps them in build/, where other users of it find them; anything else, and a checkout that cannot be
# written, in the user's cache folder. Nothing is written or locked where the addon is there already.
# stdout is the path and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
say() { echo "setup: $*" >&2; }
need() { # need PROGRAM WHAT-TO-DO
  command -v "$1" >/dev/null || {
    say "$1 is missing"
    echo "  fix: $2" >&2
    exit 2
  }
}

source native/libtorch.sh
source native/cuda.sh
find_libtorch

find_cuda_headers
libraries="-ltorch_cpu -lc10"
if [ -e "$torch_lib/libtorch_cuda.so" ]; then libraries="$libraries -ltorch_cuda -lc10_cuda"; fi

options="-O2 -fPIC -Wall -Wno-unknown-pragmas"
key=$({
  cat native/*.cpp native/*.h
  echo "$(uname -sm) $torch_version $torch_lib $torch_includes $options"
  for folder in "${cuda_includes[@]}"; do echo "$folder" "$folder"/* "$folder"/crt/*; done
} | (sha256sum 2>/dev/null || shasum -a 256) | cut -c1-16)

cache="${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/vigorl/addon"
# npm empties what it installed; a checkout stays.
case $root in */node_modules/*) homes=("$cache" "$root/build") ;; *) homes=("$root/build" "$cache") ;; esac
find_addon() {
  local home
  for home in "${homes[@]}"; do
    if [ -e "$home/$key/vigorl.node" ]; then
      echo "$home/$key/vigorl.node"
      return 0
    fi
  done
  return 1
}
if find_addon; then exit 0; fi

need g++ "install a C++ compiler (Debian: apt-get install g++)"
home=
for folder in "${homes[@]}"; do
  if mkdir -p "$folder" 2>/dev/null && [ -w "$folder" ]; then
    home=$folder
    break
  fi
done
if [ -z "$home" ]; then
  say "the addon can be kept neither in ${homes[0]} nor in ${homes[1]}: no permission to write"
  echo "  fix: set XDG_CACHE_HOME to a folder that you may write" >&2
  exit 2
fi
exec 8>"$home/.lock"
if command -v flock >/dev/null; then flock 8; fi
if find_addon; then exit 0; fi
rm -rf "$home"/work.* # of builds that were killed

headers=
for folder in node_modules/node-api-headers ../node-api-headers; do
  if [ -e "$folder/include/node_api.h" ]; then headers=$(cd "$folder/include" && pwd); fi
done
if [ -z "$headers" ]; then
  # Package managers other than npm put it elsewhere; Node knows where.
  need node "install Node 20.19 or newer (https://nodejs.org)"
  headers=$(node -p 'require("node-api-headers").include_dir' 2>/dev/null) || {
    say "the npm package node-api-headers is missing"
    echo "  fix: npm install" >&2
    exit 2
  }
fi

# Operators of ours share libtorch's threads where the compiler knows OpenMP.
openmp=
if echo 'int main() {}' | g++ -fopenmp -x c++ - -o /dev/null 2>/dev/null; then openmp=-fopenmp; fi

flags="-std=$torch_std $options $openmp -D_GLIBCXX_USE_CXX11_ABI=$torch_abi -I $headers"
for folder in $torch_includes; do
  # Naming the compiler's own folder would break its order of headers.
  if [ "$folder" != /usr/include ]; then flags="$flags -isystem $folder"; fi
done

say "compiling the addon against libtorch $torch_version ($torch_root)"
work="$home/work.$$"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2086
try_cuda_graphs $flags
compile() { # compile FILE.cpp
  local object extra=
  object="$work/$(basename "$1" .cpp).o"
  case $1 in native/graph.cpp | native/cuda.cpp) extra=$graph_flags ;; esac
  # shellcheck disable=SC2086
  nice g++ $flags $extra -c "$1" -o "$object" 2>"$object.log" || { cat "$object.log" >&2; return 1; }
}
export -f compile
export flags graph_flags work
# A file takes some 1.5 GB to compile.
jobs=$(awk '/^MemAvailable/ { print int($2 / 2e6) }' /proc/meminfo 2>/dev/null || true)
cores=$(nproc 2>/dev/null || echo 2)
jobs=$((${jobs:-2} < 1 ? 1 : ${jobs:-2} < cores ? ${jobs:-2} : cores))
if ! printf '%s\n' native/*.cpp | xargs -P "$jobs" -I{} bash -c 'compile {}' >&2; then
  say "the addon does not compile against libtorch $torch_version ($torch_source: $torch_root)"
  echo "  fix: set VIGORL_LIBTORCH_SOURCE=venv   (uses the version this is tested with)" >&2
  exit 1
fi
# shellcheck disable=SC2086
g++ -shared $openmp -o "$work/vigorl.node" "$work"/*.o -L"$torch_lib" -Wl,-rpath,"$torch_lib" -Wl,--no-as-needed $libraries
cat >"$work/libtorch.json" <<JSON
{
  "version": "$torch_version",
  "source": "$torch_source",
  "root": "$torch_root",
  "cxxStandard": "$torch_std",
  "cudaGraphs": "$graphs_state"
}
JSON
rm -f "$work"/*.o "$work"/*.log
mv -T "$work" "$home/$key" 2>/dev/null || mv "$work" "$home/$key"
echo "$home/$key/vigorl.node"
