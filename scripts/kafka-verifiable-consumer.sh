#!/bin/sh
# Reads a topic and tells as JSON what comes.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" verifiable-consumer "$@"
