#!/bin/sh
# Makes the secrets of compose.yaml once; what is there stays. Keep a copy of secrets/kek: without it sealed keys are lost.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
[ -s secrets/kek ] || openssl rand -base64 32 > secrets/kek
[ -s secrets/grafana-password ] || openssl rand -hex 16 > secrets/grafana-password
if [ ! -s secrets/database-password ]; then
  openssl rand -hex 24 > secrets/database-password
  printf 'postgres://doorward:%s@postgres:5432/doorward\n' "$(cat secrets/database-password)" > secrets/database-url
fi
# Compose mounts the files as they are, and the containers run as users of their own; the folder keeps everybody else out.
chmod 644 secrets/*
