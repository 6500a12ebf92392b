#!/bin/sh
# Writes numbers to a topic and tells as JSON what became of each.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" verifiable-producer "$@"
