#!/bin/sh
# Prints the id of a cluster.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" cluster "$@"
