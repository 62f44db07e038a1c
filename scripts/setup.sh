#!/usr/bin/env bash
# Makes a clone ready to run: checks the tools, installs npm packages, finds libtorch and compiles the
# addon. Does nothing, quickly, when all of that is done already. Safe to run twice at once.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "setup: $*" >&2; }
need() { # need PROGRAM WHAT-TO-DO
  command -v "$1" >/dev/null || {
    say "$1 is missing"
    echo "  fix: $2" >&2
    exit 2
  }
}

need node "install Node 20.19 or newer (https://nodejs.org)"
need g++ "install a C++ compiler (Debian: apt-get install g++)"
node_abi=$(node -e '
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) process.exit(3);
  console.log(process.versions.modules)') || {
  say "Node $(node --version) is too old"
  echo "  fix: install Node 20.19 or newer (https://nodejs.org)" >&2
  exit 2
}

mkdir -p build
exec 8>build/.lock
if command -v flock >/dev/null; then flock 8; fi

# npm keeps a list of what it installed; whatever the lock file wants beyond it means installing.
installed() {
  node -e '
    const { readFileSync } = require("node:fs");
    const read = (file) => JSON.parse(readFileSync(file, "utf8")).packages;
    const [wanted, have] = [read("package-lock.json"), read("node_modules/.package-lock.json")];
    const ok = Object.entries(wanted).every(
      ([key, p]) => key === "" || p.optional || have[key]?.version === p.version);
    process.exit(ok ? 0 : 1)' 2>/dev/null
}
if ! installed; then
  say "installing npm packages"
  npm ci --no-audit --no-fund >&2
fi

source scripts/libtorch.sh
if [ -z "${LIBTORCH:-}" ]; then need python3 "install Python 3.10 or newer with venv (Debian: apt-get install python3-venv), or set LIBTORCH"; fi
find_libtorch

# Operators of ours share libtorch's threads where the compiler knows OpenMP.
openmp=
if echo 'int main() {}' | g++ -fopenmp -x c++ - -o /dev/null 2>/dev/null; then openmp=-fopenmp; fi

flags="-std=$torch_std -O2 $openmp -fPIC -Wall -Wno-unknown-pragmas -D_GLIBCXX_USE_CXX11_ABI=$torch_abi -I node_modules/node-api-headers/include"
for folder in $torch_includes; do
  # Naming the compiler's own folder would break its order of headers.
  if [ "$folder" != /usr/include ]; then flags="$flags -isystem $folder"; fi
done
libraries="-ltorch_cpu -lc10"
if [ -e "$torch_lib/libtorch_cuda.so" ]; then
  libraries="$libraries -ltorch_cuda -lc10_cuda"
  # CUDA graphs need the runtime's headers: pip installs them beside torch, a toolkit has its own.
  for folder in "$torch_root"/../nvidia/*/include "${CUDA_HOME:-/usr/local/cuda}/include"; do
    if [ -e "$folder/cuda_runtime_api.h" ]; then
      flags="$flags -DVIGORL_CUDA_GRAPHS -isystem $folder"
      break
    fi
  done
fi

key=$({
  cat native/*.cpp native/*.h
  echo "$torch_version $torch_lib $flags $libraries $node_abi"
  g++ -dumpfullversion
} | (sha256sum 2>/dev/null || shasum -a 256) | cut -c1-16)
if [ -e build/vigorl.node ] && grep -q "\"key\": \"$key\"" build/libtorch.json 2>/dev/null; then exit 0; fi

say "compiling the addon against libtorch $torch_version ($torch_root)"
work=build/work.$$
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
compile() { # compile FILE.cpp
  local object
  object="$work/$(basename "$1" .cpp).o"
  # shellcheck disable=SC2086
  nice g++ $flags -c "$1" -o "$object" 2>"$object.log" || { cat "$object.log" >&2; return 1; }
}
export -f compile
export flags work
if ! printf '%s\n' native/*.cpp | xargs -P 2 -I{} bash -c 'compile {}'; then
  say "the addon does not compile against libtorch $torch_version ($torch_source: $torch_root)"
  echo "  fix: VIGORL_LIBTORCH_SOURCE=venv npm run setup   (uses the version this is tested with)" >&2
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
  "key": "$key"
}
JSON
mv "$work/vigorl.node" build/vigorl.node
mv "$work/libtorch.json" build/libtorch.json
