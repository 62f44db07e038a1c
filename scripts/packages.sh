#!/usr/bin/env bash
# Installs the npm packages of a checkout where the lock file names others than are there.
set -euo pipefail
cd "$(dirname "$0")/.."
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
if installed; then exit 0; fi
if ! mkdir -p build 2>/dev/null || [ ! -w build ]; then
  echo "setup: $PWD lacks npm packages and cannot be written" >&2
  echo "  fix: npm ci, by somebody who may write there" >&2
  exit 2
fi
exec 8>build/.lock
if command -v flock >/dev/null; then flock 8; fi
if installed; then exit 0; fi
echo "setup: installing npm packages" >&2
npm ci --no-audit --no-fund >&2
