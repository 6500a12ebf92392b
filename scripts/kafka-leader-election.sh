#!/bin/sh
# Elects preferred leaders of partitions, or unclean ones.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" leader-election "$@"
