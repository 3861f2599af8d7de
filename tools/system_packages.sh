#!/usr/bin/env bash
# The Debian packages that the tests need and Python packages cannot bring: a browser, the font whose glyphs the
# bundled model knows, what the examples of the documents are written with, the balancer of `make autoscale`, and what closes
# a server off as a container would. Installs them where that is possible without asking, else says what to install.
set -euo pipefail

missing=()
command -v chromium >/dev/null || missing+=(chromium)
[ -e /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf ] || missing+=(fonts-noto-color-emoji)
command -v curl >/dev/null || missing+=(curl)
command -v jq >/dev/null || missing+=(jq)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
command -v bwrap >/dev/null || missing+=(bubblewrap)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >/dev/null
    apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
else
    echo "the tests need these packages: ${missing[*]}" >&2
    echo "on Debian: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
