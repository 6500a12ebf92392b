#!/bin/sh
# Runs a command of bin/ottla, by its name or by that of the class of Kafka that does the same. What the other scripts have in common is here.
#
#   -daemon     first: run in the background, with the output in LOG_DIR
#   -name NAME  the name of the file for the output in the background: NAME.out
#
# LOG_DIR is where servers keep their log files, logs beside this directory unless it is set.
[ -h "$0" ] && exec "$(readlink -f -- "$0")" "$@"
if [ $# -lt 1 ]; then
  echo "USAGE: $0 [-daemon] [-name servicename] [-loggc] classname [opts]"
  exit 1
fi

base=$(cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
ottla=$base/bin/ottla
if [ ! -x "$ottla" ]; then
  echo "${0##*/}: $ottla is not there; run \"make build\" in $base first" >&2
  exit 1
fi

daemon=
name=ottla
while [ $# -gt 0 ]; do
  case $1 in
    -daemon) daemon=yes ;;
    -loggc) ;;
    -name)
      shift
      name=$1
      ;;
    *) break ;;
  esac
  shift
done

LOG_DIR=${LOG_DIR:-$base/logs}
export LOG_DIR

if [ -n "$daemon" ]; then
  mkdir -p -- "$LOG_DIR" || exit 1
  nohup "$ottla" "$@" > "$LOG_DIR/$name.out" 2>&1 < /dev/null &
  exit 0
fi
exec "$ottla" "$@"
