#!/bin/sh
# Stops the coordination service of this machine, without waiting for it. SIGNAL names another signal than TERM.
#
# It is the one of bin/ottla, unless ZOOKEEPER_HOME is set: then it is every Apache ZooKeeper that this user may stop, as in Kafka's script.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
if [ -z "$ZOOKEEPER_HOME" ]; then
  exec "$(dirname -- "$0")/kafka-run-class.sh" stop zookeeper "$@"
fi

pids=$(ps -A -o pid= -o args= | awk '$2 ~ /(^|\/)java$/ && / org\.apache\.zookeeper\.server\.quorum\.QuorumPeerMain / { print $1 }')
if [ -z "$pids" ]; then
  echo "No zookeeper server to stop"
  exit 1
fi
echo "Stopping Apache ZooKeeper; unset ZOOKEEPER_HOME to stop the embedded one." >&2
kill -s "${SIGNAL:-TERM}" $pids
