#!/bin/sh
# Prints the offsets of partitions.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" get-offsets "$@"
