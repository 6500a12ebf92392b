#!/bin/sh
# Creates, lists, describes, alters and deletes topics.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
exec "$(dirname -- "$0")/kafka-run-class.sh" topics "$@"
