#!/usr/bin/env bash
# Runs one benchmark: `npm run bench -- torch|rollout|grpo|search|attack|leaks|leaks-size|gpu [--json]`. Each is one file in bench/.
set -euo pipefail
cd "$(dirname "$0")/.."
name="${1:-}"
if [[ -z "$name" || ! -f "bench/$name.ts" ]]; then
  echo "usage: npm run bench -- NAME [--json]; NAME is one of: $(cd bench && ls -- *.ts 2>/dev/null | grep -v '\.test\.ts$' | sed 's/\.ts$//' | tr '\n' ' ')" >&2
  exit 2
fi
shift
scripts/setup.sh >&2
exec node --import "./node_modules/tsx/dist/loader.mjs" "bench/$name.ts" "$@"
