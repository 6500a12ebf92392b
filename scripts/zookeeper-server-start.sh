#!/bin/sh
# Starts the coordination service: in the foreground, or in the background with -daemon as the first argument. Log files go to LOG_DIR.
#
# It is the one in bin/ottla, unless ZOOKEEPER_HOME names an installation of Apache ZooKeeper: then it is that one.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] zookeeper.properties"
  exit 1
fi

daemon=
if [ "$1" = -daemon ]; then
  daemon=-daemon
  shift
fi

if [ -z "$ZOOKEEPER_HOME" ]; then
  run=$(dirname -- "$0")/kafka-run-class.sh
  [ -n "$daemon" ] && exec "$run" -daemon -name zookeeper zookeeper "$@"
  exec "$run" -name zookeeper zookeeper "$@"
fi

server=$ZOOKEEPER_HOME/bin/zkServer.sh
if [ ! -x "$server" ]; then
  echo "${0##*/}: ZOOKEEPER_HOME is $ZOOKEEPER_HOME, and there is no bin/zkServer.sh in it; correct or unset it" >&2
  exit 1
fi
case $1 in
  /*) file=$1 ;;
  *) file=$PWD/$1 ;;
esac
echo "Starting Apache ZooKeeper from $ZOOKEEPER_HOME; unset ZOOKEEPER_HOME to start the embedded one." >&2
[ -n "$daemon" ] && exec "$server" start "$file"
exec "$server" start-foreground "$file"
