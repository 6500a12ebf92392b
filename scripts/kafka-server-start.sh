#!/bin/sh
# Starts a broker: in the foreground, or in the background with -daemon as the first argument. Log files go to LOG_DIR.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] server.properties [--override property=value]*"
  exit 1
fi

run=$(dirname -- "$0")/kafka-run-class.sh
if [ "$1" = -daemon ]; then
  shift
  exec "$run" -daemon -name kafkaServer broker "$@"
fi
exec "$run" -name kafkaServer broker "$@"
