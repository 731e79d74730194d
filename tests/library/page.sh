#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# page.sh PID DIRECTORY: what page.c does, with the command. DOMTRACE names it where it is not in PATH.
set -eu
domtrace=${DOMTRACE:-domtrace} file=$2/page.jsonl log=$2/page.log

# stat.count, stat.size, stat.traceback.format()[-1]
statistics() {
	"$domtrace" report "$@" --top 1000 --group-by traceback | awk '
		/^#[0-9]+: / { sub(/^#[0-9]+: /, ""); sub(/ \([0-9,]+ bytes\).*/, ""); head = $0; next }
		head && /^$/ { print head; print last; head = "" }
		{ last = $0 }
		END { if (head) { print head; print last } }'
}
wait_for() { until "$@"; do kill -0 "$tracer" 2>/dev/null || { cat "$log" >&2; exit 1; }; sleep 0.05; done; }
snapshots() { [ -e "$file" ] && [ "$(wc -l <"$file")" -ge "$1" ]; }

"$domtrace" -p "$1" -d numpy -d python --patch-python --stack python --limit 1 -o "$file" >/dev/null 2>"$log" &
tracer=$!
wait_for grep -q ready "$log"
echo "page: ready" >&2

echo "================ SNAPSHOT 1 ================="
read -r _
kill -USR1 $tracer
wait_for snapshots 1
statistics "$file#1" -d numpy
kill -USR2 $tracer
wait_for grep -q "traces cleared" "$log"
echo "page: cleared" >&2

printf '\n================ SNAPSHOT 2 =================\n'
read -r _
kill -USR1 $tracer
wait_for snapshots 2
statistics "$file#2"
kill -INT $tracer
wait $tracer

printf '\n============================================\n'
printf '\nTracing Status :  %s\n' "$(kill -0 $tracer 2>/dev/null && echo True || echo False)"
printf '\nTrying to Take Snapshot After Tracing is Stopped.\n'
reason=$("$domtrace" ctl $tracer snapshot 2>&1) || echo "Exception :  $reason"
