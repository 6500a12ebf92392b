#!/bin/sh
# Shows and changes the settings of topics and brokers.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" configs "$@"
