#!/bin/sh
# Moves partitions between brokers.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" reassign-partitions "$@"
