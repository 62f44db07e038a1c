#!/usr/bin/env bash
# Finds libtorch and sets: torch_source torch_root torch_lib torch_includes torch_version torch_std torch_abi.
# Order: $LIBTORCH, the torch that python3 imports, a private virtual environment in the user's cache
# folder (made on first need), Debian's libtorch-dev. VIGORL_LIBTORCH_SOURCE=env|python|venv|system
# forces one. Sourced by build.sh; prints only on first-time work and on errors.

torch_pin=2.13.0
torch_venv="${XDG_CACHE_HOME:-$HOME/.cache}/vigorl/libtorch-$torch_pin"

# describe_libtorch SOURCE ROOT LIB INCLUDE: fills the variables in; fails if that is no libtorch >= 1.13.
describe_libtorch() {
  torch_source=$1 torch_root=$2 torch_lib=$3
  [ -e "$3/libtorch_cpu.so" ] && [ -d "$4/ATen" ] || return 1
  torch_includes="$4 $4/torch/csrc/api/include"
  local header number major minor patch
  for header in "$4/torch/headeronly/version.h" "$4/torch/csrc/api/include/torch/version.h"; do
    [ -e "$header" ] && grep -q 'define TORCH_VERSION_MAJOR' "$header" && break
  done
  number() { sed -n "s/^#define TORCH_VERSION_$1 \([0-9]*\).*/\1/p" "$header"; }
  major=$(number MAJOR) minor=$(number MINOR) patch=$(number PATCH)
  [ -n "$major" ] && [ $((major * 100 + minor)) -ge 113 ] || return 1
  torch_version=$major.$minor.$patch
  if [ $((major * 100 + minor)) -ge 209 ]; then torch_std=c++20; else torch_std=c++17; fi
  # Which std::string the library was built with shows in the name of its error function.
  if grep -q 'torchCheckFailEPKcS2_jRKNSt7__cxx11' "$3/libc10.so"; then torch_abi=1; else torch_abi=0; fi
}

libtorch_from_env() {
  [ -n "${LIBTORCH:-}" ] || return 1
  describe_libtorch env "$LIBTORCH" "$LIBTORCH/lib" "$LIBTORCH/include" || {
    echo "setup: LIBTORCH=$LIBTORCH is no libtorch 1.13 or newer (it needs lib/libtorch_cpu.so and include/ATen)" >&2
    echo "  fix: unset LIBTORCH, or point it at the folder 'torch' inside site-packages or an unpacked libtorch" >&2
    exit 2
  }
}

libtorch_from_python() {
  command -v python3 >/dev/null || return 1
  local root
  root=$(python3 -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")' 2>/dev/null) || return 1
  [ -n "$root" ] && describe_libtorch python "$root" "$root/lib" "$root/include"
}

venv_root() { echo "$torch_venv"/lib/python3*/site-packages/torch; }

libtorch_from_venv() {
  local root
  root=$(venv_root)
  [ -d "$root" ] || make_venv || return 1
  root=$(venv_root)
  describe_libtorch venv "$root" "$root/lib" "$root/include"
}

# Installs beside and renames, under a lock, so that an install that was killed never counts.
make_venv() {
  command -v python3 >/dev/null || return 1
  local beside="$torch_venv.part" log="$torch_venv.log"
  mkdir -p "$(dirname "$torch_venv")"
  (
    if command -v flock >/dev/null; then flock 9; fi
    if [ -d "$(venv_root)" ]; then exit 0; fi
    echo "setup: installing libtorch $torch_pin (pip, about 1 GB, once per user) into $torch_venv" >&2
    rm -rf "$beside"
    if ! { python3 -m venv "$beside" && "$beside/bin/pip" install --quiet --disable-pip-version-check "torch==$torch_pin" numpy; } >"$log" 2>&1; then
      echo "setup: that did not work, the log is $log; its last lines:" >&2
      tail -n 3 "$log" | sed 's/^/  /' >&2
      rm -rf "$beside"
      exit 1
    fi
    # Scripts inside name the folder they were made in; only python itself is used after the rename.
    mv "$beside" "$torch_venv"
  ) 9>"$torch_venv.lock"
}

libtorch_from_system() {
  local triplet
  triplet=$(g++ -dumpmachine)
  describe_libtorch system /usr "/usr/lib/$triplet" /usr/include
}

find_libtorch() {
  local way
  for way in ${VIGORL_LIBTORCH_SOURCE:-env python venv system}; do
    case $way in env | python | venv | system) ;; *)
      echo "setup: VIGORL_LIBTORCH_SOURCE must be env, python, venv or system (got $way)" >&2
      exit 2
      ;;
    esac
    if "libtorch_from_$way"; then return 0; fi
  done
  cat >&2 <<'HELP'
setup: no libtorch found (version 1.13 or newer is needed). One of these helps:
  fix: pip install torch            (then python3 imports it, and so do we)
  fix: apt-get install libtorch-dev (Debian; CPU only)
  fix: unpack libtorch from pytorch.org and set LIBTORCH to its folder
HELP
  exit 2
}
