#!/bin/sh
# Stops the coordination service of this machine, without waiting for it. SIGNAL names another signal than TERM.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" stop zookeeper "$@"
