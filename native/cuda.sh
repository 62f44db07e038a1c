#!/usr/bin/env bash
# What the addon needs of CUDA beside libtorch: the headers of its runtime, for CUDA graphs. Without
# them everything works, operator by operator. Sourced by build.sh.

# Sets cuda_includes to the folders of these headers; there may be none. A toolkit has them in one
# folder, pip beside torch, of CUDA 12 in two.
find_cuda_headers() {
  local folder header
  cuda_includes=()
  [ -e "$torch_lib/libtorch_cuda.so" ] || return 0
  for header in cuda_runtime_api.h crt/host_defines.h; do
    for folder in "$torch_root"/../nvidia/*/include "${CUDA_HOME:-/usr/local/cuda}/include"; do
      if [ -e "$folder/$header" ]; then
        cuda_includes+=("$folder")
        break
      fi
    done
  done
}

# try_cuda_graphs FLAGS…: sets graph_flags to what graph.cpp is compiled with and graphs_state to "on",
# "none" (no headers there) or what the compiler misses.
try_cuda_graphs() {
  local folder words
  graph_flags='' graphs_state=none
  if [ ${#cuda_includes[@]} = 0 ]; then return 0; fi
  graph_flags=-DVIGORL_CUDA_GRAPHS
  for folder in "${cuda_includes[@]}"; do graph_flags="$graph_flags -isystem $folder"; done
  # shellcheck disable=SC2086
  if words=$(LC_ALL=C g++ "$@" $graph_flags -fsyntax-only native/graph.cpp 2>&1); then
    graphs_state=on
    return 0
  fi
  graph_flags=
  # It goes into a JSON file.
  graphs_state=$(sed -n 's/.*fatal error: \([^:]*\): No such file.*/\1 is missing/p; s/.* error: //p' <<<"$words" | head -n 1 | tr -d '"\\')
  graphs_state=${graphs_state:-they do not compile}
  echo "setup: CUDA graphs stay off: $graphs_state" >&2
  echo "  fix: $(cuda_headers_hint), then start again" >&2
}

# Which package of pip has the headers that most wheels leave out.
cuda_headers_hint() {
  local number version
  number=$(sed -n 's/^#define CUDART_VERSION *\([0-9]*\).*/\1/p' "${cuda_includes[0]}/cuda_runtime_api.h" 2>/dev/null | head -n 1)
  number=${number:-13000}
  version=$((number / 1000)).$((number % 1000 / 10))
  if [ "$number" -ge 13000 ]; then
    echo "pip install 'nvidia-cuda-crt==$version.*' beside torch, or set CUDA_HOME to a toolkit of CUDA $version"
  else
    echo "pip install 'nvidia-cuda-nvcc-cu12==$version.*' beside torch, or set CUDA_HOME to a toolkit of CUDA $version"
  fi
}
