#!/usr/bin/env bash
# Says which Debian/Ubuntu packages the build needs and are missing; installs them when it may.
set -euo pipefail
missing=()
command -v g++ >/dev/null || missing+=(g++)
command -v cmake >/dev/null || missing+=(cmake)
command -v git >/dev/null || missing+=(git)
"${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
header=$("${PYTHON:-python3}" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
[ -e "$header" ] || missing+=(python3-dev)
[ ${#missing[@]} -eq 0 ] && exit 0

install="apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" = 0 ]; then
  apt-get update -qq && $install
elif sudo -n true 2>/dev/null; then
  sudo apt-get update -qq && sudo $install
else
  echo "Missing: ${missing[*]}. Please run:  sudo $install" >&2
  exit 1
fi
