#!/bin/sh
# Measures how fast records are read.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" consumer-perf-test "$@"
