#!/usr/bin/env bash
# Long fuzz: scripts/fuzz.sh [target|all] [count] [seed] [first]. Faulty inputs are kept in fuzz-faults/.
set -euo pipefail
cd "$(dirname "$0")/.."
exec node --import tsx test/fuzz/run.ts "$@"
