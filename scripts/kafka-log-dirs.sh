#!/bin/sh
# Shows what lies in the log directories of brokers.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" log-dirs "$@"
