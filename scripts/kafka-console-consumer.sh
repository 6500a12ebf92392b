#!/bin/sh
# Prints the records of a topic.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" console-consumer "$@"
