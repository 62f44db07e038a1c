#!/usr/bin/env bash
# Makes a checkout ready to run: npm packages, libtorch, the addon. Does nothing, quickly, when all of
# that is done already. Safe to run twice at once. Prints the path of the addon.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/packages.sh
exec native/build.sh
