#!/usr/bin/env bash
# Debian's Chromium and its driver, for the tests that open pages. Does nothing where they are.
set -euo pipefail
command -v chromium chromedriver >/dev/null && exit
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends chromium chromium-driver
