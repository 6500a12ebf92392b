#!/bin/sh
# Prints what is in the files of a partition's log.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" dump-log "$@"
