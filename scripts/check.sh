#!/usr/bin/env bash
# Everything a change has to pass: format, lint, types, tests, build.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
step() {
  printf '\n== %s\n' "$1"
  shift
  "$@"
}
step format node_modules/.bin/prettier --check .
step lint node_modules/.bin/oxlint --type-aware src test bench scripts
step types node_modules/.bin/tsc --noEmit
step build node_modules/.bin/tsc -p tsconfig.build.json
step tests scripts/test.sh
