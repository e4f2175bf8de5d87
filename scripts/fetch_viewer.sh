#!/usr/bin/env bash
# Puts 3Dmol.js, which draws molecules, into static/ so that the app works without a network. Run once at set-up.
set -u
cd "$(dirname "$0")/.." || exit 1
target=static/3Dmol-min.js
[ -s "$target" ] && exit 0
notice() { echo "fetch_viewer: $1; the app will load 3Dmol.js from the internet instead" >&2; exit 0; }
command -v npm >/dev/null 2>&1 || notice "npm is not installed"
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent 3dmol@2.5.5 >/dev/null && tar -xzf 3dmol-2.5.5.tgz package/build/3Dmol-min.js) \
  || notice "npm could not fetch the package 3dmol"
mkdir -p static && mv "$work/package/build/3Dmol-min.js" "$target" && echo "fetch_viewer: $target is ready"
