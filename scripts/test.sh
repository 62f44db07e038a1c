#!/usr/bin/env bash
# The whole test suite on a clean clone: set-up first, then vitest. Arguments go to vitest
# (`npm test -- src/core`). VIGORL_TEST_DEVICE=cuda runs models and engine on a GPU. The last line is
# `tests: N passed, N failed, N skipped`.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh >&2
export OMP_NUM_THREADS=1
exec node_modules/.bin/vitest run "$@"
