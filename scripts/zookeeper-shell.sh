#!/bin/sh
# Looks at and changes what ZooKeeper keeps: interactively, or with one command.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
if [ $# -lt 1 ]; then
  echo "USAGE: $0 zookeeper_host:port[/path] [-zk-tls-config-file file] [args...]"
  exit 1
fi
exec "$(dirname -- "$0")/kafka-run-class.sh" zookeeper-shell -server "$@"
