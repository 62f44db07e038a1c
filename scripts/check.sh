#!/usr/bin/env bash
# Everything a change has to pass: format, lint, types, build, the package in the hands of others, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh >&2
step() {
  printf '\n== %s\n' "$1"
  shift
  "$@"
}
step format node_modules/.bin/prettier --check .
step lint node_modules/.bin/oxlint --type-aware src test bench scripts examples
step types node_modules/.bin/tsc --noEmit
step build npm run --silent build
step package node --import ./node_modules/tsx/dist/loader.mjs scripts/package-matrix.ts
step tests scripts/test.sh
