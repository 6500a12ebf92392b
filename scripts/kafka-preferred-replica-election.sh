#!/bin/sh
# Elects preferred leaders of partitions, as with Kafka 2.8.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" preferred-replica-election "$@"
