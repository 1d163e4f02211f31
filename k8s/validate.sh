#!/usr/bin/env bash
# Checks that what runs in the cluster is what the files say, and that it is in order. Changes nothing.
#
#   k8s/validate.sh [single | s3 | cluster | FOLDER]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
. "$here/steps.sh"

case ${1:-single} in
    -*)
        sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
    *) choose "${1:-single}" ;;
esac

printf 'Validating %s in the namespace %s\n' "$overlay" "$namespace"
check 'the cluster answers' 'Set KUBECONFIG, or choose a context: kubectl config get-contexts' "$kubectl" version
check 'the overlay can be rendered' 'Mend the file that is named.' render
check 'every object is as the files say' "Apply the files again: k8s/install.sh $overlay" \
    "$kubectl" diff --server-side --force-conflicts --field-manager=mosso-install -k "$overlay"
check 'the namespace admits restricted pods only' \
    "kubectl label namespace $namespace pod-security.kubernetes.io/enforce=restricted" \
    "$kubectl" wait "namespace/$namespace" --timeout=5s \
    '--for=jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}=restricted'
if workloads | grep --quiet statefulset; then
    check 'mosso has its volume' "Look at: kubectl -n $namespace describe pvc data-mosso-0" \
        kube wait pvc/data-mosso-0 '--for=jsonpath={.status.phase}=Bound' --timeout=5s
fi
autoscalers=$(sed -n '/^kind: HorizontalPodAutoscaler/,/^spec:/s/^  name: //p' "$scratch/rendered")
for scaled in $autoscalers; do
    check "$scaled is scaled by its load" \
        "Look at: kubectl -n $namespace describe hpa $scaled. It needs the metrics-server, or another source of pods' CPU." \
        kube wait "hpa/$scaled" --for=condition=ScalingActive --timeout=5s
done
check 'every mosso is ready' \
    "Look at: kubectl -n $namespace describe pod -l app.kubernetes.io/name=mosso, and the logs of the pods." \
    kube wait pod --selector=app.kubernetes.io/name=mosso --for=condition=Ready --timeout=5s
check 'every collector is ready' "Look at: kubectl -n $namespace describe pod -l app.kubernetes.io/name=otel-collector" \
    kube wait pod --selector=app.kubernetes.io/name=otel-collector --for=condition=Ready --timeout=5s
check 'a drain takes one collector at a time' "Look at: kubectl -n $namespace describe pdb otel-collector" \
    kube wait pdb/otel-collector '--for=jsonpath={.status.disruptionsAllowed}=1' --timeout=5s
check 'policies say who may talk to mosso and to the collectors' "Apply the files again: k8s/install.sh $overlay" \
    kube get networkpolicy/mosso networkpolicy/otel-collector

check 'the Service mosso can be reached' 'Look at its endpoints: kubectl get endpointslices' forward mosso 3200
check '/ready answers 200' 'It says what it waits for; the log is being read after a start.' answers "http://$forwarded/ready" ready
check 'blocks are kept for 7 days' 'Set compactor.compaction.block_retention in mosso.yaml, and install again.' \
    answers "http://$forwarded/status/config" 'block_retention: 168h0m0s'
