#!/usr/bin/env bash
# Sends traces through the collectors and looks whether mosso has them: by id, service, operation and tag, and still after a
# restart. Restarts mosso once, so it is for a time when that may be; nothing is lost by it.
#
#   k8s/test.sh [--without-restart]
#
# PATIENCE says for how many seconds it looks for a trace, 30 by default.
set -euo pipefail
shopt -s extglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"

patience=${PATIENCE:-30}
restart=yes
case ${1:-} in
    '') ;;
    --without-restart) restart= ;;
    *)
        sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac

hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

# send TRACE_ID SPAN_ID: one span of this run's service, operation and tag, to the collectors.
send() {
    local now
    now=$(date +%s)
    curl --silent --show-error --fail --max-time 20 --header 'Content-Type: application/json' --data @- \
        "http://$collector/v1/traces" <<END
{"resourceSpans": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "$service"}}]},
  "scopeSpans": [{"spans": [{
    "traceId": "$1", "spanId": "$2", "name": "$operation", "kind": 2,
    "startTimeUnixNano": "${now}000000000", "endTimeUnixNano": "${now}250000000",
    "attributes": [{"key": "test.run", "value": {"stringValue": "$run"}}]
  }]}]
}]}
END
}

# found TRACE_ID [TRACEQL]: true when the trace is found by its id, or among what the query finds.
found() {
    if [[ $# == 1 ]]; then
        answers "http://$mosso/api/v2/traces/$1" "$operation"
    else
        answers "http://$mosso/api/search" "\"traceID\":\"${1##+(0)}\"" --data-urlencode "q=$2" --data limit=20
    fi
}

# A tunnel ends with its pod, so it is opened anew after the restart.
reach_mosso() {
    forward mosso 3200 && mosso=$forwarded && eventually 60 answers "http://$mosso/ready" ready
}

reach_collectors() {
    forward otel-collector 4318 && collector=$forwarded
}

run=$(hex 4)
service=mosso-test-$run
operation="GET /mosso-test/$run"
first=$(hex 16) second=$(hex 16)
slow='The collector holds it, or could not send it: look at its logs, and at mosso'\''s.'

printf 'Testing mosso in the namespace %s with the service %s\n' "$namespace" "$service"
check 'mosso is reached and ready' 'Run k8s/validate.sh first.' reach_mosso
check 'the collectors are reached' 'Run k8s/validate.sh first.' reach_collectors
check "a collector takes trace $first" 'Look at the logs of the collectors.' send "$first" "$(hex 8)"
check 'it is found by its id' "$slow" eventually "$patience" found "$first"
check 'it is found by its service' "$slow" eventually "$patience" found "$first" "{ resource.service.name = \"$service\" }"
check 'it is found by its operation' "$slow" eventually "$patience" found "$first" "{ name = \"$operation\" }"
check 'it is found by its tag' "$slow" eventually "$patience" found "$first" "{ span.test.run = \"$run\" }"
check 'its service is among the values of service.name' "$slow" \
    answers "http://$mosso/api/v2/search/tag/resource.service.name/values" "\"$service\""
check 'blocks are kept for 7 days' 'Set compactor.compaction.block_retention in mosso.yaml, and install again.' \
    answers "http://$mosso/status/config" 'block_retention: 168h0m0s'
for metric in tempo_distributor_spans_received_total tempo_ingester_blocks_flushed_total \
    tempo_query_frontend_queries_total tempo_querier_spans_per_query_count \
    tempodb_blocklist_length mosso_ingester_log_bytes process_resident_memory_bytes; do
    check "/metrics has $metric" 'Another program answers, or another version.' answers "http://$mosso/metrics" "$metric"
done

if [[ -n $restart ]]; then
    check 'mosso is told to restart' 'You need the right to patch StatefulSets.' kube rollout restart statefulset/mosso
    check "a collector takes trace $second meanwhile" 'Look at the logs of the collectors.' send "$second" "$(hex 8)"
    check 'mosso is back' "Look at: kubectl -n $namespace describe pod mosso-0, and its logs." \
        kube rollout status statefulset/mosso "--timeout=${TIMEOUT:-10m}"
    check 'mosso is reached and ready' 'Run k8s/validate.sh.' reach_mosso
    check 'what was sent before is still found' 'The volume was lost: look at kubectl get pvc.' eventually "$patience" found "$first"
    check 'what was sent meanwhile is found' "$slow" eventually "$((2 * patience))" found "$second"
fi
printf 'All is well.\n'
