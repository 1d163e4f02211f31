#!/usr/bin/env bash
# Sends traces through the collectors and looks whether mosso has them: by id, service, operation and tag, and still after a
# restart. Restarts mosso once, so it is for a time when that may be; nothing is lost by it.
#
#   k8s/test.sh [single | s3 | cluster | FOLDER] [--without-restart]
#
# PATIENCE says for how many seconds it looks for a trace, 30 by default.
set -euo pipefail
shopt -s extglob
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"

patience=${PATIENCE:-30}
restart=yes
choose single
for argument in "$@"; do
    case $argument in
        --without-restart) restart= ;;
        -*)
            sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
        *) choose "$argument" ;;
    esac
done

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
check 'the overlay can be rendered' 'Mend the file that is named.' render
mapfile -t all < <(workloads)
asked=(tempo_query_frontend_queries_total tempo_querier_spans_per_query_count tempodb_blocklist_length process_resident_memory_bytes)
sent=(tempo_ingester_blocks_flushed_total mosso_ingester_live_spans)
writer=$mosso
if [[ ${all[*]} == *mosso-writer* ]]; then
    check 'a writer is reached' 'Run k8s/validate.sh first.' forward mosso-writer 3200
    writer=$forwarded
else
    sent+=(tempo_distributor_spans_received_total mosso_ingester_log_bytes)
fi
has_metric() {
    check "/metrics has $2" 'Another program answers, or another version.' answers "http://$1/metrics" "$2"
}
for metric in "${asked[@]}"; do has_metric "$mosso" "$metric"; done
for metric in "${sent[@]}"; do has_metric "$writer" "$metric"; done

if [[ -n $restart ]]; then
    check 'mosso is told to restart' 'You need the right to patch StatefulSets and Deployments.' kube rollout restart "${all[@]}"
    check "a collector takes trace $second meanwhile" 'Look at the logs of the collectors.' send "$second" "$(hex 8)"
    for workload in "${all[@]}"; do
        check "${workload#*/} is back" \
            "Look at: kubectl -n $namespace describe pod -l app.kubernetes.io/name=mosso, and the logs of the pods." \
            kube rollout status "$workload" "--timeout=${TIMEOUT:-10m}"
    done
    check 'mosso is reached and ready' 'Run k8s/validate.sh.' reach_mosso
    check 'what was sent before is still found' 'Look at the volume (kubectl get pvc), or at the bucket.' eventually "$patience" found "$first"
    check 'what was sent meanwhile is found' "$slow" eventually "$((2 * patience))" found "$second"
fi
printf 'All is well.\n'
