#!/bin/sh
# Deletes the oldest records of partitions.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" delete-records "$@"
